"""Fixtures of the plugin manager's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin_installation import Installation


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    installed = Installation(tmp_path, monkeypatch)
    yield installed
    for module in installed.modules:
        sys.modules.pop(module, None)
