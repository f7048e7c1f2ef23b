"""Real processes, really killed: at every commit, at random moments, and two at once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).parents[2] / "helpers" / "torture.py"


def torture(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(TORTURE), *options],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    # The seed is what makes a failure happen again.
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    print(done.stdout)
    return done.stdout


def test_a_run_killed_at_every_commit_and_at_random_moments_ends_as_if_nothing_had_happened() -> (
    None
):
    said = torture("--kills", "300")

    found = re.search(r"(\d+) kills, (\d+) commit points", said)
    assert found
    assert int(found[1]) >= 300
    assert int(found[2]) >= 20


@pytest.mark.parametrize("races", [200])
def test_of_two_processes_that_resume_one_run_one_wins_and_nothing_is_lost_or_doubled(
    races: int,
) -> None:
    said = torture("--kills", "0", "--races", str(races))

    assert f"{races} races" in said
