"""Fixtures for tests of kando-mcp with third-party implementations of the protocol."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BIN = ROOT / ".mcp-tools" / "node_modules" / ".bin"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment with the installed tools and an empty store."""
    assert BIN.exists(), "make test-mcp-external installs what this needs"
    return {
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")]),
        "HOME": str(tmp_path),
        "KANDO_LEDGER": f"sqlite:{tmp_path}/store.sqlite",
    }
