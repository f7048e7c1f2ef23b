"""What is for tests is imported by those who ask for it, and brings no more than it needs."""

import subprocess
import sys
from importlib.metadata import distribution

import pytest


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("kando.testing.runs", {"hypothesis", "pytest"}),
        ("kando.testing.golden", {"hypothesis", "pytest"}),
        ("kando.testing.kits", {"hypothesis", "pytest"}),
        ("kando.testing.ledgers", {"hypothesis"}),
        ("kando.testing.providers", {"hypothesis"}),
        ("kando.testing.fixtures", {"hypothesis"}),
        ("kando.cli.main", {"kando.testing"}),
    ],
)
def test_a_module_imports_only_what_it_uses(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(sorted({absent!r} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_nothing_loads_itself_into_the_tests_of_others() -> None:
    groups = {entry.group for entry in distribution("kando-core").entry_points}

    assert "pytest11" not in groups
