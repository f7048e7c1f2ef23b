"""Two thousand calls with valid and invalid arguments generated from the tools' schemas."""

import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mcp_host import Place
from mcp_wire import Wire, wire

CALLS = 2_000
AT_ONCE = 20

# On an idle machine.
SECONDS = 5.0

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)

KNOWN = {
    "kit": ["tiny", "kits/tiny", "../tiny"],
    "goal": ["plain", "ask why", "fail", "many"],
    "llm": ["free", "costly", "free:x", "scripted:/dev/stdin"],
    "type": ["Goal", "Step", "part_of"],
    "event_id": ["goal", "step", "object.created-1", "kit.loaded-0"],
    "cursor": ["0-0", "3-1", "999999-999999", "-1-0"],
}


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that match a schema, for the part of JSON Schema that the tools use."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([values(each) for each in schema["anyOf"]])
    if "type" not in schema:
        return st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.just({}))
    kind = schema["type"]
    if kind == "integer":
        return st.integers(schema.get("minimum"), schema.get("maximum"))
    if kind == "number":
        return st.floats(
            schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False
        )
    if kind == "array":
        return st.lists(values(schema["items"]), max_size=3)
    if kind == "object":
        inner = schema.get("additionalProperties", True)
        return st.dictionaries(
            st.text(max_size=10), anything if inner is True else values(inner), max_size=3
        )
    return {"string": st.text(max_size=40), "boolean": st.booleans(), "null": st.none()}[kind]


def arguments_of(tool: dict[str, Any], runs: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return arguments that match the tool's schema, or nearly match it."""
    properties, required = (
        tool["inputSchema"]["properties"],
        tool["inputSchema"].get("required", []),
    )
    ids = [*runs, "demo", "@last", "@last~1", f"{runs[0]}@2", f"{runs[0][:5]}", "nope", "../x"]

    def value(name: str) -> st.SearchStrategy[Any]:
        known = ids if name.startswith("run_") else KNOWN.get(name)
        right = values(properties[name])
        often = right if known is None else st.one_of(st.sampled_from(known), right)
        return st.one_of(often, often, often, anything)

    always = {name: value(name) for name in required}
    sometimes = {name: value(name) for name in properties if name not in required}
    exact = st.fixed_dictionaries(always, optional=sometimes)
    return exact | exact | exact | st.dictionaries(st.text(max_size=10), anything, max_size=3)


def files_in(place: Place) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in place.root.rglob("*")
        if path.is_file() and not path.name.startswith("store.sqlite")
    }


def check_calls(server: Wire, calls: list[tuple[str, dict[str, Any]]]) -> None:
    """Make calls concurrently and check the results."""
    numbers = {server.send("tools/call", name=name, arguments=given) for name, given in calls}
    share = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    while numbers:
        message = server.receive(SECONDS * share)
        numbers.discard(message.get("id"))
        text = str(message.get("result", message.get("error")))
        assert "Traceback" not in text
        if message.get("result", {}).get("isError"):
            text = message["result"]["content"][0]["text"]
            # A crash has no message after the name of its tool.
            assert text.partition(": ")[2], text
            assert len(text) < 10_000
        elif "result" in message:
            assert message["result"]["structuredContent"]["summary"]
            assert len(message["result"]["content"][0]["text"]) <= 20_000
        else:
            assert message["error"]["code"] in (-32602, -32600), message


def test_no_arguments_crash_or_hang_the_server_or_make_it_write_outside_the_store(
    place: Place, tmp_path: Path
) -> None:
    place.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(place.root / "tmp")}
    (place.root / "tmp").mkdir()
    place.open_gate()
    complaints = tmp_path / "stderr"
    with complaints.open("w") as stderr, wire(place, stderr=stderr) as server:
        before = files_in(place)
        tools = server.ask("tools/list")["result"]["tools"]
        made = [
            server.ask("tools/call", name="start_run", arguments={"kit": "tiny", "goal": goal})
            for goal in ("plain", "ask why")
        ]
        runs = [each["result"]["structuredContent"]["run_id"] for each in made]
        a_call = st.one_of(
            [st.tuples(st.just(tool["name"]), arguments_of(tool, runs)) for tool in tools]
        )
        sent: list[int] = []

        @settings(
            max_examples=CALLS // AT_ONCE,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(a_call, min_size=AT_ONCE, max_size=AT_ONCE))
        def calls(each: list[tuple[str, dict[str, Any]]]) -> None:
            check_calls(server, each)
            sent.append(len(each))

        calls()
        assert sum(sent) >= CALLS
        for run in server.ask("tools/call", name="list_runs", arguments={"limit": 500})["result"][
            "structuredContent"
        ]["items"]:
            waited = {"run_id": run["run_id"], "wait_s": 45}
            server.ask("tools/call", name="get_run", arguments=waited)
    assert files_in(place) == before
    assert "Traceback" not in complaints.read_text()
