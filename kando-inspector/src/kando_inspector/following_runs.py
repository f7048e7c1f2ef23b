"""Follow the states of all runs: one reader of the substrate serves all clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio.to_thread
import attrs

from kando.app.inspect import status_in_list
from kando.app.shapes import listed_status_dict
from kando.app.status import RUNNING, RunStatus
from kando.app.store import Store
from kando.errors import KandoError, LedgerNotFound, StoreDamaged
from kando.ledger.substrate import LedgerInfo
from kando_inspector.clients import Clients
from kando_inspector.encoding import encoded

__all__ = ["RunsReader"]

_POLL_SECONDS = 0.5
# A process may record an event some time after it made it.
_LATE = timedelta(seconds=10)


@attrs.frozen
class _State:
    """The last known state of a run.

    Attributes:
        number: counts the states that were found.
        id: of the state in the stream: when the run changed, in milliseconds since 1970.
        text: its JSON.
        is_running: whether a process works on the run.
        is_deleted: whether the run was deleted.
    """

    number: int
    id: int
    text: str
    is_running: bool
    is_deleted: bool = False


class RunsReader:
    """The reader of the states of all runs, for all clients that follow them.

    Args:
        store: of the runs.
        is_ending: whether the server is ending.
    """

    def __init__(self, store: Store, is_ending: Callable[[], bool]) -> None:
        self._store, self._is_ending = store, is_ending
        self.clients = Clients()
        self._lengths: dict[str, int] | None = None
        self._states: dict[str, _State] = {}
        self._number = 0

    async def sent(self, after: int) -> AsyncIterator[dict[str, Any]]:
        """Yield the states of runs as they change.

        Args:
            after: id of the last state that the client knows: states since then come first. Those
                of the last seconds before it come again. -1 for changes from now on.
        """
        is_begun, moment = self._lengths is not None, datetime.now(UTC)
        if after >= 0:
            is_begun, moment = False, datetime.fromtimestamp(after / 1e3, UTC) - _LATE
        while self._lengths is None and not self._is_ending():
            await self.clients.wait(self.clients.changed)
        number = self._number
        if not is_begun:
            # The reader knows only changes since it began to read.
            for state in await anyio.to_thread.run_sync(self._since, moment):
                yield _sent(state)
        while True:
            changed = self.clients.changed
            news = [each for each in self._states.values() if each.number > number]
            for state in sorted(news, key=lambda each: each.number):
                number = state.number
                yield _sent(state)
            if self._is_ending():
                return
            if not news:
                await self.clients.wait(changed)

    async def read(self) -> None:
        """Read until the server ends; the clients start and end this."""
        while not self._is_ending():
            is_first = self._lengths is None
            try:
                found = await anyio.to_thread.run_sync(self._news)
            except KandoError:
                # The next attempt may succeed.
                found = []
            for run_id, state in found:
                self._number += 1
                self._states[run_id] = attrs.evolve(state, number=self._number)
            if found or is_first:
                self.clients.wake()
            await asyncio.sleep(_POLL_SECONDS)

    def _news(self) -> list[tuple[str, _State]]:
        """Return the states that have changed; in a thread."""
        substrate = self._store.context.substrate()
        infos = {info.id: info for info in substrate.ledgers()}
        lengths = {info.id: info.length for info in infos.values()}
        known = self._lengths
        if known is None:
            # Their states may change without an event.
            for info in infos.values():
                if substrate.claim_of(info.id) is not None and (state := self._state_of(info)):
                    self._states[info.id] = state
            self._lengths = lengths
            return []
        running = [id for id, state in self._states.items() if state.is_running and id in lengths]
        changed = [id for id, length in lengths.items() if known.get(id) != length]
        found = [(id, _deleted(id)) for id in known if id not in lengths]
        for id in dict.fromkeys([*changed, *running]):
            if state := self._state_of(infos[id]):
                found.append((id, state))
        # Not before: what could not be read is read again.
        self._lengths = lengths
        return [
            (id, state)
            for id, state in found
            if id not in self._states or state.text != self._states[id].text
        ]

    def _since(self, moment: datetime) -> list[_State]:
        """Return the states of the runs that have changed since a time; in a thread."""
        substrate = self._store.context.substrate()
        found = []
        for info in substrate.ledgers():
            if not info.length:
                continue
            with suppress(LedgerNotFound, StoreDamaged):
                last = substrate.open(info.id).at(info.length - 1)
                if last is not None and last.timestamp < moment:
                    continue
            if state := self._state_of(info):
                found.append(state)
        since = moment.timestamp() * 1e3
        found += [each for each in self._states.values() if each.is_deleted and each.id >= since]
        return sorted(found, key=lambda state: state.id)

    def _state_of(self, info: LedgerInfo) -> _State | None:
        """Return the state of a run; None if it was deleted meanwhile, and is missing next time."""
        try:
            status = status_in_list(self._store.context, info)
        except LedgerNotFound:
            return None
        text = encoded(listed_status_dict(status)).decode()
        return _State(0, _id_of(status), text, _is_live(status))


def _deleted(run_id: str) -> _State:
    now = int(datetime.now(UTC).timestamp() * 1e3)
    return _State(0, now, encoded({"run_id": run_id}).decode(), False, is_deleted=True)


def _is_live(status: RunStatus) -> bool:
    return status.state == RUNNING or status.claim is not None


def _id_of(status: RunStatus) -> int:
    at = status.updated_at or status.created_at or datetime.now(UTC)
    return int(at.timestamp() * 1e3)


def _sent(state: _State) -> dict[str, Any]:
    return {
        "event": "deleted" if state.is_deleted else "run",
        "id": str(state.id),
        "data": state.text,
    }
