"""Questions and approvals that the client shows to its person as a form."""

from typing import Any, Literal

import pytest
from mcp import Client
from mcp_types import ElicitResult

from mcp_host import MODES, Place, calling, refusal

both_modes = pytest.mark.parametrize("mode", MODES)


class Person:
    """Fills in each form in the same way, and keeps what was shown."""

    def __init__(self, action: Literal["accept", "decline", "cancel"], **content: Any) -> None:
        self.action = action
        self.content = content
        self.shown: list[Any] = []

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        self.shown.append(params)
        content = self.content if self.action == "accept" else None
        return ElicitResult(action=self.action, content=content)


async def waiting(client: Client, goal: str) -> dict[str, Any]:
    """Start a run, and return its state when it waits for a person."""
    state = await calling(client)("start_run", kit="tiny", goal=goal, wait_s=45)
    assert state["state"] == "waiting"
    return state


@both_modes
@pytest.mark.parametrize(
    ("question", "content", "fields", "reply"),
    [
        ("How do you travel?", {"answer": "by boat"}, {"answer": "string"}, "by boat"),
        ("Which do you take?", {"answer": "train"}, {"answer": ["boat", "train"]}, "train"),
        (
            "Who travels?",
            {"name": "Ann", "age": 4},
            {"name": "string", "age": "integer", "vegetarian": "boolean"},
            {"name": "Ann", "age": 4},
        ),
    ],
    ids=["a text", "a choice", "an object"],
)
def test_a_question_is_answered_in_a_form_of_the_client(
    place: Place,
    mode: Literal["auto", "legacy"],
    question: str,
    content: dict[str, Any],
    fields: dict[str, Any],
    reply: Any,
) -> None:
    person = Person("accept", **content)

    async def story(client: Client) -> None:
        state = await waiting(client, f"question {question}")
        run_id = state["run_id"]
        call = calling(client)

        done = await call("ask_person", run_id=run_id, wait_s=45)

        assert (done["state"], done["questions"]) == ("finished", [])
        (step,) = (await call("query_world", run_id=run_id, type="Step"))["objects"]
        assert step["data"]["status"] == reply
        assert "no open question" in await refusal(client, "ask_person", run_id=run_id)

    place.within(story, mode=mode, person=person)
    (shown,) = person.shown
    assert question in shown.message
    properties = shown.requested_schema["properties"]
    found = {name: each.get("enum") or each["type"] for name, each in properties.items()}
    assert found == fields


@both_modes
@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"approved": True}, "'paid': 7"),
        ({"approved": False, "reason": "It is too dear."}, "It is too dear."),
    ],
    ids=["granted", "denied"],
)
def test_an_approval_is_decided_in_a_form_of_the_client(
    place: Place, mode: Literal["auto", "legacy"], content: dict[str, Any], status: str
) -> None:
    person = Person("accept", **content)

    async def story(client: Client) -> None:
        state = await waiting(client, "pay 7")
        run_id = state["run_id"]
        asked = state["approvals"][0]["event_id"]
        call = calling(client)

        done = await call("ask_person", run_id=run_id, event_id=asked, wait_s=45)

        assert (done["state"], done["approvals"]) == ("finished", [])
        (step,) = (await call("query_world", run_id=run_id, type="Step"))["objects"]
        assert status in step["data"]["status"]

    place.within(story, mode=mode, person=person)
    (shown,) = person.shown
    assert "May it pay?" in shown.message
    assert '"amount": 7' in shown.message


@both_modes
@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_a_person_who_declines_has_decided_nothing(
    place: Place, mode: Literal["auto", "legacy"], action: Literal["decline", "cancel"]
) -> None:
    async def story(client: Client) -> None:
        run_id = (await waiting(client, "pay 7"))["run_id"]

        assert "it stays pending" in await refusal(client, "ask_person", run_id=run_id)

        state = await calling(client)("get_run", run_id=run_id)
        assert (state["state"], len(state["approvals"])) == ("waiting", 1)

    place.within(story, mode=mode, person=Person(action))


@both_modes
def test_a_client_without_forms_learns_what_to_do_instead(
    place: Place, mode: Literal["auto", "legacy"]
) -> None:
    async def story(client: Client) -> None:
        run_id = (await waiting(client, "question How do you travel?"))["run_id"]
        said = await refusal(client, "ask_person", run_id=run_id)
        assert "shows no forms" in said
        assert "answer_request" in said

    place.within(story, mode=mode)


def test_a_reply_that_fits_into_no_form_is_refused_with_words(place: Place) -> None:
    person = Person("accept", answer="Rome")

    async def story(client: Client) -> None:
        run_id = (await waiting(client, "question Where do you go?"))["run_id"]
        assert "does not fit into a form" in await refusal(client, "ask_person", run_id=run_id)
        assert "no open question" in await refusal(
            client, "ask_person", run_id=run_id, event_id="nope"
        )

    place.within(story, person=person)
    assert person.shown == []
