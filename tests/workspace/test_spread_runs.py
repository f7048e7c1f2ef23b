"""Runs are spread over worker processes, some of which are killed: each ends as in one process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.once]

TORTURE = Path(__file__).parents[1] / "helpers" / "worker_torture.py"


@pytest.mark.parametrize("where", [[], ["--server", "--restarts"]], ids=["file", "server"])
def test_every_run_ends_with_the_ledger_that_one_process_gives(where: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(TORTURE), "--runs", "10", "--seconds", "0.7", "--kills", "2", *where],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    assert re.search(r"10 runs over 4 workers, \d+ killed: equal", done.stdout)
