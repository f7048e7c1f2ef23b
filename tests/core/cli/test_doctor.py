"""`kando doctor`: what it finds in a store and an installation, and that it survives any error."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kando.app import doctor
from kando.ledger.claims import Worker
from kando.ledger.groups import Job
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from stores import damage_index

Run = Callable[..., Any]
Items = dict[str, dict[str, str]]


@pytest.fixture
def place(kando: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store with a run, which commands use."""
    path = tmp_path / "store" / "kando.sqlite"
    monkeypatch.setenv("KANDO_LEDGER", f"sqlite:{path}")
    assert kando("run", "tiny", "--goal", "x", "--llm", "parrot").returncode == 0
    return path


def findings(kando: Run, code: int = 0) -> Items:
    done = kando("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return {item["what"]: item for item in json.loads(done.stdout)["items"]}


def test_a_healthy_store_is_writable_and_its_pages_are_intact(kando: Run, place: Path) -> None:
    found = findings(kando)

    assert [found[what]["state"] for what in ("store", "write access", "pages")] == ["ok"] * 3
    assert found["pages"]["detail"] == "intact"


def test_damaged_pages_are_found(kando: Run, place: Path) -> None:
    damage_index(place)

    found = findings(kando, 1)

    assert found["pages"]["state"] == "fail"
    assert str(place) in found["pages"]["detail"]
    assert "copy" in found["pages"]["cure"]


def test_a_check_of_pages_that_takes_too_long_is_ended(
    kando: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_PAGES_SECONDS", -1.0)
    monkeypatch.setattr("kando.ledger.pages._STEPS", 1)

    assert "as far as they were checked" in findings(kando)["pages"]["detail"]


@pytest.mark.parametrize(("free", "state"), [(2**40, "ok"), (100 * 2**20, "warn"), (2**20, "fail")])
def test_a_full_disk_is_found(
    kando: Run, place: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))

    found = findings(kando, 1 if state == "fail" else 0)["free space"]

    assert found["state"] == state
    assert bool(found["cure"]) == (state != "ok")


def test_a_store_that_can_only_be_read_is_found(
    kando: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)

    found = findings(kando)["write access"]

    assert (found["state"], found["detail"]) == ("warn", f"{place} can only be read")
    assert str(place.parent) in found["cure"]


def test_runs_whose_process_died_and_parked_jobs_are_named_with_the_cure(
    kando: Run, place: Path
) -> None:
    run_id = json.loads(kando("runs", "--json").stdout)["items"][0]["run_id"]
    with SQLiteSubstrate(place) as substrate:
        assert substrate.claim(run_id, Worker("gone", 1), -1.0) is not None
        group = substrate.group("team")
        group.offer(Job(run_id))
        lease = group.take(Worker("gone", 1), 60)
        assert lease is not None
        group.park(lease, "no kit")

    found = findings(kando)

    stale, parked = found[f"run {run_id}"], found["group team"]
    assert (stale["state"], stale["cure"]) == ("warn", f"`kando resume {run_id}` resumes it.")
    assert "process 1 on gone has died" in stale["detail"]
    assert (parked["state"], parked["detail"]) == ("warn", "1 job is parked")
    assert "kando groups replay-parked team" in parked["cure"]
    assert kando("resume", run_id, "--llm", "parrot").returncode == 0
    assert kando("groups", "replay-parked", "team").returncode == 0
    assert {f"run {run_id}", "group team"}.isdisjoint(findings(kando))


def test_damaged_distributions_are_named(kando: Run, place: Path, tmp_path: Path) -> None:
    left_over = tmp_path / "site" / "left_over-1.0.dist-info"
    left_over.mkdir()
    (left_over / "entry_points.txt").write_text("[kando]\nleft_over = nowhere\n")

    found = findings(kando)["distribution left_over-1.0.dist-info"]

    assert found["state"] == "warn"
    assert "METADATA is missing" in found["detail"]
    assert str(left_over) in found["detail"]


@pytest.mark.parametrize("check", doctor._CHECKS)
@pytest.mark.parametrize("error", [RuntimeError("odd"), SystemExit(3), RecursionError()])
def test_the_error_of_a_check_is_a_finding_and_ends_no_other_check(
    kando: Run, place: Path, monkeypatch: pytest.MonkeyPatch, check: str, error: BaseException
) -> None:
    def raises(context: object) -> Any:
        raise error
        yield

    before = findings(kando)
    monkeypatch.setitem(doctor._CHECKS, check, raises)

    found = findings(kando, 1)

    assert found[check]["state"] == "fail"
    assert type(error).__name__ in found[check]["detail"]
    assert len(found) >= len(before) - 2
