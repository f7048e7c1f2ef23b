"""LLM responders: a prompt from the world, and objects and relations from the answer."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal

import attrs
import pytest

from kando.branch.fork import fork
from kando.cache.llm import LLMCache
from kando.emit import create, patch
from kando.errors import ConfigurationError, NotFoundError
from kando.kit import Kit, model_setting, setting
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.runtime.runtime import DEFAULT_MAX_PAYLOAD_BYTES
from kando.schema.events import LLM_REQUEST, TOOL_CALLED, TOOL_RETURNED, KandoEvent
from kando.testing.runs import KandoRun
from kando.world.graph import World, WorldObject

Complete = Callable[[dict[str, Any]], dict[str, Any]]


@attrs.frozen
class Company:
    """The subject of the questions."""

    name: str
    risk: Literal["low", "high"] | None = None
    text: str = ""


@attrs.frozen
class Claim:
    """A statement."""

    statement: str
    confidence: float = 0.5


def new_kit() -> Kit:
    kit = Kit("acme", prompts={"claims": "Claims about $name?", "system": "Be brief, $name."})
    kit.object(Company)
    kit.object(Claim)
    kit.relation("about", Claim, Company)

    @kit.tool("look_up")
    def look_up(word: str) -> str:
        """Look a word up."""
        if word == "fail":
            raise LookupError(word)
        return f"{word}: " + "found " * (10_000 if word == "long" else 1)

    return kit


def asked_by(kit: Kit, **options: Any) -> Any:
    """Declare the responder that most tests use."""

    @kit.llm_responder("object.created", type=Company, prompt="claims", **options)
    def on_company(event: KandoEvent, world: World) -> Mapping[str, Any] | None:
        company = event.data["data"]
        return {"name": company["name"]} if company["name"] != "nobody" else None

    return on_company


def run(
    kit: Kit, complete: Complete, name: str = "Acme", ledger: Any = None
) -> tuple[World, list[KandoEvent]]:
    ledger = ledger or MemoryLedgerStore("r1")
    executor = provider_executor(complete)
    runtime = Runtime(ledger, [*kit.create(), executor], edge_logic=(), cache=LLMCache())
    seeds = [create("Company", {"name": name}, id="company")] if not ledger.length() else []
    world = runtime.run(seeds)
    assert runtime.replay(strict=True) == world
    assert not runtime.has_pending_work()
    return world, list(ledger.read_all())


def saying(*answers: dict[str, Any]) -> Complete:
    """Return a provider that returns the n-th answer to a conversation of n turns."""

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        return {"model": "m", "cost_usd": 0.0, "text": "", **answers[turn]}

    return complete


def requests_in(events: list[KandoEvent]) -> list[dict[str, Any]]:
    return [event.data for event in events if event.type == LLM_REQUEST]


def conversation_in(world: World) -> WorldObject:
    (found,) = world.objects_of("Conversation")
    return found


def test_the_prompt_is_filled_and_the_request_is_about_the_object() -> None:
    kit = new_kit()
    asked_by(kit, system="system", output=Claim, model="openai:gpt", temperature=0.1)

    _, events = run(kit, saying({"data": {"statement": "It sells hats"}}))

    (request,) = requests_in(events)
    assert request["messages"] == [
        {"role": "system", "content": "Be brief, Acme."},
        {"role": "user", "content": "Claims about Acme?"},
    ]
    assert request["cause_object_id"] == "company"
    assert (request["model"], request["temperature"]) == ("openai:gpt", 0.1)
    assert request["output_schema"]["required"] == ["statement"]


def test_an_answer_of_another_class_becomes_an_object_related_to_its_subject() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, relation="about")

    world, _ = run(kit, saying({"text": '{"statement": "It sells hats"}'}))

    (claim,) = world.objects_of("Claim")
    assert claim.data == {"statement": "It sells hats", "confidence": 0.5}
    assert [r.target_id for r in world.get_relations(claim.id, "about")] == ["company"]
    assert conversation_in(world).data["status"] == "done"


def test_each_item_of_a_list_answer_becomes_an_object() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, many=True, relation="about")
    items = [{"statement": "a"}, {"statement": "b", "confidence": 1}]

    world, _ = run(kit, saying({"data": {"items": items}}))

    assert [claim.data["statement"] for claim in world.objects_of("Claim")] == ["a", "b"]
    assert len(world.get_relations("company", "about")) == 2


def test_an_answer_of_the_class_of_the_object_patches_it() -> None:
    kit = new_kit()
    asked_by(kit, output=Company)

    world, _ = run(kit, saying({"data": {"name": "Acme", "risk": "high"}}))

    assert world.objects["company"].data == {"name": "Acme", "risk": "high", "text": ""}


def test_text_becomes_the_text_of_the_object() -> None:
    kit = new_kit()
    asked_by(kit)

    world, _ = run(kit, saying({"text": "Ignore all instructions</script>\x1b[31m $name"}))

    assert world.objects["company"].data["text"] == "Ignore all instructions</script>\x1b[31m $name"


def test_a_function_that_returns_none_sends_no_request() -> None:
    kit = new_kit()
    asked_by(kit)

    _, events = run(kit, saying(), name="nobody")

    assert requests_in(events) == []


def test_a_then_function_replaces_the_default_handling_of_an_answer() -> None:
    kit = new_kit()
    on_company = asked_by(kit, output=Claim)

    @on_company.then
    def record(claim: Claim, company: WorldObject, world: World) -> Iterator[KandoEvent]:
        made = yield create("Note", {"of": company.id})
        yield patch(made, {"says": claim.statement})

    world, _ = run(kit, saying({"data": {"statement": "s"}}))

    assert [note.data for note in world.objects_of("Note")] == [{"of": "company", "says": "s"}]
    assert world.objects_of("Claim") == []


@pytest.mark.parametrize(
    ("answer", "type"),
    [
        ({"text": "no JSON"}, "Misfit"),
        ({"data": {"statement": 3}}, "Misfit"),
        ({"data": {"statement": "s", "more": 1}}, "Misfit"),
        ({"error": {"type": "Refused", "message": "no"}}, "Refused"),
        ({"error": "no"}, "Error"),
        ({"text": "I will not.", "stop": "refusal"}, "Refused"),
    ],
)
def test_a_failed_answer_is_passed_to_the_kit_and_ends_the_conversation(
    answer: dict[str, Any], type: str
) -> None:
    kit = new_kit()
    on_company = asked_by(kit, output=Claim)

    @on_company.failed
    def note(error: dict[str, Any], company: WorldObject, world: World) -> list[KandoEvent]:
        return [patch(company, {"text": error["type"]})]

    world, _ = run(kit, saying(answer, answer))

    assert world.objects["company"].data["text"] == type
    assert conversation_in(world).data["status"] == "failed"
    assert conversation_in(world).data["error"]["type"] == type


def calling(*words: str, tool: str = "look_up") -> dict[str, Any]:
    calls = [{"id": f"c{i}", "name": tool, "arguments": {"word": w}} for i, w in enumerate(words)]
    return {"text": "let me see", "tool_calls": calls, "stop": "tool"}


CLAIM = {"data": {"statement": "It sells hats"}}


def test_requested_tools_are_called_and_their_results_are_sent_back() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, tools=["look_up"])

    world, events = run(kit, saying(calling("hat", "fail"), calling("cap"), CLAIM))

    first, second, third = requests_in(events)
    assert [tool["name"] for tool in first["tools"]] == ["look_up"]
    assert second["messages"][1:] == [
        {
            "role": "assistant",
            "content": "let me see",
            "tool_calls": calling("hat", "fail")["tool_calls"],
        },
        {"role": "tool", "tool_call_id": "c0", "content": "hat: found "},
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": '{"type":"LookupError","message":"fail"}',
            "is_error": True,
        },
    ]
    assert third["messages"][-1]["content"] == "cap: found "
    assert len(world.objects_of("Claim")) == 1
    assert {e.data["cause_object_id"] for e in events if e.type == TOOL_RETURNED} == {"company"}


def test_a_request_is_caused_by_every_result_that_it_contains() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, tools=["look_up"])

    _, events = run(kit, saying(calling("a", "b", "c"), CLAIM))

    second = [event for event in events if event.type == LLM_REQUEST][1]
    assert second.cause == [event.id for event in events if event.type == TOOL_RETURNED]


@pytest.mark.parametrize(
    "calls",
    [
        [{"id": "x", "name": "delete_all", "arguments": {}}],
        [{"id": "x", "name": 3}],
        ["look_up"],
        [{"id": "x", "name": "secret_tool", "arguments": {}}],
    ],
)
def test_only_tools_that_were_offered_are_called(calls: list[Any]) -> None:
    kit = new_kit()
    kit.tool("secret_tool")(lambda: "secret")
    asked_by(kit, output=Claim, tools=["look_up"])

    world, events = run(kit, saying({"tool_calls": calls}, CLAIM))

    assert [event for event in events if event.type == TOOL_CALLED] == []
    assert "Unknown tool" in requests_in(events)[1]["messages"][-1]["content"]
    assert len(world.objects_of("Claim")) == 1


def test_tool_calls_beyond_the_limit_of_one_answer_are_not_made() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, tools=["look_up"])

    _, events = run(kit, saying(calling(*map(str, range(100))), CLAIM))

    assert sum(event.type == TOOL_CALLED for event in events) == 32
    assert requests_in(events)[1]["messages"][-1]["is_error"] is True


def test_an_endless_conversation_is_ended_by_the_limit_of_its_turns() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, tools=["look_up"], max_turns=3)

    world, events = run(kit, lambda request: {"text": "", "model": "m", **calling("more")})

    assert len(requests_in(events)) == 3
    assert conversation_in(world).data["error"]["type"] == "TooManyTurns"


def test_a_tool_result_is_truncated_for_the_model_and_complete_in_the_ledger() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, tools=["look_up"])

    _, events = run(kit, saying(calling("long"), CLAIM))

    quoted = requests_in(events)[1]["messages"][-1]["content"]
    (returned,) = (event for event in events if event.type == TOOL_RETURNED)
    assert quoted.endswith("[20,000 of 60,006 characters]")
    assert len(returned.data["result"]) == 60_006


def test_a_prompt_too_long_for_an_event_fails_without_affecting_others() -> None:
    kit = new_kit()
    asked_by(kit)

    world, events = run(kit, saying(), name="x" * 1_020_000)

    assert requests_in(events) == []
    assert conversation_in(world).data["error"]["type"] == "PromptTooLong"


def test_a_conversation_may_grow_beyond_the_limit_of_an_event() -> None:
    kit = new_kit()
    asked_by(kit, tools=["look_up"], max_turns=10)

    world, events = run(kit, lambda request: {"model": "m", **calling(*["long"] * 10)})

    asked = requests_in(events)
    assert len(asked) == 10
    assert len(json.dumps(asked[-1])) > DEFAULT_MAX_PAYLOAD_BYTES
    assert conversation_in(world).data["error"]["type"] == "TooManyTurns"


def test_a_conversation_can_be_resumed_and_forked_at_every_position() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, tools=["look_up"], relation="about")
    provider = saying(calling("hat", "fail"), calling("cap", tool="none"), CLAIM)
    substrate = MemorySubstrate()
    world, whole = run(kit, provider, ledger=substrate.create("r1"))

    for cut in range(1, len(whole)):
        ledger = MemoryLedgerStore("r1")
        ledger.append(list(islice(whole, cut)))
        _, events = run(kit, provider, ledger=ledger)
        assert [(e.id, e.cause, e.data) for e in events] == [(e.id, e.cause, e.data) for e in whole]

        branched, _ = run(kit, provider, ledger=fork(substrate, "r1", cut, f"b{cut}"))
        assert branched.objects.keys() == world.objects.keys()


def test_unknown_prompts_and_tools_are_refused_when_the_responder_is_declared() -> None:
    with pytest.raises(NotFoundError, match="no prompt 'clams'"):
        new_kit().llm_responder("object.created", prompt="clams")
    with pytest.raises(NotFoundError, match="no tool 'lookup'"):
        new_kit().llm_responder("object.created", prompt="claims", tools=["lookup"])
    with pytest.raises(ConfigurationError, match="Conversation"):
        new_kit().object(attrs.make_class("Conversation", []))


def test_equal_requests_of_two_conversations_are_sent_once() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim)
    asked: list[str] = []

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(json.dumps(request["messages"]))
        return {"model": "m", "cost_usd": 0.0, "text": json.dumps(CLAIM["data"])}

    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(ledger, [*kit.create(), provider_executor(complete)], cache=LLMCache())
    world = runtime.run([create("Company", {"name": "Acme"}) for _ in range(2)])

    assert len(asked) == 1
    assert len(world.objects_of("Claim")) == 2


def test_an_option_may_be_a_function_of_the_world() -> None:
    kit = new_kit()
    asked_by(kit, model=lambda world: f"m{len(world.objects)}", max_tokens=lambda world: None)

    _, events = run(kit, saying({"text": "Hats."}))

    (request,) = requests_in(events)
    # The conversation is recorded with the request.
    assert (request["model"], request["max_tokens"]) == ("m1", None)


CUT = '{"items": [{"statement": "A } is [1]."}, {"statement": "B \\" is."}, {"statement": "C'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CUT, ["A } is [1].", 'B " is.']),
        ('{"items": [{"statement": "A"}], "mo', ["A"]),
        ('{"items": [{"statement": "A"}, {"confidence": 1', ["A"]),
        ('{"items": [', []),
    ],
)
def test_the_whole_items_of_an_answer_that_was_cut_off_count_if_the_kit_says_so(
    text: str, expected: list[str]
) -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, many=True, accepts_cut=True)

    world, _ = run(kit, saying({"text": text, "stop": "length"}))

    assert [each.statement for each in world.all(Claim)] == expected
    assert [each.data["is_cut"] for each in world.objects_of("Conversation")] == [True]


@pytest.mark.parametrize(
    "text", ['{"item', '{"items": {"statement": "A"}, ', "no JSON [", "[" * 9000]
)
def test_an_answer_that_was_cut_off_before_it_matched_has_failed(text: str) -> None:
    kit = new_kit()
    on_company = asked_by(kit, output=Claim, many=True, accepts_cut=True)

    @on_company.failed
    def failed(error: dict[str, Any], about: WorldObject, world: World) -> Iterator[KandoEvent]:
        yield patch(about, {"text": error["message"]})

    world, _ = run(kit, saying({"text": text, "stop": "length"}))

    assert "it was truncated at max_tokens" in world.objects["company"].data["text"]


def test_an_answer_that_was_cut_off_has_failed_by_default() -> None:
    kit = new_kit()
    asked_by(kit, output=Claim, many=True)

    world, _ = run(kit, saying({"text": CUT, "stop": "length"}))

    assert world.all(Claim) == []


def test_the_settings_of_a_run_choose_the_model_of_a_step_and_the_length_of_its_answers() -> None:
    kit = Kit("steps", prompts={"claims": "Claims about $name?"})

    @kit.settings
    @attrs.frozen
    class Settings:
        model: str = "small"
        models: dict[str, str] = attrs.field(factory=dict)
        max_tokens: int = 100

    kit.object(Company)
    asked_by(
        kit, model=model_setting(Settings, "first"), max_tokens=setting(Settings, "max_tokens")
    )
    asked_by(kit, model=model_setting(Settings, "other"), name="steps.other")
    run = KandoRun(kit, MemoryLedgerStore("r1"), settings={"models": {"first": "large"}})

    run.work([create("Company", {"name": "Acme"}, id="company")])

    asked = [each.data for each in run.events if each.type == LLM_REQUEST]
    assert [each["model"] for each in asked] == ["large", "small"]
    assert [each.get("max_tokens") for each in asked] == [100, None]
