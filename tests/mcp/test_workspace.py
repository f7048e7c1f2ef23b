"""Files of workspaces and calls that are taken back, as an MCP client sees them."""

import base64
import json
from typing import Any

import pytest
from click.testing import CliRunner
from mcp import Client

from kando.app.store import open_store
from kando.cli.main import cli
from kando_mcp.settings import Settings
from mcp_host import Call, Place, calling, refusal

BYTES = bytes(range(256)) * 8


def printed(place: Place, *arguments: str) -> Any:
    """Return what a command prints as JSON."""
    result = CliRunner().invoke(cli, [*arguments, "--json"], env=place.environ)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def noted(call: Call, text: str) -> str:
    """Return the id of a finished run that has written a note."""
    run = await call("start_run", kit="tiny", goal=f"note {text}", wait_s=45)
    assert run["state"] == "finished"
    return str(run["run_id"])


async def event_of(call: Call, run_id: str, type: str) -> str:
    found = await call("explain_trace", run_id=run_id, event_id="goal", direction="down")
    return str(next(each["id"] for each in found["steps"] if each["type"] == type))


def test_files_are_listed_read_and_compared_as_the_command_line_does(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        first, second = await noted(call, "one"), await noted(call, "two")

        listed = await call("list_workspace", run_id=first)
        assert [each["path"] for each in listed["items"]] == ["note.bin", "note.txt"]
        assert {"items": listed["items"], "next_cursor": None} == printed(place, "workspace", first)
        assert listed["summary"] == f"2 files, 2051 bytes after {listed['position']} events"
        assert (await call("list_workspace", run_id=f"{first}@2"))["items"] == []
        with open_store(environ=place.environ) as store:
            run = store.run(first)
            at = next(e.position for e in run.events() if e.type == "tool.returned")
        assert (await call("list_workspace", run_id=first, at=at))["items"] == []
        assert len((await call("list_workspace", run_id=first, at=at + 1))["items"]) == 2

        found = await call("diff_branches", run_a=first, run_b=second, files=True)
        assert found["files"] == printed(place, "diff", first, second, "--files")["files"]
        (change,) = found["files"]
        assert (change["path"], change["change"]) == ("note.txt", "changed")
        assert "-one" in change["diff"]
        assert "+two" in change["diff"]
        assert "files" not in await call("diff_branches", run_a=first, run_b=second)
        before = await call("diff_branches", run_a=f"{first}@2", run_b=second, files=True)
        assert [each["change"] for each in before["files"]] == ["added", "added"]

    place.within(story)


def test_differences_of_files_are_paged_after_those_of_the_worlds(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        first, second = await noted(call, "one"), await noted(call, "two")
        pair = {"run_a": f"{first}@2", "run_b": second, "files": True}
        whole = await call("diff_branches", **pair)
        paged: list[Any] = []
        cursor = None
        while True:
            page = await call("diff_branches", **pair, limit=1, cursor=cursor)
            paged += page["files"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert paged == whole["files"]

    place.within(story)


def test_a_long_file_is_read_in_pages_and_a_binary_one_as_base64(place: Place) -> None:
    text = 'a "quoted" line\n\u00e4\u20ac\U0001f600 ' * 2_000

    async def read(call: Call, run_id: str, path: str) -> list[dict[str, Any]]:
        pages, cursor = [], None
        while True:
            page = await call("read_workspace_file", run_id=run_id, path=path, cursor=cursor)
            assert len(json.dumps(page, ensure_ascii=False)) <= 8_000
            pages.append(page)
            cursor = page["next_cursor"]
            if cursor is None:
                return pages

    async def story(client: Client) -> None:
        call = calling(client)
        run_id = await noted(call, text.strip())
        pages = await read(call, run_id, "note.txt")
        assert len(pages) > 1
        assert "".join(each["text"] for each in pages) == text.strip()
        assert {each["data"] for each in pages} == {None}
        pages = await read(call, run_id, "note.bin")
        assert b"".join(base64.b64decode(each["data"]) for each in pages) == BYTES
        assert {each["text"] for each in pages} == {None}

    place.within(story, Settings(max_result_chars=8_000))


def test_a_file_that_a_workspace_lacks_is_refused_with_the_tool_that_lists_them(
    place: Place,
) -> None:
    async def story(client: Client) -> None:
        run_id = await noted(calling(client), "one")
        for path in ("absent", "../note.txt", "/etc/passwd", "note.txt/"):
            refused = await refusal(client, "read_workspace_file", run_id=run_id, path=path)
            assert "has no file" in refused
            assert "list_workspace" in refused

    place.within(story)


def test_a_call_is_taken_back_once_and_its_file_is_gone(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = await noted(call, "one")
        called = await event_of(call, run_id, "tool.called")
        state = await call("undo_call", run_id=run_id, event_id=called, by="ann", wait_s=45)
        assert state["state"] == "finished"
        listed = await call("list_workspace", run_id=run_id)
        assert [each["path"] for each in listed["items"]] == ["note.bin"]
        with open_store(environ=place.environ) as store:
            undo = [e for e in store.run(run_id).events() if e.type == "tool.called"][-1]
        assert (undo.data["tool"], undo.actor) == ("drop_note", "ann")
        assert "was undone by" in await refusal(client, "undo_call", run_id=run_id, event_id=called)
        refused = await refusal(client, "undo_call", run_id=run_id, event_id="object.created-1")
        assert "only a call of a tool can be undone" in refused

    place.within(story)


@pytest.mark.parametrize("is_read_only", [True, False])
def test_a_read_only_server_shows_files_and_takes_no_call_back(
    place: Place, is_read_only: bool
) -> None:
    names: set[str] = set()

    async def story(client: Client) -> None:
        names.update(tool.name for tool in (await client.list_tools()).tools)

    place.drive(story, *(["--read-only"] if is_read_only else []))
    assert {"list_workspace", "read_workspace_file", "diff_branches"} <= names
    assert ("undo_call" in names) is not is_read_only
