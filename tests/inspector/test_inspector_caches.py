"""A server with caches returns the same as a store without them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from inspector_server import TOKEN, client_of, worked_kit
from kando.app.run import Run
from kando.app.shapes import event_dict, metrics_dict, status_dict
from kando.app.snapshot_cache import SnapshotCache
from kando.app.store import Store, open_store
from kando_inspector.access import Access
from kando_inspector.application import inspector
from kando_inspector.service import Service


@pytest.fixture
def run(store: Store, tmp_path: Path) -> Run:
    """A run that was imported, so that it has no snapshot."""
    file = tmp_path / "run.jsonl"
    with open_store("memory:", kits=[worked_kit()], environ={}) as other:
        made = other.start("worked", "Compare two cities")
        made.export(file)
    with file.open("rb") as lines:
        store.import_run(lines)
    return store.run(made.id)


@pytest.fixture
def client(store: Store) -> TestClient:
    """A client of a server that keeps a snapshot after every other event."""
    store.context.snapshot_cache = SnapshotCache(least=1, step=2)
    client = client_of(inspector(Service(store, Access(token=TOKEN))))
    client.headers["authorization"] = f"Bearer {TOKEN}"
    return client


@pytest.fixture
def plain(store: Store) -> Iterator[Store]:
    """The same store without caches."""
    with open_store(store.url, kits=[worked_kit()], environ={}) as opened:
        yield opened


def got(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def assert_same(client: TestClient, plain: Store, run_id: str, positions: list[int | None]) -> None:
    run = plain.run(run_id)
    for at in positions:
        query = {} if at is None else {"at": at}
        assert got(client, f"/runs/{run_id}", **query) == status_dict(run.status(at=at)), at
        metrics = metrics_dict(run_id, run.metrics(at=at))
        assert got(client, f"/runs/{run_id}/metrics", **query) == metrics, at
        names = [
            each["name"] for each in got(client, f"/runs/{run_id}/artifacts", **query)["items"]
        ]
        assert names == [each.name for each in run.artifacts(at=at)], at
        waiting = got(client, f"/runs/{run_id}/approvals", **query)["items"]
        assert len(waiting) == len(run.approvals(at=at)) + len(run.questions(at=at))


def test_a_run_is_the_same_with_caches_at_every_position_and_as_it_grows(
    client: TestClient, plain: Store, store: Store, run: Run
) -> None:
    draw = random.Random(7)
    positions: list[int | None] = [None, *range(run.length() + 1), None]
    draw.shuffle(positions)
    assert_same(client, plain, run.id, positions)

    branch = run.fork(at=6, patches=[("goal", {"text": "Compare two rivers"})])
    assert_same(client, plain, branch.id, [None, 6, 3, branch.length()])

    before = run.length()
    run.send("note.added", {"text": "More"})
    assert got(client, f"/runs/{run.id}")["state"] == "stopped"
    run.resume()
    assert run.length() > before
    branch.resume()
    for each in (run, branch):
        assert_same(client, plain, each.id, [None, before, before - 1, 4, each.length()])


def test_the_pages_of_a_trace_are_those_of_one_walk(
    client: TestClient, plain: Store, run: Run
) -> None:
    events = list(run.events())
    for direction, start in (("causes", events[-1].id), ("effects", events[0].id)):
        for at in (run.length(), run.length() - 3):
            if direction == "causes":
                start = events[at - 1].id
            found: list[Any] = []
            page = got(client, f"/runs/{run.id}/trace/{start}", direction=direction, limit=1, at=at)
            while True:
                found += page["items"]
                if page["next"] is None:
                    break
                query = {"direction": direction, "limit": 1, "at": at, "cursor": page["next"]}
                page = got(client, f"/runs/{run.id}/trace/{start}", **query)
            trace = plain.run(run.id).trace(start, at=at, down=direction == "effects")
            expected = [
                event_dict(event) | {"run_id": run.id, "depth": step.depth}
                for step, event in zip(trace.steps, trace.events(), strict=True)
            ]
            assert found == expected, (direction, at)


def test_a_repeated_question_reads_no_event_of_a_run_that_has_not_changed(
    client: TestClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = got(client, f"/runs/{run.id}")
    ledger = type(run._opened().ledger)
    read: list[str] = []
    for name in ("read", "read_firings", "links"):
        was = getattr(ledger, name)

        def watched(self: Any, *given: Any, was: Any = was, name: str = name, **named: Any) -> Any:
            for each in was(self, *given, **named):
                read.append(name)
                yield each

        monkeypatch.setattr(ledger, name, watched)
    assert got(client, f"/runs/{run.id}") == first
    got(client, f"/runs/{run.id}/metrics")
    assert read == []


def test_the_snapshots_in_memory_are_bounded(store: Store, run: Run) -> None:
    cache = SnapshotCache(least=1, step=1, max_bytes=5_000)
    store.context.snapshot_cache = cache
    for at in range(1, run.length() + 1):
        cache.catch_up(store.run(run.id)._opened(), at)

    kept = [at for at in range(run.length() + 1) if _position(cache, run, at) == at]
    assert 1 <= len(kept) < run.length()
    assert _position(cache, run, run.length()) == run.length()


def _position(cache: SnapshotCache, run: Run, at: int) -> int | None:
    found = cache.latest(run._opened().ledger, at)
    return None if found is None else found.position
