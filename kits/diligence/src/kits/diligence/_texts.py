"""Texts that the kit composes: evidence for a prompt, and the report."""

from __future__ import annotations

from collections.abc import Sequence

from kando.world.graph import WorldObject

__all__ = ["evidence_text", "report_text"]


def evidence_text(evidence: Sequence[WorldObject]) -> str:
    """Return pieces of evidence, numbered and quoted."""
    if not evidence:
        return "There is no evidence."
    pieces = [
        f"[{number}] {each.data['path']}\n{_quoted(each.data['excerpt'])}"
        for number, each in enumerate(evidence, 1)
    ]
    return "Evidence:\n\n" + "\n\n".join(pieces)


def report_text(
    company: str,
    claims: Sequence[WorldObject],
    contradictions: Sequence[WorldObject],
    evidence: Sequence[WorldObject],
) -> str:
    """Return the report in Markdown."""
    lines = [f"# {_line(company)}", "", "## Claims", ""]
    for claim in claims:
        said = claim.data.get("error") or claim.data.get("text") or ""
        lines += [f"- **{_line(claim.data['statement'])}** ({claim.data['status']})"]
        lines += [f"  {_line(said)}"] if said else []
    if contradictions:
        lines += ["", "## Contradictions", ""]
        statements = {claim.id: claim.data["statement"] for claim in claims}
        for each in contradictions:
            first, second = (statements.get(each.data[end], "?") for end in ("claim_a", "claim_b"))
            lines += [f"- {_line(first)} / {_line(second)}: {_line(each.data['resolution'])}"]
    paths = list(dict.fromkeys(each.data["path"] for each in evidence))
    if paths:
        lines += ["", "## Evidence", "", *(f"- {_line(path)}" for path in paths)]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    # Documents and models wrote this; it stays one line of text.
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())
