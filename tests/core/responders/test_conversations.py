"""Conversations: each turn continues the ones before, at any time and from any process."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando import Kit, Run, Store, create, open_store
from kando.app.group_worker import GroupWorker
from kando.app.providers import Provider
from kando.errors import ConfigurationError
from kando.responders.llm_executor import provider_executor
from kando.schema.events import HUMAN_MESSAGE, LLM_REQUEST, OBJECT_CREATED, KandoEvent
from kando.world.graph import World

Answer = Callable[[dict[str, Any]], dict[str, Any]]


@attrs.define
class Model:
    """A model whose answers a function gives; it keeps the messages that it was sent."""

    answer: Answer = lambda request: {"text": f"re {request['messages'][-1]['content']}"}
    seen: list[list[dict[str, Any]]] = attrs.field(factory=list)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.seen.append([dict(each) for each in request["messages"]])
        return {"model": "m", "cost_usd": 0.0, **self.answer(request)}

    @property
    def provider(self) -> Provider:
        return Provider("scripted", "", provider_executor(self))

    @property
    def contents(self) -> list[list[str]]:
        """The contents of the messages of each request."""
        return [[each["content"] for each in messages] for messages in self.seen]


def new_kit(on_tool: Callable[[], object] = lambda: None, **options: Any) -> Kit:
    kit = Kit("helper")

    @kit.tool("look", effect="read")
    def look(what: str) -> str:
        """Look at something."""
        on_tool()
        return f"seen {what}"

    kit.conversation(**options)
    return kit


def calling(*what: str) -> dict[str, Any]:
    calls = [{"id": f"c{w}", "name": "look", "arguments": {"what": w}} for w in what]
    return {"text": "", "tool_calls": calls, "stop": "tool"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with opened(path) as store:
        yield store


def opened(path: Path) -> Store:
    return open_store(f"sqlite:{path}", kits=[], environ={"KANDO_PLUGINS": ""})


def say(run: Run, text: str, about: str | None = None) -> None:
    named = {"cause_object_id": about} if about is not None else {}
    run.send(HUMAN_MESSAGE, {"text": text, **named})


def conversation(run: Run) -> dict[str, Any]:
    (found,) = run.world().objects_of("Conversation")
    return found.data


def test_a_further_turn_is_asked_with_all_turns_before_it(store: Store) -> None:
    model, kit = Model(), new_kit(system="Be brief.")
    run = store.start(kit, "hello", llm=model.provider)
    say(run, "and now?")
    run.resume(llm=model.provider, kit=kit)

    assert model.contents == [
        ["Be brief.", "hello"],
        ["Be brief.", "hello", "re hello", "and now?"],
    ]
    assert run.world().objects["chat"].data == {"text": "re and now?"}
    assert (run.status().goal, run.status().state) == ("hello", "finished")
    assert run.replay(strict=True, kit=kit)


def test_a_conversation_that_a_message_replaced_begins_anew(store: Store) -> None:
    model, kit = Model(), new_kit()
    run = store.start(kit, "hello", llm=model.provider)
    id = next(id for id, each in run.world().objects.items() if each.type == "Conversation")
    run.send(OBJECT_CREATED, {"id": id, "type": "Note", "data": {}})
    say(run, "and now?")
    run.resume(llm=model.provider, kit=kit)

    assert model.contents == [["hello"], ["and now?"]]
    assert run.replay(strict=True, kit=kit)


def test_calls_results_and_thoughts_of_earlier_turns_are_sent_again(store: Store) -> None:
    thoughts = {"by": "m", "blocks": [1]}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        last = request["messages"][-1]
        return (
            calling("a", "b") if last["content"] == "go" else {"text": "ok", "thoughts": thoughts}
        )

    model, kit = Model(answer), new_kit()
    run = store.start(kit, "go", llm=model.provider)
    say(run, "more")
    run.resume(llm=model.provider, kit=kit)

    user, asked, first, second, ended, more = model.seen[-1]
    assert (user["content"], more["content"]) == ("go", "more")
    assert [call["id"] for call in asked["tool_calls"]] == ["ca", "cb"]
    assert [first["content"], second["content"]] == ["seen a", "seen b"]
    assert ended == {"role": "assistant", "content": "ok", "thoughts": thoughts}


def test_a_turn_that_comes_while_a_tool_runs_enters_directly_after_its_result(store: Store) -> None:
    runs: list[Run] = []

    def speak() -> None:
        say(runs[0], "wait")
        say(runs[0], "use the other")

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return calling("a") if len(request["messages"]) == 1 else {"text": "ok"}

    model, kit = Model(answer), new_kit(speak)
    run = store.start(kit, "go", work=False)
    runs.append(run)
    run.resume(llm=model.provider, kit=kit)

    assert model.contents[1] == ["go", "", "seen a", "wait", "use the other"]
    assert len(model.seen) == 2
    said = [event.id for event in run.events() if event.type == HUMAN_MESSAGE][1:]
    request = [event for event in run.events() if event.type == LLM_REQUEST][-1]
    assert request.cause[1:] == said
    assert conversation(run)["waiting"] == []


def test_turns_that_come_while_the_model_answers_are_asked_at_once_after_the_answer(
    store: Store,
) -> None:
    runs: list[Run] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if len(request["messages"]) == 1:
            say(runs[0], "second")
            say(runs[0], "third")
        return {"text": "ok"}

    model, kit = Model(answer), new_kit()
    run = store.start(kit, "first", work=False)
    runs.append(run)
    run.resume(llm=model.provider, kit=kit)

    assert model.contents == [["first"], ["first", "ok", "second", "third"]]
    assert run.status().unread == 0


@pytest.mark.parametrize(
    "broken", [{"error": {"type": "Refused", "message": "no"}}, {"text": "", "stop": "filtered"}]
)
def test_a_turn_without_an_answer_leaves_the_conversation_usable(
    store: Store, broken: dict[str, Any]
) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return broken if request["messages"][-1]["content"] == "bad" else {"text": "ok"}

    model, kit = Model(answer), new_kit()
    run = store.start(kit, "good", llm=model.provider)
    say(run, "bad")
    run.resume(llm=model.provider, kit=kit)
    assert conversation(run)["status"] == "failed"
    say(run, "again")
    run.resume(llm=model.provider, kit=kit)

    assert model.contents[-1] == ["good", "ok", "bad", "again"]
    assert (conversation(run)["status"], conversation(run)["error"]) == ("done", None)


def test_each_turn_may_take_as_many_requests_as_the_limit(store: Store) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        last = request["messages"][-1]
        return calling("a") if last["role"] == "user" else {"text": "ok"}

    model, kit = Model(answer), new_kit(max_turns=2)
    run = store.start(kit, "1", llm=model.provider)
    for text in ("2", "3"):
        say(run, text)
        run.resume(llm=model.provider, kit=kit)

    assert conversation(run)["status"] == "done"
    assert len(model.seen) == 6


def test_a_fork_has_a_conversation_of_its_own(store: Store) -> None:
    model, kit = Model(), new_kit()
    run = store.start(kit, "one", llm=model.provider)
    branch = run.fork(at=run.length(), kit=kit)
    say(run, "two")
    say(branch, "other")
    run.resume(llm=model.provider, kit=kit)
    branch.resume(llm=model.provider, kit=kit)

    assert model.contents[1:] == [["one", "re one", "two"], ["one", "re one", "other"]]


def test_workers_answer_the_turns_of_a_conversation(path: Path) -> None:
    model, kit = Model(), new_kit()
    # An executor of the kit's own: workers open providers by name.
    kit.responders.append(provider_executor(model))
    with open_store(f"sqlite:{path}", kits=[kit], environ={"KANDO_PLUGINS": ""}) as store:
        run = store.start("helper", "one", group="g")
        for text in ("two", "three"):
            GroupWorker(store.context, "g").work(until_idle=True)
            say(run, text)
            run.offer("g")
        GroupWorker(store.context, "g").work(until_idle=True)

    assert model.contents[-1] == ["one", "re one", "two", "re two", "three"]


def test_each_object_of_a_type_has_a_conversation(store: Store) -> None:
    model, kit = Model(), new_kit(name="front_desk")
    run = store.start(kit, "one", llm=model.provider)
    run.send(OBJECT_CREATED, {"id": "b", "type": "FrontDesk", "data": {}})
    say(run, "two", about="b")
    say(run, "three", about="front_desk")
    run.resume(llm=model.provider, kit=kit)

    assert sorted(model.contents[1:]) == [["one", "re one", "three"], ["two"]]
    assert run.world().objects["b"].data == {"text": "re two"}


def test_messages_without_words_and_about_other_objects_start_nothing(store: Store) -> None:
    model, kit = Model(), new_kit()
    run = store.start(kit, "one", llm=model.provider)
    for data in ({}, {"text": " "}, {"text": 3}, {"text": "x", "cause_object_id": "none"}):
        run.send(HUMAN_MESSAGE, data)
    run.resume(llm=model.provider, kit=kit)

    assert len(model.seen) == 1


def test_a_message_may_have_images(store: Store) -> None:
    model, kit = Model(lambda request: {"text": "ok"}), new_kit()
    run = store.start(kit, "one", llm=model.provider)
    image = {"type": "image", "media_type": "image/png", "data": "AAAA"}
    run.send(HUMAN_MESSAGE, {"content": [{"type": "text", "text": "what is it?"}, image]})
    run.resume(llm=model.provider, kit=kit)

    assert model.seen[-1][-1]["content"] == [{"type": "text", "text": "what is it?"}, image]
    assert conversation(run)["tokens"] > 1_500


def test_a_responder_continues_the_conversation_about_an_object(store: Store) -> None:
    kit = Kit("shop", prompts={"p": "$said", "s": "Sell $what."})

    @kit.object
    @attrs.frozen
    class Item:
        text: str = ""

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create(Item(), id=id) for id in ("a", "b")]

    @kit.llm_responder(OBJECT_CREATED, "note", type=Item, prompt="p", system="s", conversation=True)
    def on_item(event: KandoEvent, world: World) -> dict[str, str]:
        return {"said": str(event.data.get("said", "begin")), "what": "hats"}

    model = Model()
    run = store.start(kit, "go", llm=model.provider)
    run.send("note", {"cause_object_id": "b", "said": "more"})
    run.resume(llm=model.provider, kit=kit)

    assert model.contents[-1] == ["Sell hats.", "begin", "re begin", "more"]
    assert [each.data["text"] for each in run.world().objects_of("Item")] == ["re begin", "re more"]


def test_turns_take_space_for_what_is_new(path: Path) -> None:
    def size(turns: int) -> int:
        at = path.with_name(f"{turns}.sqlite")
        model, kit = Model(lambda request: {"text": "x" * 1000}), new_kit(compaction=False)
        with opened(at) as store:
            run = store.start(kit, "y" * 1000, llm=model.provider)
            for n in range(turns):
                say(run, f"{n} " + "y" * 1000)
            run.resume(llm=model.provider, kit=kit)
            for n in range(turns):
                say(run, f"{n} " + "z" * 1000)
                run.resume(llm=model.provider, kit=kit)
        with sqlite3.connect(at) as file:
            (pages,), (page,) = (
                file.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size")
            )
        return int(pages * page)

    # Twice the turns take at most a little more than twice the space.
    assert size(80) < 2.3 * size(40)


@pytest.mark.parametrize("name", ["Chat", "a b", "", "1", "chat-", 3])
def test_a_name_that_is_not_made_of_words_in_lower_case_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="conversation"):
        Kit("k").conversation(name)


def test_a_second_conversation_of_the_same_name_is_refused() -> None:
    kit = new_kit()
    with pytest.raises(ConfigurationError, match="twice"):
        kit.conversation()


def test_several_threads_may_talk_to_a_run_at_once(store: Store) -> None:
    model, kit = Model(), new_kit()
    run = store.start(kit, "one", llm=model.provider)
    threads = [threading.Thread(target=say, args=(run, f"{n}")) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    run.resume(llm=model.provider, kit=kit)

    said = [each["content"] for each in conversation(run)["messages"] if each["role"] == "user"]
    assert sorted(said[1:]) == [f"{n}" for n in range(8)]
    assert run.status().unread == 0
