"""Compaction: a conversation that becomes too long continues with a summary, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando import Compaction, Kit, Run, Store, open_store
from kando.app.providers import Provider
from kando.errors import ConfigurationError, ContextOverflow, InvalidData
from kando.responders.llm_executor import provider_executor
from kando.schema.events import CONVERSATION_COMPACTED, HUMAN_MESSAGE, LLM_REQUEST
from kando.world.graph import World

HEAD = "[Summary of the earlier part of this conversation]"
WORDS = "word " * 80


@attrs.define
class Model:
    """A model that reads so many characters at most, and summarizes by counting what it is sent."""

    limit: int = 10**9
    usage: bool = False
    summary: dict[str, Any] | None = None
    window: Any = None
    asked: list[dict[str, Any]] = attrs.field(factory=list)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        messages = request["messages"]
        size = sum(len(str(each["content"])) for each in messages)
        if size > self.limit:
            raise ContextOverflow("The prompt is too long.")
        usage = {"usage": {"input_tokens": size // 4, "output_tokens": 1}} if self.usage else {}
        window = {"window": self.window} if self.window is not None else {}
        return {"model": "m", "cost_usd": 0.25, **usage, **window, **self._said(messages)}

    def _said(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        last = str(messages[-1]["content"])
        if last.startswith("Summarize"):
            return self.summary or {"text": f"{len(messages) - 1} messages"}
        if last.startswith("look"):
            calls = [{"id": "1", "name": "look", "arguments": {"n": int(last.split()[1])}}]
            return {"text": "", "tool_calls": calls, "stop": "tool"}
        if messages[-1]["role"] == "tool" and last.startswith("more"):
            calls = [{"id": last[:8], "name": "look", "arguments": {"n": int(last.split()[1]) - 1}}]
            return {"text": "", "tool_calls": calls, "stop": "tool"}
        return {"text": f"re {last[:20]}"}

    @property
    def provider(self) -> Provider:
        return Provider("scripted", "", provider_executor(self))

    @property
    def summaries(self) -> list[dict[str, Any]]:
        """The requests for a summary."""
        return [each for each in self.asked if each["conversation"].get("compacts")]


def new_kit(**options: Any) -> Kit:
    kit = Kit("helper")

    @kit.tool("look", effect="read")
    def look(n: int) -> str:
        """Look."""
        return f"{'more' if n else 'done'} {n} {WORDS}"

    kit.conversation(**({"system": "Be brief."} | options))
    return kit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:{tmp_path}/r.sqlite", environ={"KANDO_PLUGINS": ""}) as store:
        yield store


def talk(store: Store, kit: Kit, model: Model, *texts: str) -> Run:
    run = store.start(kit, texts[0], llm=model.provider)
    for text in texts[1:]:
        run.say(text)
        run.resume(llm=model.provider, kit=kit)
    return run


def compactions(run: Run) -> list[dict[str, Any]]:
    return [event.data for event in run.events() if event.type == CONVERSATION_COMPACTED]


def conversation(run: Run) -> dict[str, Any]:
    (found,) = run.world().objects_of("Conversation")
    return found.data


def has_whole_calls(messages: list[dict[str, Any]]) -> bool:
    """Whether each call of a tool is followed by its result, and no result lacks its call."""
    wanted: list[str] = []
    for each in messages:
        if each["role"] == "tool":
            if each["tool_call_id"] not in wanted:
                return False
            wanted.remove(each["tool_call_id"])
        elif wanted:
            return False
        else:
            wanted = [call["id"] for call in each.get("tool_calls", ())]
    return not wanted


@pytest.mark.parametrize("usage", [True, False], ids=["reported", "estimated"])
def test_older_messages_are_replaced_by_a_summary_before_the_limit_is_exceeded(
    store: Store, usage: bool
) -> None:
    model, kit = Model(usage=usage), new_kit(window=800)
    run = talk(store, kit, model, *(f"{n} {WORDS}" for n in range(12)))

    for request in model.asked:
        assert sum(len(each["content"]) for each in request["messages"]) < 800 * 4
    first, *_ = compactions(run)
    assert first["why"] == "limit"
    assert first["replaced"][:2] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"0 {WORDS}"},
    ]
    system, summary = first["by"]
    assert system["content"] == "Be brief."
    assert summary == {"role": "user", "content": f"{HEAD}\n\n{len(first['replaced'])} messages"}
    assert first["tokens_after"] < first["tokens_before"]
    assert conversation(run)["messages"][-2]["content"] == f"11 {WORDS}"
    assert run.world().objects["chat"].data["text"].startswith("re 11")


def test_a_summary_is_an_ordinary_request_that_is_charged_and_replayed(store: Store) -> None:
    model, kit = Model(), new_kit(window=800)
    run = talk(store, kit, model, *(f"{n} {WORDS}" for n in range(8)))

    assert model.summaries
    assert sum(event.type == LLM_REQUEST for event in run.events()) == len(model.asked)
    assert run.status().llm_cost_usd == 0.25 * len(model.asked)
    assert run.replay(strict=True, kit=kit).is_strict


def test_nothing_is_lost_by_a_compaction(store: Store) -> None:
    model, kit = Model(), new_kit(window=800)
    run = talk(store, kit, model, *(f"{n} {WORDS}" for n in range(8)))
    event, *later = [each for each in run.events() if each.type == CONVERSATION_COMPACTED]

    before = run.fork(before=event.id, kit=kit)
    (found,) = before.world().objects_of("Conversation")
    assert found.data["messages"][: len(event.data["replaced"])] == event.data["replaced"]
    (first, *_, last) = [each.id for each in run.events() if each.type == HUMAN_MESSAGE]
    causes = {each.id for each in run.trace(last, down=True).events()}
    asked = [each for each in causes if each.startswith(LLM_REQUEST)]
    assert asked
    for request in asked:
        reached = {each.id for each in run.trace(request).events()}
        assert {first, event.id, *(each.id for each in later)} <= reached


def test_a_long_loop_of_tools_is_compacted_inside_without_separating_calls_and_results(
    store: Store,
) -> None:
    model, kit = Model(), new_kit(window=800)
    run = talk(store, kit, model, "hello", "look 20")

    assert len(compactions(run)) >= 2
    assert all(has_whole_calls(each["messages"]) for each in model.asked)
    assert conversation(run)["status"] == "done"
    # The words that the model still works on are always among the messages.
    for request in model.asked[3:]:
        if request not in model.summaries:
            assert "look 20" in [each["content"] for each in request["messages"]]


def test_a_request_that_the_server_rejects_as_too_long_is_sent_again_after_a_compaction(
    store: Store,
) -> None:
    model, kit = Model(limit=3000), new_kit()
    run = talk(store, kit, model, *(f"{n} {WORDS}" for n in range(10)))

    assert {each["why"] for each in compactions(run)} == {"overflow"}
    assert conversation(run)["status"] == "done"
    assert run.world().objects["chat"].data["text"].startswith("re 9")


def test_a_turn_that_is_too_long_even_then_fails_and_the_conversation_continues(
    store: Store,
) -> None:
    model, kit = Model(limit=2000), new_kit()
    run = talk(store, kit, model, "0", "1 " + WORDS * 10)
    assert conversation(run)["status"] == "failed"
    assert conversation(run)["error"]["code"] == "context_overflow"

    model.limit = 10**9
    run.say("2")
    run.resume(llm=model.provider, kit=kit)
    assert conversation(run)["status"] == "done"


@pytest.mark.parametrize(
    "summary",
    [
        {"error": {"type": "Refused", "message": "no"}},
        {"text": " "},
        {"text": "", "tool_calls": [{"id": "1", "name": "look", "arguments": {"n": 0}}]},
    ],
    ids=["an error", "no text", "calls of tools"],
)
def test_without_a_summary_the_whole_conversation_is_sent(
    store: Store, summary: dict[str, Any]
) -> None:
    model, kit = Model(summary=summary), new_kit(window=800)
    run = talk(store, kit, model, *(f"{n} {WORDS}" for n in range(9)))

    assert model.summaries
    assert compactions(run) == []
    assert conversation(run)["status"] == "done"
    assert conversation(run)["messages"][1]["content"] == f"0 {WORDS}"


def test_a_kit_may_compact_by_its_own_rule(store: Store) -> None:
    kit = new_kit(window=800)

    @kit.conversations["chat"].compact
    def last_two(messages: list[dict[str, Any]], world: World) -> list[dict[str, Any]]:
        return [messages[0], *messages[-1:]]

    model = Model()
    run = talk(store, kit, model, *(f"{n} {WORDS}" for n in range(8)))

    assert model.summaries == []
    assert compactions(run)[0]["by"] == [{"role": "system", "content": "Be brief."}]
    assert [len(each["messages"]) for each in model.asked][-1] < 8
    assert run.replay(strict=True, kit=kit).is_strict


@pytest.mark.parametrize("made", [None, [], ["text"], [{"role": "tool", "tool_call_id": "x"}]])
def test_a_rule_that_returns_no_messages_or_separates_calls_is_an_error(
    store: Store, made: Any
) -> None:
    kit = new_kit(window=800)
    kit.conversations["chat"].compact(lambda messages, world: made)

    with pytest.raises(InvalidData, match=r"compaction of helper\.chat"):
        talk(store, kit, Model(), *(f"{n} {WORDS}" for n in range(8)))


def test_compaction_can_be_turned_off(store: Store) -> None:
    model, kit = Model(), new_kit(compaction=False)
    run = talk(store, kit, model, *(f"{n} {WORDS}" for n in range(8)))

    assert compactions(run) == []
    assert len(conversation(run)["messages"]) == 17


def test_a_turn_that_comes_while_the_summary_is_written_enters_after_it(store: Store) -> None:
    model, kit = Model(), new_kit(window=800)
    said: list[str] = []

    def meanwhile(request: dict[str, Any]) -> dict[str, Any]:
        if request["conversation"].get("compacts") and not said:
            said.append("meanwhile")
            run.say("meanwhile")
        return model(request)

    llm = Provider("scripted", "", provider_executor(meanwhile))
    run = store.start(kit, "0", work=False)
    for n in range(8):
        run.resume(llm=llm, kit=kit)
        run.say(f"{n} {WORDS}")
    run.resume(llm=llm, kit=kit)

    asked = [each["messages"] for each in model.asked]
    after = next(n for n, each in enumerate(asked) if each[-1]["content"] == "meanwhile")
    assert asked[after][1]["content"].startswith(HEAD)
    assert asked[after - 1][-1]["content"].startswith("Summarize")


def test_a_conversation_is_compacted_by_the_window_that_the_provider_names(store: Store) -> None:
    model, kit = Model(window=800), new_kit()
    run = talk(store, kit, model, *(f"{n} {WORDS}" for n in range(12)))

    assert compactions(run)
    for request in model.asked:
        assert sum(len(each["content"]) for each in request["messages"]) < 800 * 4
    assert conversation(run)["window"] == 800
    assert run.replay(kit=kit, strict=True)


def test_the_window_follows_the_model_also_in_a_loop_of_tools(store: Store) -> None:
    model, kit = Model(window=100_000), new_kit()
    run = talk(store, kit, model, "0 hello")
    assert (conversation(run)["window"], compactions(run)) == (100_000, [])
    model.window = 800
    run.say("look 14")
    run.resume(llm=model.provider, kit=kit)

    assert compactions(run)
    assert conversation(run)["window"] == 800
    assert all(has_whole_calls(each["messages"]) for each in model.asked)


@pytest.mark.parametrize("by_author", [{"window": 9_000}, {"compaction": Compaction(window=9_000)}])
def test_a_window_that_the_author_sets_wins(store: Store, by_author: dict[str, Any]) -> None:
    model = Model(window=800)
    run = talk(store, new_kit(**by_author), model, *(f"{n} {WORDS}" for n in range(12)))
    assert compactions(run) == []


@pytest.mark.parametrize("window", [None, 0, -5, True, "800", 10**9])
def test_an_unknown_or_malformed_window_keeps_the_default(store: Store, window: Any) -> None:
    model = Model(window=window)
    run = talk(store, new_kit(), model, *(f"{n} {WORDS}" for n in range(12)))
    assert compactions(run) == []


def test_a_reserve_of_the_author_leaves_room_in_a_small_window(store: Store) -> None:
    model, kit = Model(window=800), new_kit(compaction=Compaction(reserve=10_000, keep=100))
    run = talk(store, kit, model, *(f"{n} {WORDS}" for n in range(12)))
    assert compactions(run)
    assert run.status().state == "finished"


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"window": True},
        {"window": 100, "reserve": 100},
        {"window": 100, "keep": -1},
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Compaction(**wrong)


def test_a_window_and_a_compaction_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="window"):
        Kit("k").conversation(window=5, compaction=Compaction())
