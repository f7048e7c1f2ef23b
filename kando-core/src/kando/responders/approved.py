"""Calls that a person approved with other arguments than the ones that were asked for.

The ledger keeps the call as it was asked, and its ``approval.granted`` the arguments as they were
approved. The call is sent with these arguments: its idempotency key, the answers that a branch takes
over and the rules for its effect follow them.
"""

from __future__ import annotations

from typing import Any

import attrs

from kando.schema.events import TOOL_CALLED, KandoEvent, RecordedEvent
from kando.schema.exact_json import encode, exact

__all__ = ["APPROVED_ARGUMENTS", "ARGUMENTS", "approved_arguments", "call_key", "with_arguments"]

#: Field of a ``tool.called``, and of its ``approval.granted`` if a person changed them.
ARGUMENTS = "arguments"

#: Field of the answer to a call that was approved with other arguments: with which it was made. The
#: call as it is sent has this field as well, in memory only.
APPROVED_ARGUMENTS = "approved_arguments"


def with_arguments(intent: RecordedEvent, arguments: Any) -> RecordedEvent:
    """Return a call as it is sent when a person approved it with these arguments."""
    data = {**intent.data, ARGUMENTS: arguments, APPROVED_ARGUMENTS: arguments}
    if intent.type != TOOL_CALLED or call_key(data) == call_key(intent.data):
        return intent
    return attrs.evolve(intent, data=data, encoded=encode(exact(data)))


def approved_arguments(intent: KandoEvent) -> dict[str, Any]:
    """Return the field of an answer that states with which arguments a person had the call made."""
    name = APPROVED_ARGUMENTS
    return {name: intent.data[name]} if name in intent.data else {}


def call_key(data: dict[str, Any], arguments: Any = None) -> bytes:
    """Return a key that equal calls share.

    Args:
        data: of the ``tool.called``.
        arguments: with which it is made; its own if None.
    """
    given = data.get(ARGUMENTS) if arguments is None else arguments
    ordered = dict(sorted(given.items())) if isinstance(given, dict) else given
    return encode([data.get("tool"), ordered])
