"""Fixtures for tests of kits and substrates; pytest loads them only if a test project lists them.

List them in the ``conftest.py`` at the root of the tests, or in a test module::

    pytest_plugins = ["kando.testing.fixtures"]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from kando.app.builtin import installed_plugins
from kando.app.substrates import open_substrate
from kando.errors import ConfigurationError, StoreError
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.substrate import Substrate
from kando.testing.runs import Answer, CrashingLedger, KandoRun, ScriptedLLM, run_kit

__all__ = [
    "crash_at",
    "installed_ledger",
    "installed_substrate",
    "kando_run",
    "pytest_generate_tests",
    "scripted_llm",
]


@pytest.fixture
def kando_run() -> Callable[..., KandoRun]:
    """Return `kando.testing.runs.run_kit`: ``kando_run(kit, goal, llm=..., ledger=...)``."""
    return run_kit


@pytest.fixture
def scripted_llm() -> Callable[..., ScriptedLLM]:
    """Return a function that creates a language model: ``scripted_llm({"part": "text"}, "else")``.

    Instead of a text, an answer may be the data of an ``llm.response``.
    """

    def make(
        answers: Mapping[str, Answer] | None = None, default: Answer | None = None
    ) -> ScriptedLLM:
        return ScriptedLLM(answers or {}, default)

    return make


@pytest.fixture
def crash_at() -> Callable[..., CrashingLedger]:
    """Return a function that creates a ledger which crashes at `n` events: ``crash_at(n)``.

    ``crash_at(n, ledger)`` wraps an existing ledger. Its attribute ``inner`` survives the crash.
    """

    def make(n: int, ledger: LedgerStore | None = None) -> CrashingLedger:
        return CrashingLedger(ledger or MemoryLedgerStore("r1"), n)

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests that use `installed_substrate` with every installed substrate."""
    if "installed_substrate" in metafunc.fixturenames:
        names = [offered.spec.name for offered in installed_plugins(os.environ).substrates()]
        metafunc.parametrize("installed_substrate", names, indirect=True)


@pytest.fixture
def installed_substrate(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Substrate]:
    """Yield an open, empty substrate of each installed kind.

    It is opened from ``NAME:{tmp_path}/store``. A substrate on a server is opened from the
    environment variable ``KANDO_TEST_URL_{NAME}``; if that is not set, the test is skipped.
    """
    name: str = request.param
    variable = f"KANDO_TEST_URL_{name.upper().replace('-', '_')}"
    url = os.environ.get(variable, f"{name}:{tmp_path}/store")
    try:
        opened = open_substrate(url, lambda: installed_plugins(os.environ))
    except (StoreError, ConfigurationError) as error:
        pytest.skip(f"substrate {name!r} needs {variable}: {error.message}")
    with opened:
        yield opened


@pytest.fixture
def installed_ledger(installed_substrate: Substrate) -> Iterator[LedgerStore]:
    """Yield an empty ledger ``r1`` of each installed substrate."""
    ledger = installed_substrate.create("r1")
    yield ledger
    ledger.close()
