"""Questions to people: the run waits for the words of a person, in whatever process they arrive."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from kando import Kit, Store, ask_person, create, open_store, patch
from kando.app.group_worker import GroupWorker
from kando.errors import ConfigurationError, InvalidData, RunCancelled
from kando.schema.events import (
    OBJECT_CREATED,
    PERSON_ASKED,
    PERSON_REPLIED,
    KandoEvent,
)

#: Seconds of a deadline that has passed as soon as a process works on the run again.
AT_ONCE = 0.000_001


def curious(expires: float | None = None) -> Kit:
    kit = Kit("curious", version="1")
    kit.seeds(lambda goal, run_id: [create("Trip", {"text": goal}, id="trip")])

    @kit.responder(OBJECT_CREATED, type="Trip")
    def on_trip(event: KandoEvent, world: object) -> Any:
        yield ask_person("Where to?", about="trip", expires=expires)
        yield ask_person("How?", Literal["train", "boat"], about="trip", expires=expires)

    @kit.responder(PERSON_REPLIED, type="Trip")
    def on_reply(event: KandoEvent, world: Any) -> Any:
        said = event.data.get("answer", event.data.get("error"))
        heard = world.get_object("trip").data.get("heard", [])
        yield patch("trip", {"heard": [*heard, said]})

    return kit


def opened(path: Path, expires: float | None = None) -> Store:
    return open_store(f"sqlite:{path}", kits=[curious(expires)], environ={"KANDO_PLUGINS": ""})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with opened(path) as store:
        yield store


def heard(run: Any) -> Any:
    return run.world().objects["trip"].data.get("heard")


def test_a_run_waits_for_a_reply_and_continues_with_it_in_another_process(path: Path) -> None:
    with opened(path) as store:
        run_id = store.start("curious", "go").id
    with opened(path) as store:
        run = store.run(run_id)
        where, how = run.questions()
        assert (where.question, where.schema, where.cause_object_id) == ("Where to?", None, "trip")
        assert how.schema == {"type": "string", "enum": ["train", "boat"]}
        assert (run.status().state, run.status().questions) == ("waiting", 2)
        run.reply(how.event_id, "boat", by="ann")
        run.reply(where.event_id, "Rome", by="ann")
        assert run.status().state == "stopped"
    with opened(path) as store:
        run = store.run(run_id)
        run.resume()

        assert heard(run) == ["boat", "Rome"]
        assert (run.status().state, run.status().questions, run.questions()) == ("finished", 0, [])
        replies = [each for each in run.events() if each.type == PERSON_REPLIED]
        assert [(each.actor, each.data["by"]) for each in replies] == [("ann", "ann")] * 2
        assert run.replay(strict=True)


def test_a_question_is_answered_once(store: Store) -> None:
    run = store.start("curious", "go")
    where = run.questions()[0]
    run.reply(where.event_id, "Rome")
    with pytest.raises(InvalidData, match="already"):
        run.reply(where.event_id, "Paris")
    run.resume()
    with pytest.raises(InvalidData, match="already"):
        run.reply(where.event_id, "Paris")

    assert heard(run) == ["Rome"]


@pytest.mark.parametrize("answer", [3, None, ["Rome"]])
def test_a_question_without_a_schema_is_answered_with_text(store: Store, answer: Any) -> None:
    run = store.start("curious", "go")
    with pytest.raises(InvalidData, match="string"):
        run.reply(run.questions()[0].event_id, answer)


def test_a_reply_that_does_not_match_the_schema_is_refused_and_nothing_is_sent(
    store: Store,
) -> None:
    run = store.start("curious", "go")
    how = run.questions()[1].event_id
    with pytest.raises(InvalidData, match="train") as refused:
        run.reply(how, "plane")

    assert "schema" in str(refused.value)
    assert run.status().unread == 0
    run.reply(how, '"train"')
    run.resume()
    assert heard(run) == ["train"]


def test_other_answers_do_not_fit_a_question(store: Store) -> None:
    run = store.start("curious", "go")
    question = run.questions()[0].event_id
    for given in ({"text": "Rome"}, {"result": "Rome"}, {"data": "Rome"}):
        with pytest.raises(InvalidData, match="does not answer it"):
            run.answer(question, **given)


def test_a_branch_asks_for_itself(store: Store) -> None:
    run = store.start("curious", "go")
    branch = run.fork(at=run.status().events)
    run.reply(run.questions()[0].event_id, "Rome")
    run.resume()
    branch.reply(branch.questions()[0].event_id, "Oslo")
    branch.resume()

    assert (heard(run), heard(branch)) == (["Rome"], ["Oslo"])
    for each in (run, branch):
        assert each.replay(strict=True)
    before = run.fork(before=next(e.id for e in run.events() if e.type == PERSON_REPLIED))
    before.reply(before.questions()[0].event_id, "Bern")
    before.resume()
    assert heard(before) == ["Bern"]


def test_a_deadline_answers_the_question_with_an_error(path: Path) -> None:
    with opened(path, AT_ONCE) as store:
        run = store.start("curious", "go")
        run.resume()

        assert [each["type"] for each in heard(run)] == ["Expired"] * 2
        assert run.status().state == "finished"
        assert run.replay(strict=True)


def test_a_deadline_is_shown_and_wakes_a_run_that_waits(path: Path) -> None:
    with opened(path, 0.3) as store:
        run = store.start("curious", "go", work=False)
        run.resume(wait=True)
        assert [each["type"] for each in heard(run)] == ["Expired"] * 2
    with opened(path, 3600) as store:
        status = store.start("curious", "go").status()
        assert len(status.deadlines) == 2


def test_resume_with_wait_continues_with_a_reply_by_itself(store: Store) -> None:
    run = store.start("curious", "go")
    waiting = threading.Thread(target=lambda: run.resume(wait=True))
    waiting.start()
    where, how = run.questions()
    run.reply(where.event_id, "Rome")
    run.reply(how.event_id, "boat")
    waiting.join(30)

    assert not waiting.is_alive()
    assert sorted(heard(run)) == ["Rome", "boat"]


def test_workers_continue_a_run_after_a_reply(store: Store) -> None:
    run = store.start("curious", "go", group="crew")
    GroupWorker(store.context, "crew").work(until_idle=True)
    for question, said in zip(run.questions(), ("Rome", "boat"), strict=True):
        run.reply(question.event_id, said)
    run.offer("crew")
    GroupWorker(store.context, "crew").work(until_idle=True)

    assert (heard(run), run.status().state) == (["Rome", "boat"], "finished")


def test_a_cancelled_run_takes_no_reply(store: Store) -> None:
    run = store.start("curious", "go")
    question = run.questions()[0].event_id
    run.cancel()
    run.resume()
    with pytest.raises(RunCancelled, match="cancelled"):
        run.reply(question, "Rome")


def test_a_bystander_that_emits_a_reply_answers_nothing() -> None:
    kit = curious()

    @kit.responder(PERSON_ASKED)
    def on_question(event: KandoEvent, world: object) -> Any:
        from kando import emit

        yield emit(PERSON_REPLIED, {"answer": "me"})

    with open_store("memory:", kits=[kit], environ={"KANDO_PLUGINS": ""}) as store:
        run = store.start("curious", "go")
        assert len(run.questions()) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("",), "question"),
        ((" ",), "question"),
    ],
)
def test_a_question_that_cannot_be_asked_is_an_error(arguments: Any, says: str) -> None:
    with pytest.raises((InvalidData, ConfigurationError), match=says):
        ask_person(*arguments)
    with pytest.raises(ConfigurationError, match="ask_person"):
        ask_person("?", expires=0)
