"""A run says which answers were cut off at their limit, and how to raise it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_a_run_reports_answers_that_were_cut_off_and_how_to_raise_the_limit(tmp_path: Path) -> None:
    script = tmp_path / "answers.json"
    script.write_text(
        json.dumps({"answers": [{"contains": "anvils", "text": "It is", "stop": "length"}]})
    )
    command = ["run", "research", "--goal", "anvils", "--llm", f"scripted:{script}"]
    environ = {**os.environ, "KANDO_LEDGER": f"sqlite:{tmp_path}/runs.db"}

    done = subprocess.run(
        [sys.executable, "-m", "kando.cli.main", *command],
        env=environ,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )

    assert "3 answers were cut off at the limit of tokens: --max-tokens N" in done.stderr
