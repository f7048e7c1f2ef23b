"""Real processes, killed: writers during appends, and the server during a run."""

import re

import pytest

from torture_runs import run_torture

pytestmark = pytest.mark.long


def test_runs_whose_writers_are_killed_during_appends_end_like_undisturbed_runs() -> None:
    output = run_torture("eventstore_torture.py", "--kills", "10")

    found = re.search(r"(\d+) kills", output)
    assert found
    assert int(found[1]) >= 10


def test_a_run_whose_server_is_killed_and_restarted_ends_like_an_undisturbed_run() -> None:
    assert "2 restarts of the server" in run_torture("eventstore_torture.py", "--restarts", "2")


def test_one_of_eight_writers_at_the_same_length_wins_and_the_others_write_nothing() -> None:
    assert "25 rounds of 8 writers: one winner each" in run_torture(
        "eventstore_torture.py", "--rounds", "25"
    )
