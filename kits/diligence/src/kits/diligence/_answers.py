"""What a model's answer says: untrusted text, read by a small fixed format."""

from __future__ import annotations

import re
from typing import Any

import attrs

__all__ = ["MAX_CLAIMS", "Answer", "parse_answer", "reason_of"]

#: Further claims that one answer may make.
MAX_CLAIMS = 8

_MAX_TEXT_CHARS = 16_000
_MAX_LINE_CHARS = 500

_CLAIM = re.compile(r"\s*CLAIM:\s*(\S.*)")
_CONTRADICTS = re.compile(r"\s*CONTRADICTS:\s*(\d)\s*,?\s+(\d)\b[\s:,-]*(.*)")


@attrs.frozen
class Answer:
    """A model's answer, taken apart.

    Attributes:
        text: what it says about the claim it was asked about.
        claims: further statements it makes.
        contradictions: ``(first, second, reason)``; the numbers count the claims from 1, and 0 is
            the claim it was asked about.
    """

    text: str
    claims: list[str]
    contradictions: list[tuple[int, int, str]]


def parse_answer(text: str) -> Answer:
    """Take an answer apart; whatever does not fit the format is text."""
    kept: list[str] = []
    claims: list[str] = []
    contradictions: list[tuple[int, int, str]] = []
    for line in text[:_MAX_TEXT_CHARS].splitlines():
        claim, pair = _CLAIM.match(line), _CONTRADICTS.match(line)
        if claim is not None:
            if len(claims) < MAX_CLAIMS:
                claims.append(claim.group(1).strip()[:_MAX_LINE_CHARS])
        elif pair is not None:
            first, second = sorted((int(pair.group(1)), int(pair.group(2))))
            contradictions.append((first, second, pair.group(3).strip()[:_MAX_LINE_CHARS]))
        else:
            kept.append(line)
    known: dict[tuple[int, int], str] = {}
    for first, second, reason in contradictions:
        if first != second and second <= len(claims):
            known.setdefault((first, second), reason)
    return Answer(
        "\n".join(kept).strip(), claims, [(*pair, reason) for pair, reason in known.items()]
    )


def reason_of(error: Any) -> str:
    """Return what an answer that is an error says, in one line."""
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(message or "no answer").split())[:_MAX_LINE_CHARS]
