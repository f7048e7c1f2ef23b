"""Walk a ledger along its causes: up to the goal, or down to every consequence."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from kando.errors import EventNotFound
from kando.ledger.interface import LedgerStore, Link
from kando.schema.events import RecordedEvent
from kando.views.causes import LineageIndex

__all__ = ["Step", "ancestors", "descendants"]

#: Number of links to read ahead: initially, and at most.
_FIRST_PAGE, _LARGEST_PAGE = 16, 8192


class Step(NamedTuple):
    """An event on a walk, by its position; callers that show it read its id and data.

    Attributes:
        position: of the event.
        causes: positions of its causes; on a walk down, only those that the walk has reached.
        depth: number of links from the start of the walk.
    """

    position: int
    causes: tuple[int, ...]
    depth: int


def ancestors(
    ledger: LedgerStore,
    event_id: str,
    *,
    depth: int | None = None,
    excluding: Collection[str] = (),
    index: LineageIndex | None = None,
) -> list[Step]:
    """Return an event and its ancestors: the event first, breadth first, the roots last.

    It reads only links, only near the ancestors, and none that the index has.

    Args:
        ledger: of the event.
        event_id: of the event to start from.
        depth: maximum number of links to follow; to the roots if None.
        excluding: types of events that rarely are ancestors, which are not read ahead.
        index: of the first events of the ledger, if there is one.

    Raises:
        EventNotFound: the event or one of its ancestors does not exist in the ledger.
    """
    links = _Links(ledger, excluding, index)
    level, away = [links.position_of(event_id)], 0
    seen = set(level)
    between: list[Step] = []
    roots: list[Step] = []
    while level:
        above: list[int] = []
        for position in level:
            causes = links.causes_of(position)
            (between if causes else roots).append(Step(position, causes, away))
            if away == depth:
                continue
            for cause in causes:
                if cause not in seen:
                    seen.add(cause)
                    above.append(cause)
        level, away = above, away + 1
    return between + roots


class _Links:
    """The links of a ledger: from the index, or read, with more read ahead when that has helped."""

    def __init__(
        self, ledger: LedgerStore, excluding: Collection[str], index: LineageIndex | None
    ) -> None:
        self._ledger = ledger
        self._excluding = excluding
        self._index = index or LineageIndex()
        self._indexed = self._index.length
        self._links: dict[int, Link] = {}
        self._positions: dict[str, int] = {}
        self._page = _FIRST_PAGE
        self._helped = 0

    def position_of(self, id: str) -> int:
        """Return the position of an event on the walk."""
        position = self._positions.get(id)
        if position is not None:
            self._helped += 1
            return position
        event = _found(self._ledger, id)
        self._keep(Link(event.position, id, event.cause))
        if event.position >= self._indexed:
            self._read_ahead(event.position)
        return event.position

    def causes_of(self, position: int) -> tuple[int, ...]:
        """Return the positions of the causes of an event that `position_of` has returned."""
        known = self._index.causes_of(position) if position < self._indexed else None
        if known is not None:
            return known
        link = self._links.get(position)
        if link is not None:
            return tuple(map(self.position_of, link.cause))
        event = self._ledger.at(position)
        return tuple(map(self.position_of, event.cause if event is not None else ()))

    def _read_ahead(self, position: int) -> None:
        """Read the links before a position, since the causes of an event are mostly near."""
        grown = self._page * 4 if self._helped else self._page // 2
        self._page, self._helped = min(max(grown, 1), _LARGEST_PAGE), 0
        start = max(position - self._page, self._indexed)
        if start < position:
            for link in self._ledger.links(start, position, excluding=self._excluding):
                self._keep(link)

    def _keep(self, link: Link) -> None:
        self._links[link.position] = link
        self._positions[link.id] = link.position


def descendants(
    ledger: LedgerStore,
    event_id: str,
    *,
    depth: int | None = None,
    excluding: Collection[str] = (),
    stop: int | None = None,
    index: LineageIndex | None = None,
) -> Iterator[Step]:
    """Yield an event and its descendants, in the order of the ledger.

    It reads only links after the event, and none that the index has.

    Args:
        ledger: of the event.
        event_id: of the event to start from.
        depth: maximum number of links to follow; to the end if None.
        excluding: types of events to leave out, with the events that only they caused.
        stop: position after the last event that counts; all if None.
        index: of the first events of the ledger, if there is one.

    Raises:
        EventNotFound: the event does not exist in the ledger.
    """
    event = _found(ledger, event_id)
    yield Step(event.position, (), 0)
    reached = {event.position: 0}
    end = ledger.length() if stop is None else stop
    for position, causes in _following(ledger, event, end, excluding, index, reached):
        reached_causes = tuple(each for each in causes if each in reached)
        away = min((reached[each] for each in reached_causes), default=None)
        if away is not None and away != depth:
            reached[position] = away + 1
            yield Step(position, reached_causes, away + 1)


def _following(
    ledger: LedgerStore,
    event: RecordedEvent,
    end: int,
    excluding: Collection[str],
    index: LineageIndex | None,
    reached: Collection[int],
) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the positions after an event, with the positions of causes that may be reached."""
    start = event.position + 1
    indexed = min(index.length, end) if index is not None else 0
    if index is not None and start < indexed:
        for position, causes in index.causes(start, indexed, excluding):
            yield position, causes if causes is not None else _causes_from_ledger(ledger, position)
    places: dict[str, int | None] = {event.id: event.position}
    for link in ledger.links(max(start, indexed), end, excluding=excluding):
        for id in link.cause:
            # Events that were reached within the index are known only by their positions.
            if id not in places and start < indexed:
                cause = ledger.find(id)
                places[id] = cause.position if cause is not None else None
        yield link.position, [each for id in link.cause if (each := places.get(id)) is not None]
        if start < indexed or link.position in reached:
            places[link.id] = link.position


def _causes_from_ledger(ledger: LedgerStore, position: int) -> list[int]:
    event = ledger.at(position)
    found = map(ledger.find, event.cause if event is not None else ())
    return [each.position for each in found if each is not None]


def _found(ledger: LedgerStore, event_id: str) -> RecordedEvent:
    event = ledger.find(event_id)
    if event is None:
        msg = f"There is no event {event_id!r} in {ledger.stream_name()}."
        raise EventNotFound(msg, hint="`kando events RUN` lists them.")
    return event
