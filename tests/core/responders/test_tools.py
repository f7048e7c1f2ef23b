"""Tools: a schema from the signature, checked arguments, and an answer for every failure."""

import threading
from typing import Any, Literal

import attrs
import pytest

from kando.emit import call_tool
from kando.errors import ConfigurationError, NotFoundError
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.runtime import Runtime
from kando.schema.events import TOOL_RETURNED, KandoEvent


@attrs.frozen
class Place:
    """Where to look."""

    city: str
    zip: str | None = None


def search(
    query: str, limit: int = 10, kind: Literal["news", "all"] = "all", near: Place | None = None
) -> list[str]:
    """Search the archive
    for articles.

    Args:
        query: words that
            occur in them.
        limit: how many.
    """
    return [f"{query} {limit} {kind} {near.city if near else '-'}"]


@pytest.fixture
def kit() -> Kit:
    made = Kit("shop")
    made.tool("search")(search)
    return made


def answers(kit: Kit, *calls: KandoEvent, **options: Any) -> list[dict[str, Any]]:
    """Run the calls through a runtime and return their answers."""
    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(ledger, kit.create(), edge_logic=(), **options)
    world = runtime.run(list(calls))
    assert runtime.replay(strict=True) == world
    return [e.data for e in ledger.read_all() if e.type == TOOL_RETURNED]


def answer(kit: Kit, **arguments: Any) -> dict[str, Any]:
    (name,) = kit.tools
    return answers(kit, call_tool(name, arguments))[0]


def test_the_schema_of_a_tool_is_derived_from_its_signature_and_docstring(kit: Kit) -> None:
    (schema,) = kit.tool_schemas()

    assert schema["name"] == "search"
    assert schema["description"] == "Search the archive for articles."
    parameters = schema["parameters"]
    assert parameters["required"] == ["query"]
    assert parameters["additionalProperties"] is False
    assert parameters["properties"]["query"] == {
        "type": "string",
        "description": "words that occur in them.",
    }
    assert parameters["properties"]["kind"] == {"type": "string", "enum": ["news", "all"]}
    assert parameters["properties"]["near"]["anyOf"][0]["required"] == ["city"]
    with pytest.raises(NotFoundError, match="It has: search"):
        kit.tool_schemas(["serch"])


def test_arguments_reach_the_tool_as_instances_of_its_types(kit: Kit) -> None:
    assert answer(kit, query="x", near={"city": "Rome"}) == {"result": ["x 10 all Rome"]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "required field 'query' is missing"),
        ({"query": 1}, "expected str, not int 1"),
        ({"query": "x", "limit": "3"}, "expected int, not str '3'"),
        ({"query": "x", "limit": True}, "expected int, not bool True"),
        ({"query": "x", "colour": 1}, "unknown field 'colour'"),
        ({"query": "x", "kind": "none"}, "kind"),
        ({"query": "x", "near": {"zip": "1"}}, "required field 'city' is missing"),
        ({"query": "x", "idempotency_key": "mine"}, "unknown field 'idempotency_key'"),
    ],
)
def test_invalid_arguments_are_answered_with_an_error_without_a_call(
    kit: Kit, arguments: dict[str, Any], says: str
) -> None:
    error = answer(kit, **arguments)["error"]

    assert error["type"] == "InvalidArguments"
    assert says in error["message"]


@pytest.mark.parametrize("data", [{}, {"tool": 3}, {"tool": "search", "arguments": "query"}])
def test_a_malformed_call_is_answered_with_an_error(kit: Kit, data: dict[str, Any]) -> None:
    call = attrs.evolve(call_tool("search", {}), data=data)

    assert answers(kit, call)[0]["error"]["type"] in ("UnknownTool", "InvalidArguments")


def returning(result: Any, **limits: Any) -> Kit:
    kit = Kit("shop")
    kit.tool("give", **limits)(lambda: result)
    return kit


@pytest.mark.parametrize(
    ("returned", "recorded"),
    [
        ("a\ud800b", "a\ufffdb"),
        (b"caf\xe9", "caf\ufffd"),
        ({"\udc80": ("x", None)}, {"\ufffd": ["x", None]}),
        ([Place("Rome")], [{"city": "Rome", "zip": None}]),
        ("\x1b[31m</script>", "\x1b[31m</script>"),
    ],
)
def test_a_tool_result_is_recorded_as_json_in_valid_unicode(returned: Any, recorded: Any) -> None:
    assert answer(returning(returned)) == {"result": recorded}


