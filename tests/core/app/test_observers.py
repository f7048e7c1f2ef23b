"""Observers of plugins cannot change, stop or delay a run, and what they miss is reported."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.app.observers import Observation, Observer
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.runtime import Runtime
from kando.schema.events import KandoEvent
from kando.testing.golden import assert_same_events
from kando.testing.ledgers import LedgerContract
from sample_kit import sample_kit


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Yield an event that an observer may wait for; it is set at the end, so that its thread ends."""
    event = threading.Event()
    yield event
    event.set()


def observed_run(*observers: Observer, limit: int = 1000) -> tuple[MemoryLedgerStore, list[str]]:
    """Run the sample kit under observers; return its ledger and the reports."""
    ledger = MemoryLedgerStore("r1")
    kit = sample_kit()
    assert kit.seed is not None
    named = [(f"kando-watch:{n}", observe) for n, observe in enumerate(observers)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Observation(named, limit=limit) as observation:
            Runtime(observation.over(ledger), kit.create()).run(kit.seed("Ada", "r1"))
    return ledger, [str(each.message) for each in caught]


def test_an_observer_receives_every_event_in_order() -> None:
    seen: list[tuple[str, int]] = []

    ledger, reported = observed_run(lambda event, position: seen.append((event.id, position)))

    assert seen == [(event.id, event.position) for event in ledger.read_all()]
    assert reported == []


def test_an_observer_that_changes_an_event_changes_only_its_copy() -> None:
    def vandal(event: Any, position: int) -> None:
        event.data.clear()
        event.cause.append("me")

    ledger, reported = observed_run(vandal)

    assert_same_events(ledger.read_all(), observed_run()[0].read_all())
    assert reported == []


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_an_observer_that_raises_is_reported_and_affects_neither_the_run_nor_others(
    error: type[BaseException],
) -> None:
    seen: list[int] = []

    def raising(event: KandoEvent, position: int) -> None:
        raise error("no more")

    ledger, reported = observed_run(raising, lambda event, position: seen.append(position))

    count = ledger.length()
    assert seen == list(range(count))
    assert reported == [
        f"Observer kando-watch:0 raised for {count} events, first {error.__name__}: no more."
    ]


def test_an_observer_that_hangs_delays_nothing_and_its_dropped_events_are_counted(
    released: threading.Event,
) -> None:
    seen: list[int] = []

    ledger, reported = observed_run(
        lambda event, position: released.wait(),
        lambda event, position: seen.append(position),
        limit=1000,
    )

    count = ledger.length()
    assert seen == list(range(count))
    assert reported == [f"Observer kando-watch:0 missed {count} of {count} events."]


def test_a_full_queue_drops_the_newest_events(released: threading.Event) -> None:
    seen: list[int] = []
    has_begun = threading.Event()

    def slow(event: KandoEvent, position: int) -> None:
        seen.append(position)
        has_begun.set()
        released.wait()

    observation = Observation([("w", slow)], limit=2)
    ledger = MemoryLedgerStore("r1")
    recorded = list(observed_run()[0].read_all())
    observation.over(ledger).append(list(recorded))
    has_begun.wait()
    (report,) = observation.close()

    assert seen == [0]
    assert (report.handled, report.dropped) == (0, len(recorded))
    assert ledger.length() == len(recorded)


def test_the_thread_of_an_observer_does_not_keep_the_process_alive(
    released: threading.Event,
) -> None:
    observed_run(lambda event, position: released.wait())

    (thread,) = [each for each in threading.enumerate() if each.name.startswith("kando-watch")]
    assert thread.daemon


def test_a_ledger_without_observers_is_returned_unchanged() -> None:
    ledger = MemoryLedgerStore("r1")

    assert Observation([]).over(ledger) is ledger


class TestObservedLedger(LedgerContract):
    """An observed ledger is a ledger like any other."""

    is_durable = False

    def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
        return Observation([("w", lambda event, position: None)]).over(MemoryLedgerStore(run_id))


def test_the_threads_of_a_run_end_with_it() -> None:
    observed_run(lambda event, position: None)

    for thread in threading.enumerate():
        if thread.name.startswith("kando-watch"):
            thread.join(timeout=10)
            assert not thread.is_alive()
