"""The REST interface under schemathesis: no call of its OpenAPI document ends in an error of the server."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from kando.app.store import Store
from large_runs import add_hostile_run, add_large_run

#: Calls of all operations together.
CALLS = 2000

#: Ids of events and objects that exist in the runs below.
IDS = ["goal", "object.created-1", "claim-3", "tool.called-51", "person.asked-44", "about-2"]


@attrs.define
class Calls:
    """The calls to a server, and their outcomes."""

    url: str
    session: requests.Session
    runs: list[str]
    statuses: list[int] = attrs.field(factory=list)
    failed: list[str] = attrs.field(factory=list)

    def send(self, case: Any, run: str | None, id: str | None) -> None:
        """Send a call; a run and an id that exist replace those that were made up."""
        for name in {"run"} & {*case.path_parameters} if run is not None else ():
            case.path_parameters[name] = run
        for name in {"event", "id", "request"} & {*case.path_parameters} if id is not None else ():
            case.path_parameters[name] = id
        arguments = case.as_transport_kwargs(base_url=self.url)
        arguments["headers"] = {**arguments["headers"], **self.session.headers}
        with self.session.request(**arguments, timeout=60, stream=True) as answer:
            self.statuses.append(answer.status_code)
            if answer.status_code >= 500:
                body = answer.content[:500].decode("utf-8", "replace")
                self.failed.append(f"{case.as_curl_command()}\n  {answer.status_code} {body}")

    def send_many(self, operation: Any, number: int) -> None:
        """Send so many calls of an operation, that match its schema and that do not."""
        made = st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        )

        @given(made, st.sampled_from([None, *self.runs]), st.sampled_from([None, *IDS]))
        @settings(
            max_examples=number,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[*HealthCheck],
        )
        def send(case: Any, run: str | None, id: str | None) -> None:
            self.send(case, run, id)

        send()


@pytest.fixture(scope="module")
def calls(store: Store, served: Any) -> Calls:
    """Return calls to a server with three runs."""
    runs = [add_large_run(store, 1000), add_hostile_run(store, long=50_000), "demo"]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {served.token}"
    return Calls(served.url, session, runs)


def test_no_call_ends_in_an_error_of_the_server(calls: Calls) -> None:
    document = calls.session.get(f"{calls.url}/api/v1/openapi.json", timeout=60).json()
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations()]
    # A stream does not end by itself, and what deletes runs comes last.
    finite = [each for each in operations if not each.path.endswith("/stream")]
    finite.sort(key=lambda each: each.method.upper() == "DELETE")

    for operation in finite:
        calls.send_many(operation, CALLS // len(finite) + 1)

    assert calls.failed == []
    assert len(calls.statuses) >= CALLS
    assert {200, 400, 404} <= {*calls.statuses}
