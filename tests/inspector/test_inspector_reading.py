"""The REST interface reads runs as the command line does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from starlette.testclient import TestClient

from inspector_server import asking_kit
from kando.app.run import Run
from kando.app.shapes import diff_dict, event_dict, metrics_dict, status_dict, world_dict
from kando.app.store import Store, open_store


def got(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_the_runs_are_listed_newest_first_and_in_pages(
    client: TestClient, store: Store, run: Run
) -> None:
    others = [store.start("worked", f"Goal {n}") for n in range(4)]
    found, cursor = [], None
    while True:
        page = got(client, "/runs", limit=2, **({"cursor": cursor} if cursor else {}))
        found += [each["run_id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert found == [each.id for each in reversed([run, *others])]
    assert got(client, "/runs", kit="other")["items"] == []
    assert len(got(client, "/runs", state="finished", limit=200)["items"]) == 5


def test_a_long_goal_is_truncated_in_the_list_and_whole_in_the_run(
    client: TestClient, store: Store
) -> None:
    goal = "long " * 10_000
    run = store.start("worked", goal)

    (listed,) = got(client, "/runs")["items"]
    assert len(listed["goal"]) == 2_000
    assert listed["goal"].endswith("... (50000 characters)")
    assert got(client, f"/runs/{run.id}")["goal"] == goal


def test_the_state_of_a_run_is_that_of_the_command_line(client: TestClient, run: Run) -> None:
    expected = status_dict(run.status())

    assert got(client, f"/runs/{run.id}") == expected
    assert got(client, "/runs/@last") == expected
    assert got(client, f"/runs/{run.id[:6]}") == expected
    early = got(client, f"/runs/{run.id}", at=3)
    assert early["events"] == 3
    assert early["last_event_id"] == list(run.events())[2].id
    assert early["objects"] == {"Goal": 1}


def test_the_pages_of_events_have_every_event_once_and_in_order(
    client: TestClient, run: Run
) -> None:
    expected = [event_dict(each) for each in run.events()]
    found: list[Any] = []
    page = got(client, f"/runs/{run.id}/events", limit=3)
    while True:
        assert len(page["items"]) <= 3
        found += page["items"]
        if page["next"] is None:
            break
        page = got(client, f"/runs/{run.id}/events", limit=3, cursor=page["next"])

    assert found == expected
    assert got(client, f"/runs/{run.id}/events", after=4)["items"] == expected[5:]
    assert got(client, f"/runs/{run.id}/events", after=10**9) == {"items": [], "next": None}
    assert got(client, f"/runs/{run.id}/events", at=4)["items"] == expected[:4]
    patched = got(client, f"/runs/{run.id}/events", type="object.patched")["items"]
    assert patched == [each for each in expected if each["type"] == "object.patched"]


def test_the_events_of_a_branch_are_read_through_the_run(client: TestClient, run: Run) -> None:
    branch = run.fork(at=5)
    expected = [event_dict(each) for each in branch.events()]

    assert got(client, f"/runs/{run.id}/events", branch=branch.id)["items"] == expected
    assert client.get(f"/api/v1/runs/{branch.id}/events?branch={run.id}").status_code == 404


def test_an_event_is_found_by_its_id(client: TestClient, run: Run) -> None:
    for event in run.events():
        assert got(client, f"/runs/{run.id}/events/{event.id}") == event_dict(event)
    last = list(run.events())[-1]
    assert client.get(f"/api/v1/runs/{run.id}/events/{last.id}?at=3").status_code == 404


def test_the_world_at_each_position_is_that_of_the_command_line(
    client: TestClient, run: Run
) -> None:
    for at in range(run.length() + 1):
        world = got(client, f"/runs/{run.id}/world", at=at)
        assert world == world_dict(run.world(at=at), at)
    cities = got(client, f"/runs/{run.id}/world", type="City")
    assert [each["id"] for each in cities["objects"]] == ["city/bern", "city/riga"]


@pytest.mark.parametrize("direction", ["causes", "effects"])
def test_a_trace_leads_up_and_down(client: TestClient, run: Run, direction: str) -> None:
    expected = run.trace("report", down=direction == "effects")
    path = f"/runs/{run.id}/trace/report"

    found = got(client, path, direction=direction)["items"]

    assert [each["id"] for each in found] == [each.id for each in expected.events()]
    assert [each["depth"] for each in found] == [each.depth for each in expected.steps]
    first = got(client, path, direction=direction, limit=1)
    rest = got(client, path, direction=direction, cursor=first["next"])
    assert first["items"] + rest["items"] == found


def test_an_id_with_a_slash_is_one_segment(client: TestClient, run: Run) -> None:
    found = got(client, f"/runs/{run.id}/trace/city%2Fbern")["items"]

    assert found[0]["data"]["id"] == "city/bern"


def test_an_object_and_a_relation_are_those_of_the_world(client: TestClient, run: Run) -> None:
    for at in range(run.length() + 1):
        world = world_dict(run.world(at=at), at)
        for kind, name in (("objects", "report"), ("relations", "near-1")):
            answer = client.get(f"/api/v1/runs/{run.id}/{kind}/{name}", params={"at": at})
            found = next((each for each in world[kind] if each["id"] == name), None)
            assert (answer.status_code, answer.json() if found else None) == (
                200 if found else 404,
                found,
            )
    city = got(client, f"/runs/{run.id}/objects/city%2Fbern")
    assert city["data"] == {"name": "Bern"}


def test_the_artifacts_are_returned_as_json_and_as_files(client: TestClient, run: Run) -> None:
    expected = [attrs.asdict(each) for each in run.artifacts()]
    path = f"/runs/{run.id}/artifacts"

    assert got(client, path) == {"items": expected, "next": None}
    assert got(client, f"{path}/report") == got(client, f"{path}/report.md") == expected[0]
    page = client.get(f"/api/v1{path}/report.md?format=html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-disposition"] == 'attachment; filename="report.html"'
    assert "<h1>Two cities</h1>" in page.text
    plain = client.get(f"/api/v1{path}/report.md?format=md")
    assert plain.text == run.artifact("report.md").text
    assert client.get(f"/api/v1{path}/none").status_code == 404


def test_the_metrics_and_the_outcomes_are_those_of_the_command_line(
    client: TestClient, run: Run, store: Store
) -> None:
    branch = run.fork(at=5)
    outcomes = [attrs.asdict(each) for each in store.compare([run.id, branch.id])]

    assert got(client, f"/runs/{run.id}/metrics", at=4) == metrics_dict(run.id, run.metrics(at=4))
    assert got(client, "/compare", run=[run.id, branch.id])["items"] == outcomes


def test_an_exported_run_can_be_imported(client: TestClient, run: Run, tmp_path: Path) -> None:
    answer = client.get(f"/api/v1/runs/{run.id}/export")

    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == f'attachment; filename="{run.id}.jsonl"'
    with open_store(f"sqlite:{tmp_path / 'other.db'}", environ={}) as other:
        other.import_run(answer.content.splitlines(keepends=True))
        assert list(other.run(run.id).events()) == list(run.events())
    for form in ("cloudevents", "dot", "mermaid", "svg"):
        assert client.get(f"/api/v1/runs/{run.id}/export?format={form}&at=4").content


def test_the_runs_are_found_by_a_part_of_their_goal_or_id(
    client: TestClient, run: Run, store: Store
) -> None:
    store.start("worked", "Something else")

    for text in ("TWO cit", run.id[2:8]):
        assert [each["run_id"] for each in got(client, "/runs", q=text)["items"]] == [run.id]


def test_the_conversations_have_each_request_with_its_answer(
    client: TestClient, store: Store
) -> None:
    run = store.start(asking_kit(), "What is an anvil made of?")
    (asked,) = [each.id for each in run.events() if each.type == "llm.request"]
    run.answer(asked, text="Iron.")
    run.resume()

    (found,) = got(client, f"/runs/{run.id}/conversations")["items"]

    (request, answer) = (
        next(each.id for each in run.events() if each.type == kind)
        for kind in ("llm.request", "llm.response")
    )
    (turn,) = found["turns"]
    assert found["asked_by"] == "asking.wonder"
    assert (turn["request_id"], turn["answer_id"]) == (request, answer)
    assert turn["text"] == "Iron."
    position = run.event(request).position
    early = got(client, f"/runs/{run.id}/conversations", at=position + 1)["items"]
    assert early[0]["turns"][0]["answer_id"] is None


def test_the_installed_kits_are_listed(client: TestClient) -> None:
    found = got(client, "/kits")["items"]

    for each in found:
        assert got(client, f"/kits/{each['name']}")["name"] == each["name"]
    assert got(client, "/kits/worked")["version"] == "1.0"
    assert client.get("/api/v1/kits/none").json()["code"] == "unknown_plugin"


def test_two_runs_are_compared(client: TestClient, run: Run) -> None:
    branch = run.fork(at=5)
    expected = diff_dict(run.diff(branch))

    found = got(client, "/diff", a=run.id, b=branch.id)

    assert found["summary"] == expected["summary"]
    assert found["parts_at"] == 5
    assert got(client, "/diff", a=f"{run.id}@5", b=branch.id)["removed_objects"] == []


def test_the_branches_are_listed_as_a_tree(client: TestClient, run: Run) -> None:
    branch = run.fork(at=5)
    expected = [attrs.asdict(each) for each in run.branches()]

    assert got(client, f"/runs/{branch.id}/branches") == {"items": expected, "next": None}


def test_an_unchanged_result_is_not_sent_again(client: TestClient, run: Run, store: Store) -> None:
    for path in ("", "/events", "/world", "/trace/report", "/branches", "/approvals"):
        url = f"/api/v1/runs/{run.id}{path}"
        tag = client.get(url).headers["etag"]

        again = client.get(url, headers={"if-none-match": f'"other", W/{tag}'})

        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == tag
    tag = client.get(f"/api/v1/runs/{run.id}/world").headers["etag"]
    assert run.head() in tag
    run.send("note.added", {"text": "x"})
    run.resume()
    changed = client.get(f"/api/v1/runs/{run.id}/world", headers={"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/runs/none/world", 404, "run_not_found"),
        ("/runs/%00/world", 404, "run_not_found"),
        ("/runs/%F0%9F%92%A9/world", 404, "run_not_found"),
        ("/runs/@last@x/world", 404, "position_out_of_range"),
        ("/runs/@last/world?at=1000000", 404, "position_out_of_range"),
        ("/runs/@last/events/none", 404, "event_not_found"),
        ("/runs/@last/trace/none", 404, "event_not_found"),
        ("/nonsense", 404, "not_found"),
        ("/runs//world", 404, "not_found"),
        ("/runs/%FF/world", 400, "usage"),
        ("/runs/@last/world?at=-1", 400, "usage"),
        ("/runs/@last/world?at=x", 400, "usage"),
        ("/runs/@last/world?at=1e3", 400, "usage"),
        ("/runs/@last/world?at=" + "9" * 400, 400, "usage"),
        ("/runs/@last/world?at=1&at=2", 400, "usage"),
        ("/runs/@last/world?unknown=1", 400, "usage"),
        ("/runs/@last/world?%FF=1", 400, "usage"),
        ("/runs/@last/events?limit=0", 400, "usage"),
        ("/runs/@last/events?limit=1001", 400, "usage"),
        ("/runs/@last/events?cursor=x", 400, "configuration"),
        ("/runs?cursor=x", 400, "configuration"),
        ("/runs?state=sleeping", 400, "usage"),
        ("/runs/@last/trace/report?direction=up", 400, "usage"),
        ("/diff?a=@last", 400, "usage"),
    ],
)
def test_malformed_input_is_described(
    client: TestClient, run: Run, path: str, status: int, code: str
) -> None:
    answer = client.get(f"/api/v1{path}")

    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["type"] == f"urn:kando:error:{code}"
    assert problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/runs/demo", "GET"), ("DELETE", "/session", "GET"), ("PUT", "/diff", "GET")],
)
def test_a_method_that_a_path_does_not_have_is_refused(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, f"/api/v1{path}")

    assert answer.status_code == 405
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"nonsense", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"token": NaN}', "application/json", 400),
        (b'{"token": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b'{"token": 1}', "application/json", 422),
        (b"[]", "application/json", 422),
        (b"", "application/json", 422),
        (b"token=x", "application/x-www-form-urlencoded", 415),
        (b'{"token": "x"}', "text/plain", 415),
        (b" " * 17_000_000, "application/json", 413),
    ],
    ids=range(11),
)
def test_a_malformed_body_is_described(
    client: TestClient, body: bytes, kind: str, status: int
) -> None:
    answer = client.post("/api/v1/session", content=body, headers={"content-type": kind})

    assert answer.status_code == status
    assert answer.json()["status"] == status
