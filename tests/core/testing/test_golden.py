"""Golden ledgers: equal runs match, and a difference is described in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kando.testing.golden import assert_golden, decided, difference
from kando.testing.runs import ScriptedLLM, run_kit
from sample_kit import sample_kit


def greeted(text: str):
    return run_kit(sample_kit(), "Ada", llm=ScriptedLLM({}, text)).ledger


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "golden" / "ada.jsonl"
    monkeypatch.setenv("KANDO_UPDATE_GOLDEN", "1")
    assert_golden(greeted("Hello."), path)
    monkeypatch.delenv("KANDO_UPDATE_GOLDEN")
    return path


def test_an_equal_run_matches_its_golden_file(golden: Path) -> None:
    assert_golden(greeted("Hello."), golden)

    assert json.loads(golden.read_text().splitlines()[0])["data"]["data"] == {
        "name": "Ada",
        "status": "new",
    }


def test_a_difference_names_its_position_its_fields_and_the_cure(golden: Path) -> None:
    with pytest.raises(AssertionError) as failure:
        assert_golden(greeted("Hi."), golden)

    message = str(failure.value)
    assert "run:r1 differs from" in message
    assert "llm.response-9 by llm:\n  data.text: 'Hello.' -> 'Hi.'" in message
    assert "KANDO_UPDATE_GOLDEN=1" in message


def test_a_missing_golden_file_is_reported_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="KANDO_UPDATE_GOLDEN=1"):
        assert_golden(greeted("Hello."), tmp_path / "none.jsonl")


def test_a_ledger_that_is_shorter_or_longer_is_reported() -> None:
    events = [decided(event) for event in greeted("Hello.").read_all()]

    assert difference(events, events) is None
    assert difference(events[:3], events) == (
        f"it ends after 3 events, without {events[3]['id']} by {events[3]['actor']}"
    )
    assert str(difference(events, events[:3])).startswith("it continues after 3 events with ")


def test_one_and_true_and_one_point_zero_are_different_json() -> None:
    event = decided(next(greeted("Hello.").read_all()))

    for other in (True, 1.0, "1", None):
        found = difference([{**event, "data": {"n": other}}], [{**event, "data": {"n": 1}}])
        assert found is not None
        assert f"data.n: 1 -> {other!r}" in found
