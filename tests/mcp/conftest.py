"""Fixtures for the tests of kando-mcp: a folder with a store, a kit and servers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_host import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path / "place")
    monkeypatch.syspath_prepend(str(made.root / "installed"))
    monkeypatch.setenv("GATE", str(made.gate))
    yield made
    sys.modules.pop("tiny_kit", None)
