"""What a ledger says of a failure: type, message and traceback, free of secrets."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Mapping
from typing import Any

from kando.schema.events import OBSERVED

__all__ = ["PARKED", "RAISED", "RETRIED", "failure_data", "scrubbed"]

#: What followed a failed attempt.
RETRIED = "retried"
PARKED = "parked"
RAISED = "raised"

_MAX_CHARS = 4000
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_MIN_SECRET_CHARS = 6


def failure_data(
    responder: str, trigger_id: str, error: BaseException, attempt: int, outcome: str
) -> dict[str, Any]:
    """Return the data of a ``responder.failed`` event.

    The traceback names files and lines, which differ between machines, so it is ``observed``.

    Args:
        responder: name of the responder.
        trigger_id: the event it handled.
        error: what it raised.
        attempt: counted from 1.
        outcome: what follows: ``retried``, ``parked`` or ``raised``.
    """
    frames = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {
        "responder": responder,
        "trigger": trigger_id,
        "attempt": attempt,
        "outcome": outcome,
        "error": {"type": type(error).__name__, "message": scrubbed(str(error))},
        OBSERVED: {"traceback": scrubbed(frames)},
    }


def scrubbed(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Return `text` without the values of secret environment variables, shortened to 4,000 characters.

    Args:
        text: of an error.
        environ: where secrets are looked up by the names of their variables; ``os.environ`` if
            omitted.
    """
    for name, value in (os.environ if environ is None else environ).items():
        if len(value) >= _MIN_SECRET_CHARS and _SECRET_NAME.search(name):
            text = text.replace(value, f"[{name}]")
    text = text.encode("utf-8", "replace").decode()
    if len(text) > _MAX_CHARS:
        half = _MAX_CHARS // 2
        text = f"{text[:half]}\n[...]\n{text[-half:]}"
    return text
