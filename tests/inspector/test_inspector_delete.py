"""A client that may act deletes a run; what needs the run prevents it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.testclient import TestClient

from inspector_server import LOOK_TOKEN, TOKEN
from kando.app.claims import RunClaim
from kando.app.run import Run
from kando.app.store import Store


def test_a_run_is_deleted_and_its_address_says_so(
    client: TestClient, store: Store, run: Run
) -> None:
    path = f"/api/v1/runs/{run.id}"
    assert client.get(path).status_code == 200

    deleted = client.delete(path)

    assert (deleted.status_code, deleted.json()) == (200, {"run_ids": [run.id]})
    for gone in (client.get(path), client.get(f"{path}/world"), client.delete(path)):
        assert (gone.status_code, gone.json()["code"]) == (404, "run_deleted")
    assert client.get("/api/v1/runs").json()["items"] == []


def test_a_run_with_a_branch_and_one_that_is_worked_on_are_not_deleted(
    client: TestClient, store: Store, run: Run
) -> None:
    branch = run.fork(at=5)
    path = f"/api/v1/runs/{run.id}"

    refused = client.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "run_in_use")
    assert branch.id in refused.json()["detail"] + refused.json()["hint"]
    with RunClaim(store.context, branch.id):
        busy = client.delete(f"/api/v1/runs/{branch.id}")
    assert (busy.status_code, busy.json()["code"]) == (409, "run_busy")

    assert client.delete(f"/api/v1/runs/{branch.id}").json() == {"run_ids": [branch.id]}
    assert client.delete(path).json() == {"run_ids": [run.id]}


def test_a_deletion_needs_the_whole_id_and_a_client_that_may_act(
    client: TestClient, served: Callable[..., TestClient], run: Run
) -> None:
    for named in (run.id[:4], "@last"):
        refused = client.delete(f"/api/v1/runs/{named}")
        assert (refused.status_code, refused.json()["code"]) == (400, "configuration")
        assert run.id in refused.json()["hint"]
    assert client.delete("/api/v1/runs/demo").status_code == 404

    for access, token in (({}, LOOK_TOKEN), ({"is_read_only": True}, TOKEN)):
        looking = served(**access)
        looking.headers["authorization"] = f"Bearer {token}"
        refused = looking.delete(f"/api/v1/runs/{run.id}")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert client.get(f"/api/v1/runs/{run.id}").status_code == 200
