"""The offline providers as a plugin, and in a run."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

from kando.cache.llm import LLMCache
from kando.emit import ask
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import responder
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, make_event
from kando_llm.offline_provider import open_echo, open_scripted
from kando_llm.plugin import kando_providers


@responder("test.on_go", {"go"})
def on_go(event, world):
    """Ask two questions."""
    for text in ("the tides", "the moon"):
        yield ask([{"role": "user", "content": text}], max_tokens=50)


def run(complete):
    store = MemoryLedgerStore("r1")
    runtime = Runtime(store, [on_go, provider_executor(complete)], cache=LLMCache())
    runtime.run([make_event("go", "run:r1", "cli", [], {})])
    runtime.replay(strict=True)
    return [e.data["text"] for e in store.read_all() if e.type == LLM_RESPONSE]


def test_the_plugin_offers_the_offline_providers():
    offered = {spec.name: spec for spec in kando_providers()}

    assert {"echo", "scripted"} <= set(offered)
    assert offered["echo"].key_env == offered["scripted"].key_env == ()


@pytest.mark.parametrize("name", ["echo", "scripted"])
def test_every_target_that_the_plugin_names_exists(name):
    (spec,) = [each for each in kando_providers() if each.name == name]

    module, _, attribute = spec.target.partition(":")

    assert callable(getattr(import_module(module), attribute))
    assert spec.summary


def test_the_plugin_does_not_import_the_providers():
    code = "import sys, kando_llm.plugin; print('kando_llm.offline_provider' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "False"


def test_echo_answers_a_run_that_replays_strictly():
    assert run(open_echo("", {})) == [
        "Echo, no model answered: the tides",
        "Echo, no model answered: the moon",
    ]


def test_a_script_answers_a_run_that_replays_strictly(tmp_path):
    path = tmp_path / "script.json"
    script = {"answers": [{"contains": "moon", "text": "M"}], "default": "D"}
    path.write_text(json.dumps(script), encoding="utf-8")

    assert run(open_scripted(str(path), {})) == ["D", "M"]
