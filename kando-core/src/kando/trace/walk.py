"""Walk a ledger along its causes: up to the goal, or down to everything that followed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from kando.errors import EventNotFound
from kando.ledger.interface import LedgerStore, Link
from kando.schema.events import RecordedEvent
from kando.views.causes import LineageIndex

__all__ = ["Step", "ancestors", "descendants"]

#: Links that are read ahead: at first, and at most.
_FIRST_PAGE, _LARGEST_PAGE = 16, 8192


class Step(NamedTuple):
    """An event on the way. What it says, its id included, is read by whoever shows it.

    Attributes:
        position: of the event.
        causes: positions of the events it follows from; on the way down, of those of them that
            the way leads through.
        depth: how many links away from where the walk began.
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
    """Return an event and what it follows from: itself first, breadth first, the roots last.

    Only links are read, and no more of them than lie around the way; none that the index has.

    Args:
        ledger: where.
        event_id: where to begin.
        depth: how many links to go at most; to the roots if None.
        excluding: types of events that are rarely met, which are not read ahead.
        index: of the first events of the ledger, if one is kept.

    Raises:
        EventNotFound: the ledger has no such event, or one names a cause that it does not have.
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
    """The links of a ledger: from the index, else read, ahead where reading ahead has helped."""

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
        """Return where an event stands that the way leads to."""
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
        """Return where the causes of an event stand that `position_of` was asked for."""
        known = self._index.causes_of(position) if position < self._indexed else None
        if known is not None:
            return known
        link = self._links.get(position)
        if link is not None:
            return tuple(map(self.position_of, link.cause))
        event = self._ledger.at(position)
        return tuple(map(self.position_of, event.cause if event is not None else ()))

    def _read_ahead(self, position: int) -> None:
        """Read what lies before a position: an event mostly follows from what is near."""
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
    """Yield an event and everything that follows from it, in the order of the ledger.

    Only links are read, from the event on; none that the index has.

    Args:
        ledger: where.
        event_id: where to begin.
        depth: how many links to go at most; to the end if None.
        excluding: types of events to leave out, with what follows from them alone.
        stop: position after the last event that counts; all if None.
        index: of the first events of the ledger, if one is kept.

    Raises:
        EventNotFound: the ledger has no such event.
    """
    event = _found(ledger, event_id)
    yield Step(event.position, (), 0)
    reached = {event.position: 0}
    end = ledger.length() if stop is None else stop
    for position, causes in _onwards(ledger, event, end, excluding, index, reached):
        on_the_way = tuple(each for each in causes if each in reached)
        away = min((reached[each] for each in on_the_way), default=None)
        if away is not None and away != depth:
            reached[position] = away + 1
            yield Step(position, on_the_way, away + 1)


def _onwards(
    ledger: LedgerStore,
    event: RecordedEvent,
    end: int,
    excluding: Collection[str],
    index: LineageIndex | None,
    reached: Collection[int],
) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield what lies behind an event, with where those causes stand that may be reached."""
    start = event.position + 1
    indexed = min(index.length, end) if index is not None else 0
    if index is not None and start < indexed:
        for position, causes in index.causes(start, indexed, excluding):
            yield position, causes if causes is not None else _asked(ledger, position)
    places: dict[str, int | None] = {event.id: event.position}
    for link in ledger.links(max(start, indexed), end, excluding=excluding):
        for id in link.cause:
            # Behind the index, what was reached in it goes by its position alone.
            if id not in places and start < indexed:
                cause = ledger.find(id)
                places[id] = cause.position if cause is not None else None
        yield link.position, [each for id in link.cause if (each := places.get(id)) is not None]
        if start < indexed or link.position in reached:
            places[link.id] = link.position


def _asked(ledger: LedgerStore, position: int) -> list[int]:
    event = ledger.at(position)
    found = map(ledger.find, event.cause if event is not None else ())
    return [each.position for each in found if each is not None]


def _found(ledger: LedgerStore, event_id: str) -> RecordedEvent:
    event = ledger.find(event_id)
    if event is None:
        msg = f"There is no event {event_id!r} in {ledger.stream_name()}."
        raise EventNotFound(msg, hint="`kando events RUN` lists them.")
    return event
