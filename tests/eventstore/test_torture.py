"""Real processes, really killed: writers at their appends, and the server under a run."""

import re
import subprocess
import sys
from pathlib import Path

TORTURE = Path(__file__).parents[1] / "helpers" / "eventstore_torture.py"


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


def test_runs_whose_writers_are_killed_at_their_appends_end_as_if_nothing_had_happened() -> None:
    said = torture("--kills", "10")

    found = re.search(r"(\d+) kills", said)
    assert found
    assert int(found[1]) >= 10


def test_a_run_whose_server_is_killed_and_started_anew_ends_as_if_nothing_had_happened() -> None:
    assert "2 restarts of the server" in torture("--restarts", "2")


def test_of_eight_writers_at_one_length_one_wins_and_the_others_have_written_nothing() -> None:
    assert "25 rounds of 8 writers: one winner each" in torture("--rounds", "25")
