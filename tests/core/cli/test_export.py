"""`kando export` and `import`: a run moves from one store to another by a file."""

import io
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

THERE = ("--ledger", "sqlite:there.sqlite")


@pytest.fixture
def run_id(kando: Run, tiny: Path) -> str:
    """Return the id of a run that waits for an answer."""
    return str(kando("run", "tiny", "--goal", "hello").stdout.strip())


def test_a_run_moves_to_another_store_and_is_resumed_there(
    kando: Run, run_id: str, tmp_path: Path
) -> None:
    done = kando("export", run_id, "-o", "run.jsonl")
    assert done.stdout.startswith("exported: ")
    assert stat.S_IMODE((tmp_path / "run.jsonl").stat().st_mode) == 0o600

    imported = kando("import", "run.jsonl", *THERE)

    assert imported.stdout == f"{run_id}\n"
    theirs = kando("events", run_id, "--json", *THERE).stdout
    assert theirs == kando("events", run_id, "--json").stdout
    assert kando("verify", run_id, *THERE).stdout == kando("verify", run_id).stdout
    assert kando("resume", run_id, "--llm", "parrot", *THERE).returncode == 0
    assert json.loads(kando("status", run_id, "--json", *THERE).stdout)["state"] == "finished"
    assert "identical" in kando("replay", run_id, "--strict", *THERE).stdout


def test_a_branch_without_its_parent_becomes_a_run_with_a_warning(kando: Run, run_id: str) -> None:
    branch = kando("fork", run_id, "--at", "2").stdout.strip()
    kando("resume", branch, "--llm", "parrot")
    kando("export", branch, "-o", "branch.jsonl")

    done = kando("import", "branch.jsonl", *THERE)

    assert done.stdout == f"{branch}\n"
    assert f"its parent {run_id} is not in this store" in done.stderr
    assert "identical" in kando("replay", branch, "--strict", *THERE).stdout
    world = kando("world", branch, "--json", *THERE).stdout
    assert world == kando("world", branch, "--json").stdout


def test_an_import_of_an_existing_run_or_a_malformed_file_is_refused(
    kando: Run, run_id: str, tmp_path: Path
) -> None:
    kando("export", run_id, "-o", "run.jsonl")
    taken = kando("import", "run.jsonl")
    assert (taken.returncode, taken.stdout) == (1, "")
    assert f"'{run_id}' already" in taken.stderr

    file = tmp_path / "run.jsonl"
    file.write_bytes(file.read_bytes().replace(b"hello", b"hullo"))
    done = kando("import", "run.jsonl", "--json", *THERE)

    assert (done.returncode, done.stdout) == (1, "")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "invalid_data"
    assert error["message"].startswith("Line 3 is not the event ")
    assert not (tmp_path / "there.sqlite").exists()


def test_a_line_without_an_end_is_refused(kando: Run, tmp_path: Path) -> None:
    with (tmp_path / "run.jsonl").open("wb") as file:
        file.truncate(1 << 33)

    done = kando("import", "run.jsonl", *THERE)

    assert done.returncode == 1
    assert "Line 1 is longer than" in done.stderr
    assert not (tmp_path / "there.sqlite").exists()


def test_json_reports_the_export_and_the_import(
    kando: Run, run_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exported = json.loads(kando("export", f"{run_id}@2", "-o", "out", "--json").stdout)
    assert exported == {
        "run_id": run_id,
        "file": "out",
        "format": "jsonl",
        "events": 2,
        "digest": exported["digest"],
    }

    content = io.TextIOWrapper(io.BytesIO((tmp_path / "out").read_bytes()))
    monkeypatch.setattr("sys.stdin", content)
    read = json.loads(kando("import", "-", "--json", *THERE).stdout)

    assert read == {
        "run_id": run_id,
        "events": 2,
        "digest": exported["digest"],
        "parent_id": None,
        "missing_parent_id": None,
    }


@pytest.mark.parametrize("form", ["jsonl", "cloudevents", "dot", "mermaid", "svg"])
def test_an_export_can_be_written_to_a_pipe(process: Run, run_id: str, form: str) -> None:
    to_file = process("export", run_id, "-o", "out", "--format", form)
    to_pipe = process("export", run_id, "-o", "/dev/stdout", "--format", form)

    assert to_file.returncode == to_pipe.returncode == 0
    assert to_pipe.stdout.startswith(Path("out").read_text())


def test_the_demo_can_be_exported_and_not_be_imported_over_itself(kando: Run) -> None:
    assert kando("export", "demo", "-o", "demo.jsonl").returncode == 0

    done = kando("import", "demo.jsonl")

    assert done.returncode == 1
    assert "cannot be imported" in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["export", "demo"], 2),
        (["export", "demo", "-o", "no/folder/out"], 4),
        (["export", "demo", "-o", "out", "--format", "pdf"], 2),
        (["export", "nobody", "-o", "out"], 3),
        (["import", "missing.jsonl"], 2),
    ],
)
def test_wrong_usage_is_refused(kando: Run, tmp_path: Path, command: list[str], code: int) -> None:
    done = kando(*command)

    assert (done.returncode, done.stdout) == (code, "")
    assert not (tmp_path / "out").exists()
