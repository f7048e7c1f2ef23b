"""Real processes are killed at every commit and at random moments, and two race for one run."""

import re

import pytest

from torture_runs import run_torture

pytestmark = [pytest.mark.long, pytest.mark.once]


def test_a_run_killed_at_every_commit_and_at_random_moments_ends_as_if_nothing_had_happened() -> (
    None
):
    said = run_torture("torture.py", "--kills", "300")

    found = re.search(r"(\d+) kills, (\d+) commit points", said)
    assert found
    assert int(found[1]) >= 300
    assert int(found[2]) >= 20


@pytest.mark.parametrize("races", [200])
def test_of_two_processes_that_resume_a_run_one_wins_and_no_event_is_lost_or_duplicated(
    races: int,
) -> None:
    said = run_torture("torture.py", "--kills", "0", "--races", str(races))

    assert f"{races} races" in said
