"""`kando export` and `import`: a run moves from one store to another by a file."""

import io
import json
import os
import stat
import subprocess
import sys
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
        "children": [],
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
        "children": [],
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


def test_an_export_to_a_link_writes_the_file_that_it_leads_to(
    kando: Run, run_id: str, tmp_path: Path
) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")

    kando("export", run_id, "-o", "link")
    kando("export", run_id, "-o", "plain")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == (tmp_path / "plain").read_bytes()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("-", "jsonl"),
        ("-", "svg"),
        ("/dev/stdout", "jsonl"),
        ("/dev/fd/1", "dot"),
        ("link", "jsonl"),
    ],
)
def test_stdout_receives_only_the_export(
    process: Run, run_id: str, tmp_path: Path, name: str, form: str
) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    process("export", run_id, "-o", "out", "--format", form)

    done = process("export", run_id, "-o", name, "--format", form)
    reported = process("export", run_id, "-o", name, "--format", form, "--json")

    assert (done.returncode, done.stdout) == (0, (tmp_path / "out").read_text())
    assert done.stderr.startswith("kando: exported: ")
    assert reported.stdout == done.stdout
    assert json.loads(reported.stderr)["file"] == name
    assert not (tmp_path / "-").exists()


def test_an_export_through_stdout_continues_a_redirected_file(
    environ: dict[str, str], run_id: str, tmp_path: Path
) -> None:
    before = os.lstat("/dev/stdout")
    command = [sys.executable, "-m", "kando.cli.main", "export", run_id, "-o", "/dev/stdout"]
    (tmp_path / "file").write_text("first\n")

    with (tmp_path / "file").open("ab") as file:
        subprocess.run(command, cwd=tmp_path, env=environ, stdout=file, check=True)

    first, head, *_ = (tmp_path / "file").read_text().splitlines()
    assert (first, json.loads(head)["kando"]) == ("first", "ledger")
    assert os.lstat("/dev/stdout").st_ino == before.st_ino
