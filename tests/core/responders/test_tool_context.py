"""The context of a tool call, and async tools and providers."""

import asyncio
import threading
from typing import Any

import pytest

from kando.emit import ask, call_tool
from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.responders.llm_executor import LLMExecutorResponder, provider_executor
from kando.responders.tool_context import ToolContext
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, TOOL_RETURNED, KandoEvent

SECONDS = 30


def answers(kit: Kit, *calls: KandoEvent, **options: Any) -> list[dict[str, Any]]:
    """Run the calls through a runtime and return their answers."""
    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(ledger, kit.create(), edge_logic=(), **options)
    world = runtime.run(list(calls))
    assert runtime.replay(strict=True) == world
    return [e.data for e in ledger.read_all() if e.type == TOOL_RETURNED]


def test_a_tool_learns_from_its_context_which_call_of_which_run_it_is() -> None:
    kit = Kit("shop")
    seen: list[ToolContext] = []

    @kit.tool("pay")
    def pay(amount: int, context: ToolContext, idempotency_key: str) -> str:
        seen.append(context)
        assert context.idempotency_key == idempotency_key
        return "paid"

    called = call_tool("pay", {"amount": 3})
    called.data["cause_object_id"] = "order-1"
    answers(kit, called)

    (context,) = seen
    assert (context.run, context.branch, context.about) == ("r1", None, "order-1")
    assert context.call_id == "tool.called-0"
    assert context.idempotency_key == "run:r1/tool.called-0"
    assert list(kit.tool_schemas()[0]["parameters"]["properties"]) == ["amount"]


def test_a_call_that_a_branch_makes_is_named_after_the_branch() -> None:
    kit = Kit("shop")
    seen: list[ToolContext] = []

    @kit.tool("look", effect="read")
    def look(ctx: ToolContext) -> str:
        seen.append(ctx)
        return "here"

    substrate = MemorySubstrate()
    parent = substrate.create("r1")
    parent.append([call_tool("look", {})])
    branch = substrate.fork("r1", 1, "b1")

    Runtime(branch, kit.create(), edge_logic=()).run([])

    assert [(each.run, each.branch) for each in seen] == [("b1", "b1")]


@pytest.mark.parametrize("is_inline", [False, True])
def test_an_untyped_parameter_named_ctx_is_the_context(is_inline: bool) -> None:
    kit = Kit("shop")
    if is_inline:
        kit.tool("where")(lambda ctx, world: ctx.run)
    else:
        kit.tool("where")(lambda ctx: ctx.run)

    assert answers(kit, call_tool("where", {})) == [{"result": "r1"}]


def test_a_parameter_named_ctx_of_another_type_is_an_argument() -> None:
    kit = Kit("shop")

    @kit.tool("draw")
    def draw(ctx: str) -> str:
        return f"on {ctx}"

    assert answers(kit, call_tool("draw", {"ctx": "canvas"})) == [{"result": "on canvas"}]


def test_a_tool_that_takes_its_context_twice_is_refused() -> None:
    def twice(one: ToolContext, two: ToolContext) -> None:
        """Take it twice."""

    with pytest.raises(ConfigurationError, match="one and two"):
        Kit("shop").tool("twice")(twice)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SHOP_LOGIN", "correct horse")
    return "correct horse"


def test_a_secret_that_a_tool_asks_for_is_not_recorded(secret: str) -> None:
    kit = Kit("shop")

    @kit.tool("log_in")
    def log_in(ctx: ToolContext, fail: bool = False) -> dict[str, Any]:
        login = ctx.secret("SHOP_LOGIN")
        assert login == secret
        if fail:
            msg = f"401 for {login}"
            raise ValueError(msg)
        return {"sent": [f"login={login}"], login: True}

    got = answers(kit, call_tool("log_in", {}), call_tool("log_in", {"fail": True}))

    assert got[0] == {"result": {"sent": ["login=[SHOP_LOGIN]"], "[SHOP_LOGIN]": True}}
    assert got[1] == {"error": {"type": "ValueError", "message": "401 for [SHOP_LOGIN]"}}


def test_a_secret_that_is_not_set_is_an_error_that_names_it() -> None:
    kit = Kit("shop")
    kit.tool("log_in")(lambda ctx: ctx.secret("SHOP_LOGIN"))

    error = answers(kit, call_tool("log_in", {}))[0]["error"]

    assert error["type"] == "ConfigurationError"
    assert "SHOP_LOGIN" in error["message"]


def test_async_tools_run_side_by_side_on_one_event_loop() -> None:
    kit = Kit("shop")
    loops: set[int] = set()
    arrived: list[str] = []

    @kit.tool("meet")
    async def meet(name: str, ctx: ToolContext) -> str:
        loops.add(id(asyncio.get_running_loop()))
        arrived.append(name)
        while len(arrived) < 3:
            await asyncio.sleep(0)
        return f"{name} in {ctx.run}"

    got = answers(kit, *(call_tool("meet", {"name": name}) for name in "abc"))

    assert got == [{"result": f"{name} in r1"} for name in "abc"]
    assert len(loops) == 1


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no"), TimeoutError("no")])
def test_an_async_tool_that_raises_is_answered_with_an_error(error: BaseException) -> None:
    kit = Kit("shop")

    @kit.tool("fail")
    async def fail() -> None:
        raise error

    @kit.tool("work")
    async def work() -> int:
        return 1

    got = answers(kit, call_tool("fail", {}), call_tool("work", {}))

    assert got[0]["error"] == {"type": type(error).__name__, "message": "no"}
    assert got[1] == {"result": 1}


def test_an_async_tool_over_its_time_limit_is_cancelled() -> None:
    ended = threading.Event()
    kit = Kit("shop")

    @kit.tool("stall", timeout=0.05)
    async def stall() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    assert answers(kit, call_tool("stall", {}))[0]["error"]["type"] == "Timeout"
    assert ended.wait(SECONDS)


def test_an_async_provider_answers_requests() -> None:
    async def complete(request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"text": "yes", "model": "m", "cost_usd": 0.0}

    async def llm_fn(messages: list[dict[str, Any]], model: str, max_tokens: int) -> Any:
        return "no", 0.0

    for executor, text in (
        (provider_executor(complete), "yes"),
        (LLMExecutorResponder(llm_fn), "no"),
    ):
        ledger = MemoryLedgerStore("r1")
        runtime = Runtime(ledger, [executor], edge_logic=())
        runtime.run([ask("?")])
        (answer,) = [e.data for e in ledger.read_all() if e.type == LLM_RESPONSE]
        assert answer["text"] == text
        runtime.replay(strict=True)


def test_a_tool_can_ask_whether_its_call_is_cancelled() -> None:
    kit = Kit("shop")
    ended = threading.Event()

    @kit.tool("step", timeout=0.05)
    def step(ctx: ToolContext) -> None:
        while not ctx.is_cancelled:
            threading.Event().wait(0.001)
        ended.set()

    assert answers(kit, call_tool("step", {}))[0]["error"]["type"] == "Timeout"
    assert ended.wait(SECONDS)
