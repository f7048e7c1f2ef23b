"""The benchmarks: their floors follow the format of the file, and their table keeps what it should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.once

_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def _run(*arguments: object) -> str:
    """Run Python in the folder of the benchmarks, in a process of its own, and return its output."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=_FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _evaluated(code: str) -> Any:
    return json.loads(_run("-c", code))


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Path, Path]:
    """The file of a chain of 12 steps, and the lengths of its ledger after each transaction."""
    path, lengths = tmp_path / "kando.db", tmp_path / "lengths.json"
    _run("chain.py", 12, path, lengths, 100, 0)
    return path, lengths


@pytest.mark.parametrize("way", ["plain", "fast"])
def test_the_floor_inserts_the_rows_of_a_finished_file(
    chain: tuple[Path, Path], tmp_path: Path, way: str
) -> None:
    source, lengths = chain

    figure = json.loads(_run("floor.py", source, tmp_path / "floor.db", lengths, way))

    assert figure["facts"]["commits"] == len(json.loads(lengths.read_text()))


def test_the_minimal_loop_makes_what_kando_writes(chain: tuple[Path, Path], tmp_path: Path) -> None:
    source, facts = chain[0], tmp_path / "facts.json"
    facts.write_text(
        _run("-c", f"import json, steps; print(json.dumps(steps._facts({str(source)!r})))")
    )

    # It compares its last hash with that of the ledger.
    _run("minimal.py", source, tmp_path / "minimal.db", facts)


def test_a_chat_ends_with_its_branch_and_all_results_of_its_tool() -> None:
    said = _run("chat.py", 3)
    assert "a branch at the middle: " in said
    assert "100 results of 15,000 B after 840,000 B: finished, " in said


def test_a_conversation_calls_its_tool_in_each_turn(tmp_path: Path) -> None:
    path = tmp_path / "kando.db"

    figure = json.loads(_run("conversation.py", "run", 3, 200, path))
    _run("conversation.py", "load", 3, 200, path)
    _run("conversation.py", "strict", 3, 200, path)

    assert figure["facts"]["turns"] == 3


def test_the_exponent_of_a_square_is_two() -> None:
    code = "import conversation; print(conversation._exponent([1, 2, 4, 10], [3, 12, 48, 300]))"

    assert _evaluated(code) == pytest.approx(2)


def test_a_row_that_is_measured_again_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- table -->\n<!-- end of the table -->\nafter\n")
    code = (
        "import sys; from pathlib import Path; from table import Line, write\n"
        "lines = [Line(n, '1', 'cpu', [float(v)], 'x', [1.0]) for n, v in {}]\n"
        "write(Path(sys.argv[1]), lines, keeps_others=True)"
    )

    _run("-c", code.format([("a", 3), ("b", 4)]), path)
    _run("-c", code.format([("a", 5)]), path)

    text = path.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    rows = [line for line in text.splitlines() if line.startswith(("| a |", "| b |"))]
    assert [row.split(" | ")[3] for row in rows] == ["5", "4"]


def test_each_peer_has_a_script_and_requirements() -> None:
    code = "import json, peer; print(json.dumps([each.name for each in peer.PEERS]))"

    names = _evaluated(code)

    assert sorted(names) == sorted(path.stem for path in (_FOLDER / "peers").glob("*.py"))
    assert sorted(names) == sorted(path.stem for path in (_FOLDER / "peers").glob("*.txt"))


def test_a_peer_that_is_not_installed_says_so() -> None:
    code = (
        "import json, peer; each = peer.Peer('absent')\n"
        "print(json.dumps([each.is_installed, each.absence]))"
    )

    assert _evaluated(code) == [False, "absent: not installed"]


def test_every_listed_benchmark_of_a_module_that_exists_is_found() -> None:
    code = (
        "import json, run; from importlib import import_module as load\n"
        "targets = [each.split(':') for each in run._benchmarks().values()]\n"
        "print(json.dumps([callable(getattr(load(m), f)) for m, f in targets]))"
    )

    assert all(_evaluated(code))
