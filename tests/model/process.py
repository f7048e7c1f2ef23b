"""The process of a program: its provider, its durable writes, of which it may die, and its time limit."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from kando.app import group_worker, jobs
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.plugins import ProviderSpec, hookimpl
from kando.schema.events import RecordedEvent
from program_kits import Outside

__all__ = ["Offers", "as_dict", "limited", "open_model", "spoil", "watched"]

#: Seconds after which a program counts as one that does not end.
_LIMIT = 20.0


class Offers:
    """A plugin with the provider of the current program."""

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec("model", "process:open_model")]


_current: list[Outside] = []


def open_model(argument: str, environ: Mapping[str, str]) -> Callable[..., Any]:
    """Open the provider of the current program."""
    outside = _current[-1]

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        return outside.complete(request)

    complete.worst_case_usd = lambda request: 0.25  # type: ignore[attr-defined]
    return complete


_WRITES = (
    (MemoryLedgerStore, ("append",)),
    (SQLiteLedgerStore, ("append",)),
    (MemorySubstrate, ("deliver", "acknowledge", "cache", "store_snapshot")),
    (SQLiteSubstrate, ("deliver", "acknowledge", "cache", "store_snapshot")),
)


@contextmanager
def watched(outside: Outside) -> Iterator[None]:
    """Have `outside` know of everything that is made durable, and shorten waits."""

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(self: Any, *args: Any, **named: Any) -> Any:
            outside.before_write()
            result = original(self, *args, **named)
            outside.after_write()
            return result

        return write

    with ExitStack() as stack:
        for cls, names in _WRITES:
            for name in names:
                patched = mock.patch.object(cls, name, counted(getattr(cls, name)))
                stack.enter_context(patched)
        names = (f"run{number}" for number in count())
        for module in ("start", "fork"):
            target = f"kando.app.{module}.new_ledger_id"
            stack.enter_context(mock.patch(target, names.__next__))
        stack.enter_context(mock.patch.object(jobs, "_RETRY_SECONDS", 0.001))
        stack.enter_context(mock.patch.object(group_worker, "_IDLE_SECONDS", 0.002))
        stack.enter_context(warnings.catch_warnings())
        # A damaged snapshot is reported, and ignored.
        warnings.simplefilter("ignore")
        _current.append(outside)
        try:
            yield
        finally:
            _current.pop()


@contextmanager
def limited() -> Iterator[None]:
    """Stop a program that does not end.

    Raises:
        TimeoutError: it runs for too long.
    """

    def stop(*_: object) -> None:
        msg = f"the program runs for more than {_LIMIT:.0f} s"
        raise TimeoutError(msg)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def as_dict(event: RecordedEvent) -> dict[str, Any]:
    """Return an event as the reference reads it."""
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "actor": event.actor,
        "cause": list(event.cause),
        "data": event.data,
        "position": event.position,
    }


def spoil(snapshot: Path, how: str, offset: float) -> None:
    """Drop or damage a stored snapshot, or put back the one that was stored when this was done first.

    Args:
        snapshot: its file.
        how: ``drop``, ``damage`` or ``stale``.
        offset: which part to damage, from 0 to 1.
    """
    kept = snapshot.with_suffix(".kept")
    if how == "drop":
        snapshot.unlink()
    elif how == "damage":
        body = bytearray(snapshot.read_bytes())
        body[int(offset * len(body)) % len(body)] ^= 0x55
        snapshot.write_bytes(bytes(body))
    elif kept.exists():
        snapshot.write_bytes(kept.read_bytes())
    else:
        kept.write_bytes(snapshot.read_bytes())
