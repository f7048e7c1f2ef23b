"""Swapping the provider takes one flag: the run differs in model, cost and text only."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from kando.schema.events import OBSERVED
from wire import Says, reaching

#: Fields that depend on the model.
DIFFERS = {"text", "cost_usd", "usage", "model", "stop_raw"}


def course(events: list[Any]) -> list[tuple[Any, ...]]:
    """Return the events, without fields that depend on the model or were measured."""

    def rest(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: rest(v) for k, v in value.items() if k not in DIFFERS | {OBSERVED}}

    return [
        (e.position, e.id, e.type, e.actor, e.cause, e.lineage_key, rest(e.data)) for e in events
    ]


def test_the_same_run_on_three_providers_differs_in_model_cost_and_text_only(runs, wire, tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"default": "Scripted.", "answers": []}))
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nprovider = "127.0.0.1"\nmodel = "*"\ninput = 1.0\noutput = 5.0\n'
        'date = 2026-11-20\nsource = "none"\n'
    )
    environ = {"KANDO_PRICES": str(prices)}
    servers = {name: wire(Says(f"Of {name}.", model=name)) for name in ("anthropic", "openai")}
    for name, server in servers.items():
        environ |= reaching(name, server.url)

    found = {}
    for llm in (f"scripted:{script}", "anthropic:claude-x", "openai:gpt-x"):
        run, done = runs.start("sky sea land", llm, **environ)
        assert done.status.state == "finished"
        found[llm.partition(":")[0]] = runs.events(run)

    courses = [course(events) for events in found.values()]
    assert courses[0] == courses[1] == courses[2]
    told = {
        name: {(e.data["text"], e.data["model"]) for e in events if e.type == "llm.response"}
        for name, events in found.items()
    }
    assert told == {
        "scripted": {("Scripted.", "scripted")},
        "anthropic": {("Of anthropic.", "anthropic")},
        "openai": {("Of openai.", "openai")},
    }
    costs = [e.data["cost_usd"] for e in found["openai"] if e.type == "llm.response"]
    assert costs == [pytest.approx((11 + 7 * 5) / 1e6)] * 3


def test_a_request_may_name_another_provider_than_the_runs(runs, wire):
    from kando.app.providers import open_provider

    one, two = wire(Says("one")), wire(Says("two"))
    environ = reaching("anthropic", one.url) | reaching("openai", two.url)
    chosen = open_provider("anthropic:claude-x", runs.plugins, environ)
    asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}

    texts = [
        chosen({**asked, "model": model})["text"]
        for model in ("default", "anthropic:claude-x", "openai:gpt-y", "gpt-z", "claude-other")
    ]
    chosen.close()

    assert texts == ["one", "one", "two", "two", "one"]
    assert [seen.body["model"] for seen in two.seen] == ["gpt-y", "gpt-z"]
    assert [seen.body["model"] for seen in one.seen] == ["claude-x", "claude-x", "claude-other"]


def test_an_offline_provider_answers_for_every_model(runs):
    from kando.app.providers import open_provider

    echo = open_provider("echo", runs.plugins, {})

    answer = echo({"messages": [{"role": "user", "content": "Hi"}], "model": "openai:gpt-y"})

    assert answer["model"] == "echo"


@pytest.mark.parametrize(
    "code",
    [
        "import kando_llm.plugin",
        "from kando.cli.main import main; main(['--help'])",
        "from kando.cli.main import main; main(['plugins'])",
        "import kando.app.providers as p, kando.app.builtin as b;"
        "p.open_provider('echo', b.installed_plugins({}), {})("
        "{'messages': [{'role': 'user', 'content': 'Hi'}]})",
    ],
    ids=["plugin", "kando --help", "kando plugins", "--llm echo"],
)
def test_no_sdk_is_imported_before_its_provider_is_opened(code, tmp_path):
    heavy = "print(sorted({n.partition('.')[0] for n in sys.modules} & HEAVY))"
    names = "HEAVY = {'anthropic', 'openai', 'httpx2', 'httpx', 'pydantic', 'pydantic_core'}"
    guarded = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n{names}\n{heavy}"

    done = subprocess.run(
        [sys.executable, "-c", guarded],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )

    assert re.search(r"^\[\]$", done.stdout, re.MULTILINE), done.stdout
