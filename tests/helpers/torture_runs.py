"""Runs the torture programs of this folder."""

import subprocess
import sys
from pathlib import Path


def run_torture(program: str, *options: str) -> str:
    """Run a program, which must not find a difference, and return its output."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / program), *options],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    # The output has the seed that reproduces a failure.
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    print(done.stdout)
    return done.stdout
