"""The tools, driven over stdio by the official client in both eras of the protocol."""

import json
from typing import Any, Literal

import pytest
from mcp import Client

from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.schema.events import make_event
from kando_mcp.app import has_page
from kando_mcp.settings import Settings, operator_limits
from mcp_host import MODES, Place, calling, refusal

READING = [
    "diff_branches",
    "explain_trace",
    "get_run",
    "list_approvals",
    "list_kits",
    "list_runs",
    "list_workspace",
    "query_world",
    "read_workspace_file",
    # With kando-inspector.
    *(["show_run"] if has_page() else []),
]
WRITING = {
    # destructive, idempotent, open world
    "answer_approval": (True, True, True),
    "answer_request": (True, False, True),
    "ask_person": (True, False, True),
    "cancel_run": (True, True, False),
    "delete_run": (True, False, False),
    "fork_run": (False, False, True),
    "label_run": (False, True, False),
    "park_firing": (True, True, True),
    "resume_run": (False, True, True),
    "send_message": (False, False, True),
    "start_run": (False, False, True),
    "undo_call": (True, True, True),
}

both_modes = pytest.mark.parametrize("mode", MODES)


@both_modes
def test_a_run_is_started_queried_forked_compared_and_explained(
    place: Place, mode: Literal["auto", "legacy"]
) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        kits = await call("list_kits")
        assert "does what its goal says" in [kit["about"] for kit in kits["kits"]]

        started = await call("start_run", kit="tiny", goal="plain hello", wait_s=45)
        run_id = started["run_id"]
        assert started["state"] == "finished"
        assert started["objects"] == {"Goal": 1, "Step": 1}
        assert started["goal"] == "plain hello"

        world = await call("query_world", run_id=run_id)
        assert [o["id"] for o in world["objects"]] == ["goal", "step"]
        assert [r["type"] for r in world["relations"]] == ["part_of"]
        assert world["next_cursor"] is None
        before = await call("query_world", run_id=run_id, at=2)
        assert [o["id"] for o in before["objects"]] == ["goal"]
        steps = await call("query_world", run_id=f"{run_id}@6", type="Step")
        assert [o["id"] for o in steps["objects"]] == ["step"]
        assert steps["relations"] == []

        branch = await call("fork_run", run_id=run_id, fork_at=2)
        assert branch["parent_run_id"] == run_id
        assert branch.get("run") is None

        found = await call("diff_branches", run_a=run_id, run_b=branch["branch_id"])
        assert [o["id"] for o in found["removed_objects"]] == ["step"]
        assert found["summary"] == "-1 objects, -1 relations"

        up = await call("explain_trace", event_id="step", run_id=run_id)
        assert [(s["depth"], s["is_root"]) for s in up["steps"]] == [(0, False), (1, True)]
        assert up["steps"][0]["actor"] == "tiny.on_goal"
        assert "data" not in up["steps"][0]
        full = await call("explain_trace", event_id="step", run_id=run_id, with_data=True)
        assert full["steps"][-1]["data"]["data"] == {"text": "plain hello"}
        down = await call("explain_trace", event_id="goal", run_id=run_id, direction="down")
        assert "relation.created" in [s["type"] for s in down["steps"]]
        near = await call(
            "explain_trace", event_id="goal", run_id=run_id, direction="down", depth=1
        )
        assert {s["depth"] for s in near["steps"]} == {0, 1}

        listed = await call("list_runs")
        assert [item["run_id"] for item in listed["items"]] == [branch["branch_id"], run_id]

        labels = {"tenant": "a", "team": "x"}
        other = await call("start_run", kit="tiny", goal="plain two", labels=labels, wait_s=45)
        assert other["labels"] == labels
        (item,) = (await call("list_runs", labels={"tenant": "a"}))["items"]
        assert (item["run_id"], item["labels"]) == (other["run_id"], labels)
        text = await refusal(client, "list_runs", labels={"Tenant": "a"})
        assert "'Tenant' is not the name of a label" in text

        changes = {"tenant": "b", "team": None, "stage": ""}
        relabelled = await call("label_run", run_id=other["run_id"], labels=changes)
        assert relabelled["labels"] == {"tenant": "b", "stage": ""}
        assert (relabelled["state"], relabelled["events"]) == ("finished", other["events"] + 1)
        text = await refusal(client, "label_run", run_id=other["run_id"], labels={"Team": "x"})
        assert "'Team' is not the name of a label" in text

    place.drive(story, mode=mode)


