"""Cached worlds equal those of their ledgers, even if these grow or change."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kando.app.builtin import installed_plugins
from kando.app.store import Store, open_store
from kando.app.world_cache import WorldCache
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.schema.events import KandoEvent, make_event
from kando.world.projection import change_of, project


def an_object(run_id: str, number: int, data: dict[str, object]) -> KandoEvent:
    body = {"id": f"note-{number % 3}", "type": "Note", "data": data}
    return make_event("object.created", f"run:{run_id}", "test", [], body)


def opened(path: Path) -> Store:
    environ = {"KANDO_LEDGER": f"sqlite:{path}", "KANDO_PLUGINS": ""}
    return open_store(plugins=installed_plugins(environ), environ=environ)


@settings(deadline=None, max_examples=40)
@given(asked=st.lists(st.tuples(st.booleans(), st.integers(0, 30)), min_size=1, max_size=12))
def test_a_cached_world_equals_the_projection_of_the_ledger(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[bool, int]]
) -> None:
    path = tmp_path_factory.mktemp("cache") / "store.sqlite"
    ledger = SQLiteLedgerStore("r1", path)
    ledger.append([an_object("r1", n, {"n": n}) for n in range(5)])
    cache = WorldCache()
    with opened(path) as store:
        for grows, number in asked:
            if grows:
                ledger.append([an_object("r1", number, {"n": number})])
            at = min(number, ledger.length())
            with cache.borrow(store, "r1", at) as (world, run_id, position):
                assert (run_id, position) == ("r1", at)
                assert world == project(islice(ledger.read_all(), at))
    ledger.close()


def test_a_world_of_another_store_with_the_same_ids_is_not_used(tmp_path: Path) -> None:
    cache = WorldCache()
    for number in (1, 2):
        path = tmp_path / f"{number}.sqlite"
        ledger = SQLiteLedgerStore("r1", path)
        ledger.append([an_object("r1", 0, {"n": number})])
        ledger.close()
        with opened(path) as store, cache.borrow(store, "r1", None) as (world, _, _):
            assert world.objects["note-0"].data == {"n": number}


def test_going_back_in_a_long_run_applies_few_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.sqlite"
    ledger = SQLiteLedgerStore("r1", path)
    ledger.append([an_object("r1", n, {"n": n}) for n in range(10_000)])
    cache, applied = WorldCache(), [0]

    def counted(*given: Any) -> Any:
        applied[-1] += 1
        return change_of(*given)

    monkeypatch.setattr("kando.app.world_cache.change_of", counted)
    with opened(path) as store:
        for at in (10_000, *range(9_900, 100, -1_900)):
            applied.append(0)
            with cache.borrow(store, "r1", at) as (world, _, _):
                assert world == project(islice(ledger.read_all(), at))
    ledger.close()
    assert applied[1] == 10_000
    assert max(applied[2:]) < 4_000


def test_concurrent_borrowers_get_separate_worlds(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    ledger = SQLiteLedgerStore("r1", path)
    ledger.append([an_object("r1", n, {"n": n}) for n in range(3)])
    ledger.close()
    cache = WorldCache()
    with opened(path) as store:
        with cache.borrow(store, "r1", 1) as (first, _, _), cache.borrow(store, "r1", 3) as two:
            assert len(first.objects) == 1
            assert len(two[0].objects) == 3
        with cache.borrow(store, "r1", 3) as (again, _, _):
            assert again is two[0]
