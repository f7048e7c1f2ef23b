"""Damage documents of every format, and check that reading them says what was lost.

As a program, it draws many documents: python tests/helpers/mutated_documents.py --documents 2000
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter

import attrs

from documents import corpus
from kando.text._parser import Parser
from kando.text.documents import Extracted, Limits, Unreadable

__all__ = ["Checked", "check", "mutated"]

LIMITS = Limits(seconds=3.0)
# The limit, the time in which a process hands over what it has, and the start of another one.
_MAX_SECONDS = LIMITS.seconds + 12.5
# Archives with checksums: each byte that was changed is noticed.
_CHECKED = (".docx", ".pptx", ".xlsx", ".epub")
_TOKENS = (
    *(
        b"<",
        b">",
        b"</p>",
        b"<!--",
        b"<details>",
        b"<p hidden>",
        b"&#0;",
        b"&",
        b"\0",
        b"\xff",
        b"\xfe",
    ),
    *(
        b"%PDF-1.4\n",
        b"PK\3\4",
        b"endstream",
        b"endobj",
        b"/Length 99999999",
        b"<meta charset=utf-16>",
    ),
    *(
        b"[",
        b"{",
        b'"',
        b"\x1b$B",
        b"\xef\xbb\xbf",
        b"\r\n\r\n",
        b"Content-Type: multipart/mixed\n",
    ),
)


@attrs.frozen
class Checked:
    """The outcome of reading a damaged document.

    Attributes:
        result: ``read``, ``noted`` or ``refused``.
        faults: what must not be.
    """

    result: str
    faults: list[str]


def mutated(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """Return a document with some damage: bytes changed, cut, repeated, moved or put in."""
    for _ in range(draw.choice([1, 1, 2, 5, 30])):
        if not data:
            break
        at = draw.randrange(len(data))
        end = min(len(data), at + draw.choice([1, 1, 4, 64, 1024]))
        kind = draw.randrange(8)
        if kind == 0:
            data = data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + data[end:]
        elif kind == 3:
            data = data[:at] + data[at:end] * draw.choice([2, 3, 100]) + data[end:]
        elif kind == 4:
            data = data[:at] + draw.choice(_TOKENS) * draw.choice([1, 1, 500]) + data[at:]
        elif kind == 5:
            start = draw.randrange(len(other))
            data = data[:at] + other[start : start + end - at] + data[end:]
        elif kind == 6:
            data = data[: max(at, 1)]
        else:
            data = data[:at] + draw.randbytes(end - at) + data[end:]
    return data


def check(parser: Parser, name: str, data: bytes, whole: Extracted) -> Checked:
    """Read a damaged document, and return what must not be.

    Args:
        parser: the process that parses it.
        name: of the document that was damaged.
        data: after the damage.
        whole: what was read before the damage.
    """
    began = time.monotonic()
    faults = []
    suffix = name[name.rindex(".") :]
    try:
        found = parser.parse(data, suffix=suffix, limits=LIMITS)
    except Unreadable as error:
        result, reason = "refused", str(error)
        if not reason or "\n" in reason or "the process that parsed it" in reason:
            faults.append(f"refused with {reason!r}")
    else:
        result = "noted" if found.notes else "read"
        faults += [] if found.text.strip() else ["no text"]
        is_same = found.text == whole.text or found.media_type != whole.media_type
        if suffix in _CHECKED and not is_same and not found.notes:
            faults.append("lost text without a word")
    seconds = time.monotonic() - began
    if seconds > _MAX_SECONDS:
        faults.append(f"took {seconds:.1f} s")
    return Checked(result, faults)


def _main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--documents", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    documents = corpus()
    names = sorted(documents)
    results: Counter[str] = Counter()
    slowest = 0.0
    with Parser() as parser:
        whole = {
            name: parser.parse(documents[name], suffix="." + name.split(".")[1]) for name in names
        }
        for number in range(chosen.documents):
            draw = random.Random(f"{chosen.seed} {number}")
            name = names[number % len(names)]
            data = mutated(documents[name], documents[draw.choice(names)], draw)
            began = time.monotonic()
            checked = check(parser, name, data, whole[name])
            slowest = max(slowest, time.monotonic() - began)
            results[checked.result] += 1
            if checked.faults:
                raise SystemExit(f"document {number} ({name}): {'; '.join(checked.faults)}")
    told = ", ".join(f"{count} {result}" for result, count in sorted(results.items()))
    print(f"{chosen.documents} damaged documents: {told}; the slowest took {slowest:.1f} s")


if __name__ == "__main__":
    _main()
