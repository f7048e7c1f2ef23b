"""The comparison: Kando's scenarios print what the page says, and the page shows what was printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.long, pytest.mark.once]

_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "compared"

_SCENARIOS = (
    "lines",
    "kill-model",
    "kill-tool",
    "kill-write",
    "fork",
    "denial",
    "budget",
    "parallel",
)


def _evaluated(code: str) -> Any:
    """Run code in the folder of the comparison, in a process of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json, run\n{code}"],
        cwd=_FOLDER,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", _SCENARIOS)
def test_a_scenario_of_kando_prints_what_the_page_says(name: str) -> None:
    rows = _evaluated(f"print(json.dumps(run.rows_of(run.CODERS['kando'], [{name!r}])))")

    kept = json.loads((_FOLDER / "results.json").read_text())["columns"]["kando"]
    assert rows == {row: kept[row] for row in rows}


def test_every_scenario_is_tested() -> None:
    assert tuple(_evaluated("print(json.dumps(list(run.SCENARIOS)))")) == _SCENARIOS


def test_the_page_shows_the_results_and_the_agents_of_now() -> None:
    code = (
        "import report\n"
        "text = report.PAGE.read_text()\n"
        "print(json.dumps([text, report.page(text, report.results())]))"
    )

    shown, written = _evaluated(code)

    assert shown == written


def test_a_row_that_is_run_again_replaces_the_old_one() -> None:
    code = (
        "import report\n"
        "old = report.merged({}, {'kando': {'a': '1', 'b': '2'}}, {'kando': 'kando-core 1'})\n"
        "new = report.merged(old, {'kando': {'a': '3'}}, {})\n"
        "print(json.dumps(report.render(new).splitlines()))"
    )

    assert _evaluated(code) == [
        "|  | Kando |",
        "| --- | --- |",
        "| versions | kando-core 1 |",
        "| a | 3 |",
        "| b | 2 |",
    ]
