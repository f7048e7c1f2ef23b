"""Testing tools are imported explicitly, and import only what they need."""

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
        ("kando.testing.recalls", {"hypothesis"}),
        ("kando.testing.fixtures", {"hypothesis"}),
        ("kando.cli.main", {"kando.testing"}),
    ],
)
def test_a_module_imports_only_what_it_needs(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(sorted({absent!r} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_no_pytest_plugin_is_loaded_automatically() -> None:
    groups = {entry.group for entry in distribution("kando-core").entry_points}

    assert "pytest11" not in groups
