"""The table of situations in the docs is what happens, with the SDKs against loopback servers."""

from __future__ import annotations

import attrs
import pytest

from provider_situations import SITUATIONS, described, outcome, rows_in_docs, rows_of
from wire import Says, reaching

#: The libraries of clouds with Messages, by provider.
CLOUDS = {"bedrock": "boto3", "vertex": "google.auth"}


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_docs_say_what_the_ledger_holds_and_what_a_resume_does(runs, wire, name):
    situation = SITUATIONS[name]
    streaming = attrs.evolve(runs, is_streaming=situation.streams)
    found = {}
    for dialect, reply in situation.replies.items():
        server = wire(reply, Says())
        environ = reaching(dialect, server.url)
        environ |= {"KANDO_LLM_RETRIES": "0", "KANDO_LLM_TIMEOUT": situation.timeout}
        run, _ = streaming.start("sky", dialect, **environ)
        holds, asked = outcome(runs, run), len(server.seen)

        streaming.resume(run, dialect, **environ)

        then = "sent again" if len(server.seen) > asked else "already answered"
        found[dialect] = (holds, then)

    assert rows_in_docs(name) == rows_of(name, found)


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("name", [n for n, s in SITUATIONS.items() if "anthropic" in s.replies])
def test_the_rows_of_anthropic_hold_for_the_clouds_as_well(runs, wire, name, cloud):
    pytest.importorskip(CLOUDS[cloud])
    situation = SITUATIONS[name]
    streaming = attrs.evolve(runs, is_streaming=situation.streams)
    server = wire(situation.replies["anthropic"], Says())
    environ = reaching(cloud, server.url) | {"ANTHROPIC_VERTEX_PROJECT_ID": "our-project"}
    environ |= {"KANDO_LLM_RETRIES": "0", "KANDO_LLM_TIMEOUT": situation.timeout}

    run, _ = streaming.start("sky", f"{cloud}:m", **environ)
    holds, asked = outcome(runs, run), len(server.seen)
    streaming.resume(run, f"{cloud}:m", **environ)

    then = "sent again" if len(server.seen) > asked else "already answered"
    row = next(each for each in rows_in_docs(name) if "anthropic" in each or "| all |" in each)
    assert row.endswith(f"| {holds} | {then} |")


def test_the_docs_describe_every_situation() -> None:
    assert described() == list(SITUATIONS)
