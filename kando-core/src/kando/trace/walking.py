"""Walk a ledger along its causes: up to the goal, or down to everything that followed."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from typing import NamedTuple

from kando.errors import EventNotFound
from kando.ledger.interface import LedgerStore, Link

__all__ = ["Step", "ancestors", "descendants"]

#: Links that are read ahead: at first, and at most.
_FIRST_PAGE, _LARGEST_PAGE = 16, 8192


class Step(NamedTuple):
    """An event on the way.

    Attributes:
        position: of the event.
        id: of the event.
        cause: ids of the events it follows from; empty for a root.
        depth: how many links away from where the walk began.
    """

    position: int
    id: str
    cause: list[str]
    depth: int


def ancestors(
    ledger: LedgerStore,
    event_id: str,
    *,
    depth: int | None = None,
    besides: Collection[str] = (),
) -> list[Step]:
    """Return an event and what it follows from: itself first, breadth first, the roots last.

    Only links are read, and no more of them than lie around the way.

    Args:
        ledger: where.
        event_id: where to begin.
        depth: how many links to go at most; to the roots if None.
        besides: types of events that are rarely met, which are not read ahead.

    Raises:
        EventNotFound: the ledger has no such event, or one names a cause that it does not have.
    """
    links = _Links(ledger, besides)
    seen = {event_id}
    waiting = deque([(event_id, 0)])
    between: list[Step] = []
    roots: list[Step] = []
    while waiting:
        id, away = waiting.popleft()
        position, _, cause = links.of(id)
        (between if cause else roots).append(Step(position, id, cause, away))
        if away == depth:
            continue
        for each in cause:
            if each not in seen:
                seen.add(each)
                waiting.append((each, away + 1))
    return between + roots


class _Links:
    """The links of a ledger by id, read ahead where reading ahead has helped."""

    def __init__(self, ledger: LedgerStore, besides: Collection[str]) -> None:
        self._ledger = ledger
        self._besides = besides
        self._known: dict[str, Link] = {}
        self._page = _FIRST_PAGE
        self._helped = 0

    def of(self, id: str) -> Link:
        link = self._known.get(id)
        if link is not None:
            self._helped += 1
            return link
        event = self._ledger.find(id)
        if event is None:
            msg = f"There is no event {id!r} in {self._ledger.stream_name()}."
            raise EventNotFound(msg, hint="`kando events RUN` lists them.")
        self._read_ahead(event.position)
        return Link(event.position, id, event.cause)

    def _read_ahead(self, position: int) -> None:
        """Read what lies before a position: an event mostly follows from what is near."""
        grown = self._page * 4 if self._helped else self._page // 2
        self._page, self._helped = min(max(grown, 1), _LARGEST_PAGE), 0
        start = max(position - self._page, 0)
        for link in self._ledger.links(start, position, besides=self._besides):
            self._known[link.id] = link


def descendants(
    ledger: LedgerStore,
    event_id: str,
    *,
    depth: int | None = None,
    besides: Collection[str] = (),
    stop: int | None = None,
) -> Iterator[Step]:
    """Yield an event and everything that follows from it, in the order of the ledger.

    Only links are read, from the event on.

    Args:
        ledger: where.
        event_id: where to begin.
        depth: how many links to go at most; to the end if None.
        besides: types of events to leave out, with what follows from them alone.
        stop: position after the last event that counts; all if None.

    Raises:
        EventNotFound: the ledger has no such event.
    """
    event = ledger.find(event_id)
    if event is None:
        msg = f"There is no event {event_id!r} in {ledger.stream_name()}."
        raise EventNotFound(msg, hint="`kando events RUN` lists them.")
    yield Step(event.position, event.id, event.cause, 0)
    reached = {event.id: 0}
    end = ledger.length() if stop is None else stop
    for position, id, cause in ledger.links(event.position + 1, end, besides=besides):
        away = min((reached[each] for each in cause if each in reached), default=None)
        if away is not None and away != depth:
            reached[id] = away + 1
            yield Step(position, id, cause, away + 1)
