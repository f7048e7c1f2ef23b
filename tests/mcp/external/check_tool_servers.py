"""The tools of MCP servers from npm, in TypeScript: files, and everything that the protocol has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import call_tool, create
from kando.kit import Kit
from kando.schema.events import KIT_LOADED, TOOL_RETURNED, KandoEvent
from kando.world.graph import World


def kit_of(name: str, command: list[str], *, effect: str = "write") -> Kit:
    """Return a kit whose goal is a list of calls of a server."""
    kit = Kit("external", version="1")
    kit.mcp(name, command=command, effect=effect)

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Calls", {"calls": json.loads(goal)})]

    @kit.responder("object.created", type="Calls")
    def on_calls(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        for tool, arguments in event.data["data"]["calls"]:
            yield call_tool(f"{name}__{tool}", arguments)

    return kit


@pytest.fixture
def store(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("PATH", environ["PATH"])
    with open_store(environ["KANDO_LEDGER"]) as opened:
        yield opened


def started(store: Store, kit: Kit, *calls: tuple[str, dict[str, Any]]) -> tuple[Run, list[Any]]:
    run = store.start(kit, json.dumps(calls))
    found = [event.data for event in run.events() if event.type == TOOL_RETURNED]
    return run, [each["result"] if "result" in each else each["error"] for each in found]


def test_files_are_written_read_and_kept_on_a_branch(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    note = str(folder / "note.txt")
    kit = kit_of("files", ["mcp-server-filesystem", str(folder)], effect="annotated")

    run, written = started(store, kit, ("write_file", {"path": note, "content": "hello"}))
    assert (folder / "note.txt").read_text() == "hello"
    assert "wrote" in str(written[0])
    _, (read, outside) = started(
        store, kit, ("read_text_file", {"path": note}), ("read_text_file", {"path": "/etc/passwd"})
    )

    assert "hello" in str(read)
    assert outside["type"] == "ToolFailed"
    (folder / "note.txt").unlink()
    called = next(event.position for event in run.events() if event.type == "tool.called")
    branch = run.fork(at=called)
    branch.resume()
    assert not (folder / "note.txt").exists()
    assert branch.status().state == "finished"
    assert branch.replay(strict=True).events == branch.length()


def test_everything_gives_images_structure_progress_and_errors(store: Store) -> None:
    kit = kit_of("all", ["mcp-server-everything"])

    run, results = started(
        store,
        kit,
        ("echo", {"message": "hello"}),
        ("get-sum", {"a": 2, "b": 3}),
        ("get-tiny-image", {}),
        ("get-structured-content", {"location": "Chicago"}),
        ("get-resource-reference", {"resourceType": "Blob", "resourceId": 1}),
        ("trigger-long-running-operation", {"duration": 1, "steps": 2}),
        ("get-structured-content", {"location": "Atlantis"}),
    )

    echo, total, image, weather, reference, long, wrong = results
    assert echo == "Echo: hello"
    assert "5" in total
    assert [part["type"] for part in image["content"]].count("image") == 1
    assert {"temperature", "conditions"} <= weather.keys()
    assert any(part["type"] == "file" for part in reference["content"])
    assert "completed" in long
    assert wrong["type"] == "InvalidArguments"
    [loaded] = [event.data for event in run.events() if event.type == KIT_LOADED]
    assert len(loaded["tool_servers"]["all"]["tools"]) > 8
    assert run.replay(strict=True).events == run.length()
