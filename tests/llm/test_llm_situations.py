"""The table of situations in the docs is what happens, with the SDKs against loopback servers."""

from __future__ import annotations

import attrs
import pytest

from provider_situations import SITUATIONS, described, outcome, rows_in_docs, rows_of
from wire import Says, reaching


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


def test_the_docs_describe_every_situation() -> None:
    assert described() == list(SITUATIONS)
