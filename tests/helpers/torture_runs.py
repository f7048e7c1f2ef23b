"""Running a program of torture, and what it says."""

import subprocess
import sys
from pathlib import Path


def tortured(program: str, *options: str) -> str:
    """Run a program of this folder, which fails at the first difference, and return what it says."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / program), *options],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    # The seed is what makes a failure happen again.
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    print(done.stdout)
    return done.stdout
