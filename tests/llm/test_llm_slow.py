"""Slow servers: silence is judged and not length, and every attempt is paid for once."""

from __future__ import annotations

import threading

import pytest

from kando.app.status import EXHAUSTED, FINISHED
from kando.responders.budget import Budget
from kando.responders.cancellation import cancellable
from kando.schema.events import LLM_RESPONSE, RESPONDER_FAILED
from kando.views.spending import Accounts
from kando_llm.anthropic import open_anthropic
from kando_llm.errors import Overloaded, ProviderTimeout, Unreachable
from kando_llm.openai import open_openai
from wire import Drips, Fails, HangsUp, Says, Stalls, reaching

ASKED = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}
OPENERS = {"anthropic": open_anthropic, "openai": open_openai}
AT_ONCE = {"retry-after": "0"}
PRICES = """
[[price]]
provider = "127.0.0.1"
model = "*"
input = 1.0
output = 5.0
date = 2026-11-20
source = "none"
"""


def spent(runs, run):
    """Return the accounts of a run."""
    accounts = Accounts()
    for event in runs.events(run):
        accounts = accounts.apply(event)
    return accounts


def test_a_server_that_is_slow_but_alive_is_asked_once(runs, wire, dialect):
    server = wire(Drips(Says("Slow.")))
    environ = {**reaching(dialect, server.url), "KANDO_LLM_TIMEOUT": "0.5"}

    run, done = runs.start("sky", dialect, **environ)

    assert done.status.state == FINISHED
    assert len(server.seen) == 1
    assert runs.events(run, LLM_RESPONSE)[0].data["text"] == "Slow."


def test_silence_is_not_retried_and_is_charged_with_its_worst_case(runs, wire, dialect, tmp_path):
    (tmp_path / "prices.toml").write_text(PRICES)
    server = wire(Stalls())
    environ = {
        **reaching(dialect, server.url),
        "KANDO_LLM_TIMEOUT": "0.3",
        "KANDO_LLM_RETRIES": "3",
        "KANDO_PRICES": str(tmp_path / "prices.toml"),
    }

    run, raised = runs.start("sky", dialect, **environ)

    assert type(raised) is ProviderTimeout
    assert len(server.seen) == 1
    (failed,) = runs.events(run, RESPONDER_FAILED)
    assert failed.data["usage"]["output_tokens"] == 100
    accounts = spent(runs, run)
    assert accounts.llm_calls == 1
    assert accounts.llm_cost_usd >= 100 * 5 / 1e6
    assert accounts.llm_tokens > 100


def test_an_attempt_without_an_answer_counts_in_the_next_process(runs, wire, dialect):
    server = wire(Stalls())
    environ = {**reaching(dialect, server.url), "KANDO_LLM_TIMEOUT": "0.3"}
    run, _ = runs.start("sky", dialect, **environ)

    with runs._store(**environ) as store:
        done = store.run(run).resume(llm=dialect, budget=Budget(max_llm_calls=1))

    assert done.status.state == EXHAUSTED
    assert len(server.seen) == 1


def test_calls_in_flight_next_to_one_that_fails_are_charged(runs, wire, dialect):
    server = wire(Stalls())
    environ = {**reaching(dialect, server.url), "KANDO_LLM_TIMEOUT": "0.5"}

    run, _ = runs.start("sky sea sun", dialect, **environ)

    assert spent(runs, run).llm_calls == len(server.seen)


def test_a_refused_attempt_is_retried_and_costs_nothing(runs, wire, dialect):
    server = wire(Fails(503, None, AT_ONCE), Fails(429, None, AT_ONCE), Says())

    run, done = runs.start("sky", dialect, **reaching(dialect, server.url))

    assert done.status.state == FINISHED
    assert len(server.seen) == 3
    assert spent(runs, run).llm_calls == 1


def test_a_broken_connection_is_retried_and_counts(runs, wire, dialect):
    server = wire(HangsUp(), Says())

    run, done = runs.start("sky", dialect, **reaching(dialect, server.url))

    assert done.status.state == FINISHED
    (answer,) = runs.events(run, LLM_RESPONSE)
    assert answer.data["lost"]["calls"] == 1
    assert spent(runs, run).llm_calls == len(server.seen) == 2


def test_the_attempts_that_were_lost_are_charged_with_the_last_failure(wire, dialect):
    environ = {**reaching(dialect, wire(HangsUp()).url), "KANDO_LLM_RETRIES": "1"}
    complete = OPENERS[dialect]("m", environ)

    with pytest.raises(Unreachable, match="after 2 attempts") as caught:
        complete(ASKED)
    complete.close()

    assert caught.value.spent["calls"] == 2
    assert caught.value.spent["usage"]["output_tokens"] == 2 * 50


def test_a_call_that_is_given_up_is_not_retried(wire, dialect):
    given_up = threading.Event()

    def answer(seen, before):
        given_up.set()
        return Fails(500, None, AT_ONCE)

    server = wire(answer=answer)
    complete = OPENERS[dialect]("m", {**reaching(dialect, server.url), "KANDO_LLM_RETRIES": "9"})

    with cancellable(given_up.is_set), pytest.raises(Overloaded):
        complete(ASKED)
    complete.close()

    assert len(server.seen) == 1


def test_a_server_that_asks_for_a_long_wait_is_not_asked_again(wire, dialect):
    server = wire(Fails(503, None, {"retry-after": "3600"}), Says())
    complete = OPENERS[dialect]("m", reaching(dialect, server.url))

    with pytest.raises(Overloaded) as caught:
        complete(ASKED)
    complete.close()

    assert caught.value.retry_after == 3600
    assert len(server.seen) == 1
