"""Lines on stdin that hold no message, and text that cannot be written, do not end the server."""

import os
import subprocess
import sys
from typing import Any

import pytest
from mcp import Client

from mcp_host import MODES, Place, calling, refusal
from mcp_wire import wire

PARSE_ERROR, INVALID_REQUEST = -32700, -32600

CALL = (
    '{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"list_runs","arguments":%s}}'
)

BAD_LINES = {
    "not JSON": ("nonsense", PARSE_ERROR, None),
    "half of a message": ('{"jsonrpc":"2.0","id":7,', PARSE_ERROR, None),
    "a list": ("[1, 2]", INVALID_REQUEST, None),
    "a number": ("3", INVALID_REQUEST, None),
    "no method": ('{"jsonrpc":"2.0","id":7}', INVALID_REQUEST, None),
    "another protocol": ('{"jsonrpc":"1.0","id":7,"method":"ping"}', INVALID_REQUEST, 7),
    "deep": ("[" * 5_000, PARSE_ERROR, None),
    "a surrogate in an argument": (CALL % ("7", '{"cursor":"\\ud800"}'), INVALID_REQUEST, 7),
    "a surrogate in a name": (CALL % ('"seven"', '{"\\udfff":1}'), INVALID_REQUEST, "seven"),
    "a surrogate in an id": (CALL % ('"\\ud800"', "{}"), INVALID_REQUEST, None),
    "a surrogate in a response": (
        '{"jsonrpc":"2.0","id":7,"result":"\\udc00"}',
        INVALID_REQUEST,
        None,
    ),
    "two surrogates in the wrong order": (
        CALL % ("7", '{"cursor":"\\ude00\\ud83d"}'),
        INVALID_REQUEST,
        7,
    ),
}


def test_a_line_that_is_not_a_message_is_answered_with_an_error(place: Place) -> None:
    with wire(place) as server:
        for kind, (line, code, id) in BAD_LINES.items():
            server.write(line)
            first = server.receive()
            assert (kind, first["id"], first["error"]["code"]) == (kind, id, code)
            assert first["error"]["message"]
            listed = server.ask("tools/call", name="list_runs", arguments={})
            assert listed["result"]["structuredContent"]["items"] == []


def test_lines_that_are_not_messages_do_not_disturb_the_requests_between_them(place: Place) -> None:
    with wire(place) as server:
        numbers = []
        for line, _, _ in BAD_LINES.values():
            numbers.append(server.send("tools/call", name="list_runs", arguments={}))
            server.write(line)
            server.write("")
            server.write("  \t")
        answers = [server.receive() for _ in range(2 * len(BAD_LINES))]
    assert sorted(a["id"] for a in answers if "result" in a) == numbers
    assert sum("error" in a for a in answers) == len(BAD_LINES)


def test_bytes_that_are_not_utf_8_are_read_as_replaced_characters(place: Place) -> None:
    with wire(place) as server:
        number = server.send("tools/call", name="get_run", arguments={"run_id": "x\udc80\udcff"})
        answer = server.receive()
    assert answer["id"] == number
    assert "x" in answer["result"]["content"][0]["text"]


def test_a_pair_of_surrogates_is_a_character(place: Place) -> None:
    with wire(place) as server:
        arguments = {"kit": "tiny", "goal": "plain \U0001f600", "wait_s": 45}
        started = server.ask("tools/call", name="start_run", arguments=arguments)
    assert started["result"]["structuredContent"]["goal"] == "plain \U0001f600"


@pytest.mark.parametrize("mode", MODES)
def test_text_of_a_ledger_that_is_not_text_does_not_end_the_server(place: Place, mode: Any) -> None:
    async def first(client: Client) -> None:
        started = await calling(client)("start_run", kit="tiny", goal="plain", wait_s=45)
        ids.append(started["run_id"])

    async def second(client: Client) -> None:
        run = {"run_id": ids[0]}
        for tool, arguments in {
            "get_run": run,
            "list_runs": {},
            "query_world": run,
            "explain_trace": {**run, "event_id": "goal", "with_data": True},
            "resume_run": {**run, "wait_s": 45},
        }.items():
            assert "damaged" in str(await client.call_tool(tool, arguments))
        assert "tiny" in str(await calling(client)("list_kits"))

    ids: list[str] = []
    place.within(first)
    spoil(place, '"plain"', '"p\\ud800lain"')
    place.drive(second, mode=mode)


def spoil(place: Place, old: str, new: str) -> None:
    """Put a text into each event of the store, as no version of Kando writes it."""
    program = """
import sqlite3, sys
path, old, new = sys.argv[1:]
with sqlite3.connect(path) as file:
    names = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in names:
        for column in [row[1] for row in file.execute(f"PRAGMA table_info({name})")]:
            file.execute(
                f"UPDATE {name} SET {column} = CAST(replace(CAST({column} AS TEXT), ?, ?) AS BLOB)"
                f" WHERE typeof({column}) = 'blob' AND instr(CAST({column} AS TEXT), ?)",
                (old, new, old),
            )
"""
    command = [sys.executable, "-c", program, str(place.root / "store.sqlite"), old, new]
    subprocess.run(command, check=True)


def test_an_error_about_a_name_that_is_not_text_does_not_end_the_server(place: Place) -> None:
    # The name of a file need not be UTF-8. This one lies in a file, so that it cannot be created.
    place.gate.touch()
    ledger = f"sqlite:{place.gate}/" + os.fsdecode(b"\xff/store.sqlite")

    async def story(client: Client) -> None:
        for _ in range(2):
            assert "\ufffd" in await refusal(client, "start_run", kit="tiny", goal="plain")

    place.drive(story, KANDO_LEDGER=ledger)