@both_modes
def test_every_tool_has_all_four_annotations_and_a_typed_result_with_a_summary(
    place: Place, mode: Literal["auto", "legacy"]
) -> None:
    async def story(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert sorted(tool.name for tool in tools) == sorted([*READING, *WRITING])
        for tool in tools:
            hints = tool.annotations
            assert hints is not None
            if tool.name in READING:
                assert hints.read_only_hint is True
                expected = (False, True, False)
            else:
                assert hints.read_only_hint is False
                expected = WRITING[tool.name]
            assert expected == (
                hints.destructive_hint,
                hints.idempotent_hint,
                hints.open_world_hint,
            )
            assert tool.output_schema is not None
            assert tool.output_schema["properties"]["summary"] == {"type": "string"}
            assert tool.description
            assert tool.input_schema["additionalProperties"] is False
        states = {
            tool.name: tool.output_schema["properties"]["state"]["enum"]
            for tool in tools
            if tool.output_schema is not None and "state" in tool.output_schema["properties"]
        }
        assert set(states) == {
            "answer_approval",
            "answer_request",
            "ask_person",
            "cancel_run",
            "get_run",
            "label_run",
            "park_firing",
            "resume_run",
            "send_message",
            "start_run",
            "undo_call",
        }
        assert all({"finished", "waiting", "running", "failed"} < set(s) for s in states.values())
        # Every conversation with a model pays for these tokens.
        listed = [
            tool.model_dump(include={"name", "description", "input_schema"}) for tool in tools
        ]
        assert len(json.dumps(listed)) < 19_700

    place.within(story, mode=mode)


def test_the_text_of_a_result_is_its_data_as_json(place: Place) -> None:
    async def story(client: Client) -> None:
        result = await client.call_tool("list_runs", {})
        (text,) = result.content
        assert text.type == "text"
        assert json.loads(text.text) == result.structured_content

    place.within(story)


def test_read_only_offers_only_reading_tools_and_creates_no_store(place: Place) -> None:
    async def story(client: Client) -> None:
        assert sorted(t.name for t in (await client.list_tools()).tools) == READING
        assert (await calling(client)("list_runs"))["items"] == []
        text = await refusal(client, "start_run", kit="tiny", goal="plain")
        assert "start_run" in text

    place.within(story, Settings(limits=operator_limits(is_read_only=True)))
    assert not (place.root / "store.sqlite").exists()


def test_a_read_only_server_suggests_only_reading_tools(place: Place) -> None:
    async def started(client: Client) -> None:
        call = calling(client)
        for goal in ("plain", "ask why", "fail", "pay 7"):
            await call("start_run", kit="tiny", goal=goal, wait_s=45)
        run_id = (await call("start_run", kit="tiny", goal="ask why", wait_s=45))["run_id"]
        await call("cancel_run", run_id=run_id, wait_s=45)

    async def inspected(client: Client) -> None:
        call = calling(client)
        assert "start_run" not in str(client.instructions)
        for item in (await call("list_runs"))["items"]:
            steps = (await call("get_run", run_id=item["run_id"]))["next_steps"]
            assert {step.partition("(")[0] for step in steps} <= set(READING)
            assert steps

    place.within(started)
    place.within(inspected, Settings(limits=operator_limits(is_read_only=True)))


def test_an_error_names_the_nearest_valid_ids(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        assert "Did you mean 'tiny'" in await refusal(client, "start_run", kit="tinny", goal="x")
        assert "The substrate has no runs yet" in await refusal(
            client, "query_world", run_id="nope"
        )
        run_id = (await call("start_run", kit="tiny", goal="plain", wait_s=45))["run_id"]

        text = await refusal(client, "query_world", run_id=f"{run_id[:-2]}zz")
        assert run_id in text
        assert "list_runs" in text
        text = await refusal(client, "explain_trace", run_id=run_id, event_id="stepp")
        assert "The nearest are step" in text
        text = await refusal(client, "query_world", run_id=run_id, at=99)
        assert "Use 0 to 6." in text
        text = await refusal(client, "fork_run", run_id=run_id, fork_at=99)
        assert "99" in text
        text = await refusal(client, "start_run", kit="tiny", goal="x", budget_us=1)
        assert "Did you mean budget_usd?" in text
        text = await refusal(client, "start_run", kit="tiny", goal="x", wait_s=46)
        assert "less than or equal to 45" in text
        text = await refusal(client, "list_runs", cursor="nope")
        assert "next_cursor" in text
        text = await refusal(client, "query_world", run_id=run_id, cursor="nope")
        assert "next_cursor" in text
        assert len((await call("list_runs"))["items"]) == 1

    place.within(story)


def test_wrong_arguments_are_reported_with_the_valid_ones(place: Place) -> None:
    async def story(client: Client) -> None:
        text = await refusal(client, "get_run", run_id="demo", wait_s=60)
        assert "wait_s: Input should be less than or equal to 45, not 60." in text
        text = await refusal(client, "get_run", run="demo")
        assert "run_id is required." in text
        assert "Unknown argument 'run'. Did you mean run_id?" in text
        assert "The arguments are run_id, wait_s." in text
        text = await refusal(client, "start_run", kit="")
        assert "kit" in text
        text = await refusal(client, "fork_run", run_id="demo", fork_at="x" * 9_000)
        assert "pydantic" not in text
        assert len(text) < 500

    place.within(story)


def test_hints_name_tool_arguments_instead_of_command_line_options(place: Place) -> None:
    async def story(client: Client) -> None:
        assert "without demo, with a goal" in await refusal(
            client, "start_run", kit="tiny", demo=True
        )
        fork = {"run_id": "demo", "fork_at": 1}
        for tool, arguments in (("fork_run", fork), ("cancel_run", {"run_id": "demo"})):
            text = await refusal(client, tool, **arguments)
            assert "start_run" in text
            assert "nearest" not in text

    place.within(story)


def test_a_run_is_deleted_by_its_whole_id_once_no_branch_shares_its_events(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="plain", wait_s=45))["run_id"]
        branch = (await call("fork_run", run_id=run_id, fork_at=2))["branch_id"]
        for name in ("@last", branch[:-1]):
            text = await refusal(client, "delete_run", run_id=name)
            assert f"name {branch}" in text
        text = await refusal(client, "delete_run", run_id=run_id)
        assert branch in text
        assert "parent_id in list_runs" in text

        for id in (branch, run_id):
            assert (await call("delete_run", run_id=id))["run_ids"] == [id]

        assert (await call("list_runs"))["items"] == []
        assert "was deleted" in await refusal(client, "get_run", run_id=run_id)
        assert "demo" in await refusal(client, "delete_run", run_id="demo")

    place.within(story)


def test_a_run_that_spent_money_today_is_not_deleted_under_a_limit_per_day(place: Place) -> None:
    answer = {"text": "yes", "model": "m", "cost_usd": 0.5, "answers": True}
    with SQLiteSubstrate(place.root / "store.sqlite") as substrate:
        ledger = substrate.create("paid")
        ledger.append([make_event("llm.request", "", "test", [], {"messages": [], "model": "m"})])
        ledger.append([make_event("llm.response", "", "llm", ["llm.request-0"], answer)])

    async def refused(client: Client) -> None:
        text = await refusal(client, "delete_run", run_id="paid")
        assert "has spent money today" in text
        assert "`kando delete paid`" in text

    async def deleted(client: Client) -> None:
        assert (await calling(client)("delete_run", run_id="paid"))["run_ids"] == ["paid"]

    place.within(refused, Settings(limits=operator_limits(max_usd_per_day=1.0)))
    place.within(deleted)


def test_a_failed_run_reports_the_reason_and_the_next_steps(place: Place) -> None:
    async def story(client: Client) -> None:
        state = await calling(client)("start_run", kit="tiny", goal="fail", wait_s=45)
        assert state["state"] == "failed"
        assert "this step always fails" in state["problem"]
        assert "explain_trace" in state["next_steps"][0]

    place.within(story)


def test_a_request_is_answered_by_hand_instead_of_the_tool(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        state = await call("start_run", kit="tiny", goal="pay 7", wait_s=45)
        run_id = state["run_id"]
        listed = await refusal(client, "answer_request", run_id=run_id, request_id="nope", text="t")
        request = listed.partition("Open requests: ")[2].rstrip(".")
        given = {"run_id": run_id, "request_id": request}
        assert "text does not answer it" in await refusal(
            client, "answer_request", **given, text="t"
        )
        assert "no answer" in await refusal(client, "answer_request", **given, result=None)
        two = await refusal(client, "answer_request", **given, reply="yes", error="away")
        assert "one answer, not reply and error" in two

        done = await call("answer_request", **given, result="by hand", wait_s=45)

        assert (done["state"], done["approvals"]) == ("finished", [])
        (step,) = (await call("query_world", run_id=run_id, type="Step"))["objects"]
        assert "by hand" in step["data"]["status"]
        answer = (await call("explain_trace", run_id=run_id, event_id=request, direction="down"))[
            "steps"
        ]
        (given_by,) = (each for each in answer if each["type"] == "tool.returned")
        assert given_by["actor"] == "mcp"
        assert "--before" in await refusal(client, "answer_request", **given, result=1)

        branch = await call("fork_run", run_id=run_id, before=given_by["id"])
        assert branch["fork_position"] == given_by["position"]
        assert "is missing" in await refusal(client, "fork_run", run_id=run_id)
        both = {"run_id": run_id, "fork_at": 1, "before": request}
        assert "twice" in await refusal(client, "fork_run", **both)

    place.within(story)


@pytest.mark.parametrize(("approved", "outcome"), [(True, "'paid': 7"), (False, "too dear")])
def test_a_pending_approval_is_shown_and_the_decision_recorded(
    place: Place, approved: bool, outcome: str
) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        state = await call("start_run", kit="tiny", goal="pay 7", wait_s=45)
        assert state["state"] == "waiting"
        (asked,) = state["approvals"]
        assert asked["reason"] == "May it pay?"
        assert asked["waiting"]["data"]["arguments"] == {"amount": 7}
        assert "answer_approval" in state["next_steps"][0]
        run_id = state["run_id"]
        wrong = {"run_id": run_id, "event_id": "nope", "approved": True}
        assert asked["event_id"] in await refusal(client, "answer_approval", **wrong)
        again = await call("resume_run", run_id=run_id, wait_s=45)
        assert len(again["approvals"]) == 1

        answer = {"event_id": asked["event_id"], "approved": approved, "reason": "too dear"}
        done = await call("answer_approval", run_id=run_id, **answer, wait_s=45)

        assert (done["state"], done["approvals"]) == ("finished", [])
        (step,) = (await call("query_world", run_id=run_id, type="Step"))["objects"]
        assert outcome in step["data"]["status"]

    place.within(story)


def test_a_person_changes_the_arguments_of_a_call_that_is_listed_for_all_runs(
    place: Place,
) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        first = (await call("start_run", kit="tiny", goal="pay 7", wait_s=45))["run_id"]
        second = (await call("start_run", kit="tiny", goal="pay 8", wait_s=45))["run_id"]

        listed = await call("list_approvals")
        assert listed["summary"] == "2 approvals are pending"
        assert [each["run_id"] for each in listed["items"]] == [second, first]
        page = await call("list_approvals", limit=1)
        rest = await call("list_approvals", cursor=page["next_cursor"])
        assert [*page["items"], *rest["items"]] == listed["items"]
        assert rest["next_cursor"] is None
        asked = listed["items"][1]
        assert (asked["reason"], asked["expires_at"]) == ("May it pay?", None)
        states = [await call("get_run", run_id=run_id) for run_id in (first, second)]
        deadlines = [(each["event_id"], each["expires_at"]) for each in states[1]["deadlines"]]
        assert states[0]["deadlines"] == []
        assert deadlines == [(listed["items"][0]["event_id"], listed["items"][0]["expires_at"])]

        answer = {"run_id": first, "event_id": asked["event_id"], "approved": True}
        text = await refusal(client, "answer_approval", **answer, arguments={"amount": "3"})
        assert "amount" in text
        wrong = {**answer, "approved": False}
        text = await refusal(client, "answer_approval", **wrong, arguments={"amount": 3})
        assert "denied call" in text
        done = await call("answer_approval", **answer, arguments={"amount": 3}, by="ann", wait_s=45)

        assert done["state"] == "finished"
        (step,) = (await call("query_world", run_id=first, type="Step"))["objects"]
        assert "'paid': 3" in step["data"]["status"]
        asked_id = asked["event_id"]
        trace = await call("explain_trace", event_id=asked_id, run_id=first, direction="down")
        granted = [each["actor"] for each in trace["steps"] if each["type"] == "approval.granted"]
        assert granted == ["ann"]
        assert [each["run_id"] for each in (await call("list_approvals"))["items"]] == [second]

    place.within(story)


def test_results_stay_within_the_limit_and_their_pages_are_complete(place: Place) -> None:
    async def pages(client: Client, tool: str, key: str, **arguments: Any) -> list[Any]:
        found, cursor = [], None
        while True:
            result = await client.call_tool(tool, {**arguments, "cursor": cursor})
            data = result.structured_content
            assert data is not None
            assert len(json.dumps(data, ensure_ascii=False, separators=(",", ":"))) <= 20_000
            assert len(getattr(result.content[0], "text", "")) <= 20_000
            found += data[key]
            cursor = data["next_cursor"]
            if cursor is None:
                return found

    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="many", wait_s=45))["run_id"]
        notes = await pages(client, "query_world", "objects", run_id=run_id, type="Note")
        assert [o["id"] for o in notes] == [f"note-{n}" for n in range(300)]
        assert all(len(o["data"]["text"]) == 500 for o in notes)
        branch = (await call("fork_run", run_id=run_id, fork_at=2))["branch_id"]
        added = await pages(client, "diff_branches", "added_objects", run_a=branch, run_b=run_id)
        assert len(added) == 301
        down = await pages(
            client, "explain_trace", "steps", run_id=run_id, event_id="goal", direction="down"
        )
        assert len({step["id"] for step in down}) == len(down) == 303
        huge = (await call("start_run", kit="tiny", goal="huge", wait_s=45))["run_id"]
        (note,) = await pages(client, "query_world", "objects", run_id=huge, type="Note")
        assert note["id"] == "huge"
        assert "(100000 characters)" in note["data"]["text"]
        assert "(5000 items)" in note["data"]["lines"][-1]

    place.within(story)


