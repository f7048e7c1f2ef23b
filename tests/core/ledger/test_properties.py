"""Every ledger returns any events exactly as they were written."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.schema.events import KandoEvent
from kando.testing.ledgers import all_fields

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
events = st.builds(
    KandoEvent,
    st.just(""),
    texts,
    texts,
    texts,
    st.lists(texts, max_size=3),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=zones),
    st.dictionaries(texts, values, max_size=3),
)


@settings(max_examples=50, deadline=None)
@given(batches=st.lists(st.lists(events, max_size=4), max_size=3))
def test_any_events_are_read_back_as_they_were_written_and_every_ledger_agrees(
    batches: list[list[KandoEvent]],
) -> None:
    written = [event for batch in batches for event in batch]
    with TemporaryDirectory() as folder:
        in_memory = MemoryLedgerStore("r1")
        in_file = SQLiteLedgerStore("r1", Path(folder) / "store")
        for batch in batches:
            in_memory.append(list(batch))
            in_file.append(list(batch))

        for ledger in (in_memory, in_file):
            read = list(ledger.read_all())

            assert ledger.length() == len(read)
            assert read == [as_recorded(event, n) for n, event in enumerate(written)]
            assert [ledger.find(event.id) for event in read] == read
        assert [all_fields(e) for e in in_file.read_all()] == [
            all_fields(e) for e in in_memory.read_all()
        ]
        assert in_file.digest(len(written)) == in_memory.digest(len(written))
        in_file.close()


def as_recorded(event: KandoEvent, position: int) -> KandoEvent:
    return attrs.evolve(event, id=f"{event.type}-{position}", source=event.source or "run:r1")
