"""`kando run --input` reports the files that it skipped, and the text that was lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kando import open_store
from kando.errors import ConfigurationError

Run = Callable[..., Any]

START = ("run", "tiny", "--goal", "g", "--llm", "parrot", "--input")


def test_a_run_that_can_read_no_input_is_refused_with_the_reasons(
    kando: Run, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")

    done = kando(*START, "photo.jpg", "missing.txt")

    assert done.returncode == 2
    assert "photo.jpg: unknown type: JPEG image; missing.txt: no such file" in done.stderr
    assert "No input could be read" in done.stderr
    assert json.loads(kando("runs", "--json").stdout)["items"] == []


def test_an_empty_folder_is_not_an_input(kando: Run, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert "No input could be read: no files." in kando(*START, "empty").stderr


def test_notes_and_skipped_files_are_printed_and_recorded(
    kando: Run, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes("Café".encode("cp1252"))
    (tmp_path / "b.txt").write_text("fine")

    done = kando(*START, "a.txt", "b.txt", "missing.txt")

    assert done.returncode == 0
    note = "no encoding declared, read as windows-1252"
    assert f"read a.txt: {note}" in done.stderr
    assert "read b.txt" not in done.stderr
    assert "skipped missing.txt: no such file" in done.stderr
    lines = kando("events", "@last", "--json").stdout.splitlines()
    created = [json.loads(line)["data"] for line in lines if '"object.created"' in line]
    documents = [each["data"] for each in created if each["type"] == "Document"]
    notes = {each["path"]: each.get("notes") for each in documents}
    assert notes == {"a.txt": [note], "b.txt": None}


def test_a_program_gets_the_same_error_and_the_same_notes(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Café".encode("cp1252"))
    with open_store(f"sqlite:{tmp_path}/other.sqlite") as store:
        with pytest.raises(ConfigurationError, match="No input could be read"):
            store.start("tiny", "g", inputs=["missing.txt"], work=False)

        result = store.start("tiny", "g", inputs=[tmp_path / "a.txt", "missing.txt"]).result

        assert result is not None
        assert [each.notes for each in result.noted] == [
            ["no encoding declared, read as windows-1252"]
        ]
        assert [each.reason for each in result.skipped] == ["no such file"]