def test_all_pages_show_the_position_of_the_first_even_if_the_run_grows(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="plain", wait_s=45))["run_id"]
        branch = (await call("fork_run", run_id=run_id, fork_at=2))["branch_id"]
        pair = {"run_a": run_id, "run_b": branch}
        first = await call("diff_branches", **pair, limit=1)
        assert [o["id"] for o in first["removed_objects"]] == ["step"]
        assert (first["a"]["run_id"], first["b"]["run_id"]) == (run_id, branch)
        before = await call("query_world", run_id="@last", limit=1)
        assert (before["run_id"], before["next_cursor"]) == (branch, None)

        assert (await call("resume_run", run_id=branch, wait_s=45))["state"] == "finished"

        rest = await call("diff_branches", **pair, cursor=first["next_cursor"])
        assert len(rest["removed_relations"]) == 1
        assert rest["summary"] == "-1 objects, -1 relations"
        assert (await call("diff_branches", **pair))["removed_relations"] == []
        assert len((await call("query_world", run_id=branch))["objects"]) == 2

    place.within(story)


def test_a_result_names_its_run_and_the_existing_types(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="plain", wait_s=45))["run_id"]
        for named in ("@last", f"{run_id}@4", run_id[:6]):
            assert (await call("query_world", run_id=named))["run_id"] == run_id
            trace = await call("explain_trace", event_id="goal", run_id=named)
            assert trace["run_id"] == run_id
        none = await call("query_world", run_id=run_id, type="Stepp")
        assert none["summary"].endswith("of type Stepp; its types are Goal, Step, part_of")
        text = await refusal(client, "explain_trace", event_id="step", run_id=f"{run_id}@2")
        assert "The nearest are" in text

    place.within(story)


def test_the_demo_run_can_be_inspected(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        assert (await call("get_run", run_id="demo", wait_s=45))["state"] == "finished"
        trace = await call("explain_trace", run_id="demo", event_id="object.created-2")
        assert [s["id"] for s in trace["steps"]] == [f"object.created-{n}" for n in (2, 1, 0)]

    place.within(story, Settings(limits=operator_limits(is_read_only=True)))


def test_a_message_takes_an_image_by_its_data_and_never_by_its_path(place: Place) -> None:
    png = {"type": "image", "media_type": "image/png", "data": "iVBORw0KGgo="}
    by_path = {"type": "image", "path": str(place.root / "secret.png")}

    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="plain", wait_s=45))["run_id"]
        message = {"run_id": run_id, "text": "Look."}

        sent = await call("send_message", **message, attachments=[png], wait_s=45)
        text = await refusal(client, "send_message", **message, attachments=[by_path])

        assert sent["unread"] == 0
        assert "names a file by its path" in text

    place.within(story)
