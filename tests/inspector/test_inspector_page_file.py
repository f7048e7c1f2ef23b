"""A run exported as one page: its data are inert, and its policy names what it may run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from inspector_server import waiting_kit, worked_kit
from kando import open_store
from kando.app.shapes import approval_dict
from kando.app.store import Store
from kando.views.metrics import RunMetrics
from kando_inspector.encoding import encoded
from kando_inspector.page_file import export_page

DATA = re.compile(r'<script type="application/json" id="kando-data">(.*?)</script>', re.DOTALL)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store."""
    with open_store(f"sqlite:{tmp_path}/store.sqlite", kits=[worked_kit()], environ={}) as opened:
        yield opened


def page_of(store: Store, goal: str, at: int | None = None) -> str:
    """Return the page of a new run with a goal."""
    run = store.start("worked", goal)
    return b"".join(export_page(run, run.length() if at is None else at)).decode()


def test_the_page_holds_what_the_rest_interface_returns(store: Store) -> None:
    page = page_of(store, "two cities")

    (text,) = DATA.findall(page)
    (run,) = json.loads(text)["runs"]
    assert run["status"]["state"] == "finished"
    assert run["status"]["events"] == len(run["events"]) == run["metrics"]["events"]
    assert [each["position"] for each in run["events"]] == [*range(len(run["events"]))]


def test_a_page_of_the_first_events_holds_no_later_one(store: Store) -> None:
    (text,) = DATA.findall(page_of(store, "two cities", at=3))

    (run,) = json.loads(text)["runs"]
    assert len(run["events"]) == run["status"]["events"] == 3
    assert max(run["usage"]["changes"][::3], default=0) < 3


@pytest.mark.parametrize(
    "goal", ["</script><script>alert(1)</script>", "<!--<script>", "]]> \u2028"]
)
def test_no_text_of_a_run_ends_its_data(store: Store, goal: str) -> None:
    page = page_of(store, goal)

    (text,) = DATA.findall(page)
    assert "<" not in text
    assert json.loads(text)["runs"][0]["status"]["goal"] == goal


def test_the_policy_of_the_page_names_its_script_and_its_style_by_hash(store: Store) -> None:
    page = page_of(store, "two cities")

    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    parts = [*re.findall(r"<script>(.*?)</script>", page, re.DOTALL)]
    parts += re.findall(r"<style>(.*?)</style>", page.partition("</head>")[0], re.DOTALL)
    assert len(parts) == 2
    for part in parts:
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "src=" not in page.partition("<script")[0]


def test_the_page_holds_what_waits_and_what_was_used_at_each_position(store: Store) -> None:
    run = store.start(waiting_kit(), "a trip")
    (question, _) = run.questions()
    run.reply(question.event_id, "Riga")
    run.resume()
    run.approve(run.approvals()[0].event_id)
    run.resume()
    (text,) = DATA.findall(b"".join(export_page(run, run.length())).decode())
    (found,) = json.loads(text)["runs"]

    seen = set()
    for at in range(run.length() + 1):
        waiting = [
            each["item"]
            for each in found["waits"]
            if each["from"] <= at and (each["until"] is None or at < each["until"])
        ]
        expected = [*run.approvals(at=at), *run.questions(at=at)]
        seen.add(len(expected))
        assert [each["event_id"] for each in waiting] == [each.event_id for each in expected], at
        assert waiting == [
            json.loads(encoded(approval_dict(each) | {"run_id": run.id})) for each in expected
        ]
        assert _usage_at(found["usage"], at) == _figures(run.metrics(at=at)), at
    assert seen == {0, 1, 2, 3}


def _usage_at(usage: dict[str, Any], at: int) -> dict[tuple[str, ...], float]:
    changes = usage["changes"]
    found = {}
    for position, number, value in zip(changes[::3], changes[1::3], changes[2::3], strict=True):
        if position < at:
            found[tuple(usage["figures"][number])] = value
    return found


def _figures(metrics: RunMetrics) -> dict[tuple[str, ...], float]:
    """Return the figures of metrics that are not 0, by the names that lead to each."""
    flat: dict[tuple[str, ...], float] = {}

    def add(value: Any, *path: str) -> None:
        if isinstance(value, dict):
            for name, each in value.items():
                add(each, *path, name)
        elif value:
            flat[path] = value

    for part in ("llm", "models", "responders"):
        add(attrs.asdict(metrics)[part], part)
    return flat
