"""Stores that are damaged, newer, read-only or elsewhere: which commands fail, and which still work."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def change(place: Path, statement: str) -> None:
    connection = sqlite3.connect(place)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder for one store, writable again at the end."""
    path = tmp_path / "store"
    path.mkdir()
    yield path
    path.chmod(0o755)


@pytest.fixture
def place(kando: Run, tiny: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store with two runs, which commands use."""
    path = folder / "kando.sqlite"
    monkeypatch.setenv("KANDO_LEDGER", f"sqlite:{path}")
    for goal in ("first", "second"):
        assert kando("run", "tiny", "--goal", goal, "--llm", "parrot").returncode == 0
    return path


def newer(place: Path) -> None:
    change(place, "PRAGMA user_version = 99")


def torn(place: Path) -> None:
    content = place.read_bytes()
    place.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


def overwritten(place: Path) -> None:
    place.write_bytes(b"\xa5" * 9999)


@pytest.mark.parametrize(
    ("damage", "says"),
    [(newer, "Upgrade kando-core"), (torn, "from a copy"), (overwritten, "from a copy")],
)
@pytest.mark.parametrize(
    "command", ["runs", "status @last", "fork @last --at 1", "resume @last", "run tiny --goal x"]
)
def test_an_unusable_store_is_refused_and_stays_unchanged(
    kando: Run, place: Path, damage: Callable[[Path], None], says: str, command: str
) -> None:
    damage(place)
    before = content_of(place.parent)

    done = kando(*command.split())

    assert (done.returncode, done.stdout) == (4, "")
    (line,) = done.stderr.splitlines()
    assert str(place) in line
    assert says in line
    assert content_of(place.parent) == before
    assert kando("doctor").returncode == 1


def test_a_damaged_event_is_reported_and_hides_no_other_run(kando: Run, place: Path) -> None:
    change(place, "UPDATE events SET body = x'00ff' WHERE address = (1 << 32) + 3")
    before = content_of(place.parent)

    listed = kando("runs", "--json")
    newest, damaged = json.loads(listed.stdout)["items"]

    assert listed.returncode == 4
    assert (newest["state"], newest["goal"]) == ("finished", "second")
    assert (damaged["state"], damaged["events"]) == ("damaged", 13)
    for command in ("status", "events", "world", "resume", "verify"):
        done = kando(command, damaged["run_id"])
        assert done.returncode == 4, command
        assert "position 3" in done.stdout + done.stderr
    assert f"{damaged['run_id']} is damaged" in kando("runs").stderr
    assert kando("status", newest["run_id"]).returncode == 0
    assert content_of(place.parent) == before


@pytest.mark.parametrize(
    "command",
    [
        *("runs", "status @last", "events @last --json", "world @last", "verify @last", "doctor"),
        *("trace claim --run @last", "diff @last @last~1", "replay @last", "replay @last --strict"),
        *("diff @last @last~1 --events --stat --world", "compare @last @last~1"),
        "metrics @last",
    ],
)
def test_reading_commands_need_no_write_permission_and_leave_no_files(
    kando: Run, place: Path, command: str
) -> None:
    place.chmod(0o444)
    place.parent.chmod(0o555)
    before = content_of(place.parent)

    assert kando(*command.split()).returncode == 0

    assert content_of(place.parent) == before


@pytest.mark.parametrize(
    "command", ["fork x --at 1", "resume x", "send x --type note", "pause x", "cancel x"]
)
def test_changing_a_run_without_a_store_creates_none(
    kando: Run, tiny: Path, home: Path, command: str
) -> None:
    assert kando(*command.split()).returncode == 3

    assert list(home.iterdir()) == []


def test_a_hint_names_the_store_and_works(kando: Run, tiny: Path) -> None:
    done = kando("--ledger", "sqlite:my store.sqlite", "run", "tiny", "--goal", "x")

    run_id = done.stdout.strip()
    assert f"kando resume {run_id} --ledger 'sqlite:my store.sqlite'" in done.stderr
    resumed = kando(
        *("resume", run_id, "--ledger", "sqlite:my store.sqlite"), "--llm", "parrot", "--json"
    )
    assert json.loads(resumed.stdout)["state"] == "finished"


def test_no_hint_suggests_resuming_a_run_in_memory(kando: Run, tiny: Path) -> None:
    done = kando("--ledger", "memory:", "run", "tiny", "--goal", "x")

    assert done.returncode == 0
    assert "kando resume" not in done.stderr
    assert "memory: keeps nothing" in done.stderr


def test_a_read_only_folder_for_snapshots_is_a_warning_and_the_run_finishes(
    process: Run, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    done = process(
        *("run", "tiny", "--goal", "x", "--llm", "parrot"),
        KANDO_SNAPSHOT_DIR=str(tmp_path / "file" / "snapshots"),
        PYTHONWARNINGS="",
    )

    assert done.returncode == 0
    assert "kando: The snapshot of run:" in done.stderr
    assert all(line.startswith("kando: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize("command", ["resume", "pause", "cancel"])
def test_the_demo_run_is_read_only(kando: Run, home: Path, command: str) -> None:
    done = kando(command, "demo")

    assert done.returncode == 3
    assert "kando run KIT --goal TEXT" in done.stderr
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "resume", "replay", "verify", "pause"])
def test_a_command_for_whole_runs_refuses_a_position(kando: Run, place: Path, command: str) -> None:
    done = kando(command, "@last@2")

    assert done.returncode == 3
    assert "a whole run" in done.stderr
    assert "Use @last." in done.stderr