@pytest.mark.parametrize("returned", [float("nan"), object(), {1: 2}, {"a": {1, 2}}])
def test_a_result_that_is_not_json_is_answered_with_an_error(returned: Any) -> None:
    assert answer(returning(returned))["error"]["type"] == "InvalidResult"


def test_a_recursive_result_is_answered_with_an_error() -> None:
    endless: list[Any] = []
    endless.append(endless)

    assert answer(returning(endless))["error"]["type"] == "InvalidResult"


def test_a_result_over_the_limit_is_answered_with_an_error_that_names_both_sizes() -> None:
    error = answer(returning("x" * 5_000_000))["error"]

    assert error["type"] == "ResultTooLarge"
    assert "5,000,002 bytes" in error["message"]
    assert "262,144" in error["message"]
    assert answer(returning("x" * 300_000, max_result_bytes=400_000)) == {"result": "x" * 300_000}


@pytest.mark.parametrize("error", [ValueError("no sk-very-secret"), SystemExit("sk-very-secret")])
def test_a_tool_that_raises_is_answered_with_an_error_without_secrets(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_API_KEY", "sk-very-secret")
    kit = Kit("shop")

    @kit.tool("fail")
    def fail() -> None:
        raise error

    error_data = answer(kit)["error"]
    assert error_data["type"] == type(error).__name__
    assert "[ACME_API_KEY]" in error_data["message"]


def test_a_call_that_times_out_is_answered_with_an_error_and_blocks_no_other_call() -> None:
    release = threading.Event()
    kit = Kit("shop")

    @kit.tool("stall", timeout=0.05)
    def stall(n: int) -> int:
        if n < 2:
            release.wait()
        return n

    # One call at a time: those that hang must not keep the third from its turn.
    got = answers(kit, *(call_tool("stall", {"n": n}) for n in range(3)), max_parallel_calls=1)
    release.set()

    assert got[0]["error"] == {"type": "Timeout", "message": "stall took longer than 0.05 s."}
    assert got[1]["error"]["type"] == "Timeout"
    assert got[2] == {"result": 2}


def test_a_tool_is_called_in_parallel_up_to_its_limit_and_answered_in_order() -> None:
    lock, flying, seen = threading.Lock(), {"few": 0, "many": 0}, {"few": 0, "many": 0}
    everyone = threading.Barrier(3)
    kit = Kit("shop")

    def called(name: str, n: int) -> int:
        with lock:
            flying[name] += 1
            seen[name] = max(seen[name], flying[name])
        if name == "many":
            everyone.wait(30)
        with lock:
            flying[name] -= 1
        return n

    kit.tool("few", max_parallel=1)(lambda n: called("few", n))
    kit.tool("many")(lambda n: called("many", n))

    calls = [call_tool(name, {"n": n}) for n in range(3) for name in ("few", "many")]
    got = answers(kit, *calls)

    assert [each["result"] for each in got] == [0, 0, 1, 1, 2, 2]
    assert seen == {"few": 1, "many": 3}


def test_a_repeated_call_has_the_same_idempotency_key() -> None:
    keys: list[str] = []
    kit = Kit("shop")

    @kit.tool("pay")
    def pay(amount: int, idempotency_key: str) -> str:
        keys.append(idempotency_key)
        if len(keys) == 1:
            raise KeyboardInterrupt
        return "paid"

    ledger = MemoryLedgerStore("r1")
    with pytest.raises(KeyboardInterrupt):
        Runtime(ledger, kit.create()).run([call_tool("pay", {"amount": 3})])
    Runtime(ledger, kit.create()).run([])

    assert keys == ["run:r1/tool.called-0"] * 2
    assert "idempotency_key" not in kit.tool_schemas()[0]["parameters"]["properties"]


@pytest.mark.parametrize(
    ("fn", "limits", "says"),
    [
        (lambda *args: None, {}, "by name"),
        (lambda **more: None, {}, "by name"),
        (lambda: None, {"timeout": 0}, "timeout"),
        (lambda: None, {"max_parallel": 0}, "max_parallel"),
        (lambda: None, {"max_result_bytes": 10**9}, "max_result_bytes"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_when_it_is_declared(
    fn: Any, limits: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Kit("shop").tool("t", **limits)(fn)
