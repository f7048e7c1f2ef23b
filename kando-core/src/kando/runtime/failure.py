"""Failures: the data that is recorded of one, without secrets, and what caused it."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from math import inf
from typing import Any

from kando.responders.redaction import redact
from kando.schema.events import OBSERVED

__all__ = ["failure_data", "lacks_handles", "raised_at", "with_place"]

#: Top-level modules that are not a kit's: Kando's own, and those through which it calls a kit.
_NOT_OF_KITS = frozenset(
    {
        "kando",
        "kando_eventstore",
        "kando_inspector",
        "kando_llm",
        "kando_mcp",
        "attr",
        "attrs",
        "cattr",
        "cattrs",
    }
)
_INSTALLED = {"site-packages", "dist-packages"}


def failure_data(
    responder: str, trigger_id: str, error: BaseException, attempt: int, outcome: str
) -> dict[str, Any]:
    """Return the data of a ``responder.failed`` event.

    Files and lines differ between machines, so the traceback, and the place in the kit that raised
    the error, are ``observed``. If the error has an attribute ``spent`` with the usage and the cost
    of the failed attempt, in the form of an ``llm.response``, they are recorded too.

    Args:
        responder: name of the responder.
        trigger_id: the event it handled.
        error: the exception.
        attempt: counted from 1.
        outcome: ``retried``, ``parked`` or ``raised``.
    """
    # Not at the top, as below: most runs have no failure.
    import traceback

    spent = getattr(error, "spent", None)
    frames = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {
        "responder": responder,
        "trigger": trigger_id,
        "attempt": attempt,
        "outcome": outcome,
        "error": {"type": type(error).__name__, "message": redact(str(error))},
        **(_charged(spent) if isinstance(spent, Mapping) else {}),
        OBSERVED: {"traceback": redact(frames), **_place(error)},
    }


def raised_at(error: BaseException) -> tuple[str, int] | None:
    """Return the file and the line of a kit that raised an error, or None if no kit's code did.

    That is the innermost frame that is neither Kando's nor a library's. A kit may be installed next
    to libraries: then its frames are those of the package that Kando called.
    """
    import traceback
    from pathlib import PurePath

    found = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        is_generated = file.startswith("<")
        if not (is_generated or package in _NOT_OF_KITS or package in sys.stdlib_module_names):
            found.append((package, file, line))
    own = [each for each in found if not _INSTALLED & set(PurePath(each[1]).parts)]
    own = own or [each for each in found if each[0] == found[0][0]]
    return own[-1][1:] if own else None


def with_place(message: str, error: BaseException) -> str:
    """Return a message about an error, with the file and line of the kit that raised it, if any."""
    place = raised_at(error)
    if place is None:
        return message
    text, dot = message.removesuffix("."), "." if message.endswith(".") else ""
    return f"{text} ({place[0]}:{place[1]}){dot}"


def _place(error: BaseException) -> dict[str, Any]:
    place = raised_at(error)
    return {"file": redact(place[0]), "line": place[1]} if place is not None else {}


def _charged(spent: Mapping[str, Any]) -> dict[str, Any]:
    """Return usage and cost in the form of an ``llm.response``; empty if the usage is malformed."""
    usage, cost = spent.get("usage"), spent.get("cost_usd")
    if not isinstance(usage, Mapping) or not all(type(each) is int for each in usage.values()):
        return {}
    counts = {str(name): count for name, count in usage.items() if count >= 0}
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < inf:
        cost = None
    calls = spent.get("calls")
    number = {"calls": calls} if type(calls) is int and calls > 0 else {}
    return {"usage": counts, "cost_usd": cost, **number} if counts else {}


def lacks_handles(error: BaseException | None) -> bool:
    """Whether an error has the cause that the process, or the machine, has no file handle left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__ or error.__context__
    return False
