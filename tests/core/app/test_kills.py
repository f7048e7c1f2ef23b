"""Processes are killed at boundaries of their runs: no acknowledged call is lost or made again.

`tests/helpers/kill_torture.py` says what is killed and what is compared; ``make soak`` kills more.
"""

import re

import pytest

from torture_runs import run_torture

pytestmark = [pytest.mark.long, pytest.mark.once]


@pytest.mark.parametrize(
    "options",
    [["--kills", "50"], ["--kills", "20", "--workers", "3"], ["--kills", "20", "--workers", "3", "--runs", "3"]],
    ids=["in process", "workers of one run", "workers of many runs"],
)  # fmt: skip
def test_runs_whose_processes_are_killed_end_as_if_nothing_had_happened(options: list[str]) -> None:
    said = run_torture("kill_torture.py", "--seed", "1", *options)

    found = re.search(r"^(\d+) kills: ", said, re.MULTILINE)
    assert found
    assert int(found[1]) >= int(options[1])
    assert "ledgers equal" in said
