"""The entries of a run's inbox as this package uses them: their keys, and which are messages."""

from __future__ import annotations

from kando.ledger.inbox import InboxEntry
from kando.ledger.substrate import Substrate

__all__ = ["CANCEL_KEY", "OWN_PREFIX", "answer_key", "failure_key", "intent_of", "messages_in"]

#: Prefix of the keys of Kando's own entries, which no other sender may use.
OWN_PREFIX = "kando:"

#: Key of the entry that cancels a run.
CANCEL_KEY = f"{OWN_PREFIX}cancel"

_ANSWER, _FAILURE = f"{OWN_PREFIX}answer:", f"{OWN_PREFIX}failure:"


def answer_key(intent_id: str) -> str:
    """Return the key under which a worker delivers the answer to an intent."""
    return f"{_ANSWER}{intent_id}"


def failure_key(intent_id: str, attempt: int) -> str:
    """Return the key under which a worker delivers the failure of a call."""
    return f"{_FAILURE}{intent_id}:{attempt}"


def intent_of(entry: InboxEntry) -> str | None:
    """Return the id of the intent that an entry answers, or None if it is not an answer."""
    return entry.key.removeprefix(_ANSWER) if entry.key.startswith(_ANSWER) else None


def messages_in(substrate: Substrate, ledger_id: str) -> list[InboxEntry]:
    """Return the unread entries of a run, in order, without the answers of workers.

    Each answer is recorded when it is its intent's turn.
    """
    return [entry for entry in substrate.inbox(ledger_id) if intent_of(entry) is None]
