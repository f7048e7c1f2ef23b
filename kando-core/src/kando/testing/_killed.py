"""Tests that a durable store keeps what a process wrote that was killed right after the call returned."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.schema.events import make_event

__all__ = ["KilledLedgerTests", "KilledSubstrateTests", "run_and_be_killed"]

_DONE = b"done\n"

#: The batches that the killed process appends.
_BATCHES = (1, 600, 1)

_PROGRAM = """
import json, sys
sys.path[:], arguments = json.load(sys.stdin)
from kando.testing._killed import run_and_be_killed
run_and_be_killed(*arguments)
"""


class KilledLedgerTests:
    """A mix-in of `kando.testing.ledgers.LedgerContract`."""

    is_durable = True

    def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
        """Return the ledger `run_id` at `path`; create it if it does not exist."""
        raise NotImplementedError  # pragma: no cover

    def test_what_a_killed_process_appended_is_kept(self, tmp_path: Path) -> None:
        _run_in_other_process(self, "_append_and_be_killed", tmp_path / "store")

        ledger = self.make_ledger(tmp_path / "store", "r1")
        assert [event.data["n"] for event in ledger.read_all()] == list(range(sum(_BATCHES)))
        assert ledger.append([make_event("more", "", "x", [], {})]) == sum(_BATCHES) + 1
        ledger.close()

    def _append_and_be_killed(self, path: Path) -> object:
        ledger = self.make_ledger(path, "r1")
        _append(ledger)
        return ledger


class KilledSubstrateTests:
    """A mix-in of `kando.testing.substrates.SubstrateContract`."""

    is_durable = True

    def open_substrate(self, path: Path) -> Substrate:
        """Return the substrate at `path`; create it if it does not exist."""
        raise NotImplementedError  # pragma: no cover

    def test_what_a_killed_process_stored_is_kept(self, tmp_path: Path) -> None:
        _run_in_other_process(self, "_store_and_be_killed", tmp_path / "store")

        with self.open_substrate(tmp_path / "store") as substrate:
            whole = sum(_BATCHES)
            assert [info.id for info in substrate.ledgers()] == ["b1", "r1"]
            assert [event.data["n"] for event in substrate.open("r1").read_all()] == [*range(whole)]
            branch = substrate.open("b1")
            assert [event.data["n"] for event in branch.read(500)] == [500, *range(whole)]
            assert [each.key for each in substrate.inbox("r1")] == ["k"]
            assert substrate.cached("b1", "key") == b"response"

    def _store_and_be_killed(self, path: Path) -> object:
        substrate = self.open_substrate(path)
        _append(substrate.create("r1"))
        _append(substrate.fork("r1", 501, "b1"))
        substrate.deliver("r1", InboxEntry("k", make_event("note", "", "x", [], {})))
        substrate.cache("r1", "key", b"response")
        return substrate


def _append(ledger: LedgerStore) -> None:
    n = 0
    for size in _BATCHES:
        ledger.append([make_event("thing", "", "x", [], {"n": n + i}) for i in range(size)])
        n += size


def _run_in_other_process(suite: Any, method: str, path: Path) -> None:
    """Call a method of the suite in a process that kills itself when the method has returned."""
    cls = type(suite)
    if not suite.is_durable:
        pytest.skip("the store is not durable")
    if "<locals>" in cls.__qualname__:
        pytest.skip("another process cannot import a suite that a function defines")
    try:
        place = cls.__module__, inspect.getfile(cls), cls.__qualname__
        given = json.dumps([sys.path, [*place, vars(suite), method, str(path)]])
    except (TypeError, ValueError) as error:
        pytest.skip(f"the suite cannot be passed to another process: {error}")
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=given.encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ended.stdout.endswith(_DONE), ended.stderr.decode(errors="replace")


def run_and_be_killed(
    module: str, file: str, qualname: str, state: dict[str, Any], method: str, path: str
) -> None:
    """Call a method of a suite, and kill this process before it can write anything more.

    Args:
        module: of the suite's class.
        file: of the module, if it cannot be imported by name.
        qualname: of the class.
        state: of the suite, as JSON.
        method: that is called with `path`.
        path: of the store.
    """
    found: Any = _module(module, file)
    for name in qualname.split("."):
        found = getattr(found, name)
    suite = found.__new__(found)
    vars(suite).update(state)
    # Kept, so that nothing is closed, and so perhaps written, before the end.
    opened = getattr(suite, method)(Path(path))
    os.write(1, _DONE)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    raise AssertionError(opened)  # pragma: no cover


def _module(name: str, file: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        spec = spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
