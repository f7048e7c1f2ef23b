"""Real processes, really killed: writers at their appends, and the server under a run."""

import re

from torture_runs import run_torture


def test_runs_whose_writers_are_killed_at_their_appends_end_as_if_nothing_had_happened() -> None:
    said = run_torture("eventstore_torture.py", "--kills", "10")

    found = re.search(r"(\d+) kills", said)
    assert found
    assert int(found[1]) >= 10


def test_a_run_whose_server_is_killed_and_started_anew_ends_as_if_nothing_had_happened() -> None:
    assert "2 restarts of the server" in run_torture("eventstore_torture.py", "--restarts", "2")


def test_of_eight_writers_at_one_length_one_wins_and_the_others_have_written_nothing() -> None:
    assert "25 rounds of 8 writers: one winner each" in run_torture(
        "eventstore_torture.py", "--rounds", "25"
    )
