"""A process whose run was taken over makes no further attempt at a call."""

from __future__ import annotations

import pytest

from kando.errors import RunBusy
from kando.responders.attempts import checked_attempts
from kando_llm.anthropic import open_anthropic
from kando_llm.openai import open_openai
from wire import AT_ONCE, Fails, reaching


def test_no_attempt_follows_after_a_run_was_taken_over(wire, dialect):
    server = wire(Fails(500, "no", AT_ONCE))
    opener = {"anthropic": open_anthropic, "openai": open_openai}[dialect]
    environ = {**reaching(dialect, server.url), "KANDO_LLM_RETRIES": "4"}
    provider = opener("m", environ)
    request = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 5}

    def check() -> None:
        if len(server.seen) == 2:
            msg = "r1 was taken over."
            raise RunBusy(msg)

    with checked_attempts(check), pytest.raises(RunBusy, match="taken over"):
        provider(request)
    provider.close()

    assert len(server.seen) == 2


def test_attempts_outside_a_run_are_not_checked(wire, dialect):
    server = wire(Fails(500, "no", AT_ONCE))
    opener = {"anthropic": open_anthropic, "openai": open_openai}[dialect]
    provider = opener("m", {**reaching(dialect, server.url), "KANDO_LLM_RETRIES": "1"})

    with pytest.raises(Exception, match="no"):
        provider({"messages": [{"role": "user", "content": "?"}], "max_tokens": 5})
    provider.close()

    assert len(server.seen) == 2
