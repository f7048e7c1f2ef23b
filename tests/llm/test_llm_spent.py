"""The usage that a server reports is charged, even if its answer fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from kando_llm.anthropic import open_anthropic
from kando_llm.errors import BadReply, Overloaded
from kando_llm.openai import open_openai
from wire import Fails, Says, completion, completion_events, message, message_events, reaching

OPENERS = {"anthropic": open_anthropic, "openai": open_openai}
PRICES = """
[[price]]
provider = "127.0.0.1"
model = "*"
input = 1000.0
output = 10000.0
date = 2026-11-21
source = "this test"
"""
WHOLE = {"input_tokens": 11, "output_tokens": 7, "cache_read_tokens": 0, "reasoning_tokens": 0}
COST = 0.081


@pytest.fixture
def opened(wire, dialect, tmp_path: Path):
    """Return a function that opens a provider whose server sends a given reply."""
    (tmp_path / "prices.toml").write_text(PRICES)
    providers = []

    def open_on(reply):
        environ = {"KANDO_PRICES": str(tmp_path / "prices.toml"), "KANDO_LLM_RETRIES": "0"}
        environ |= reaching(dialect, wire(reply).url)
        providers.append(OPENERS[dialect]("m", environ))
        return providers[-1]

    yield open_on
    for provider in providers:
        provider.close()


def asked(text: str = "?") -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 50}


def test_a_truncated_stream_has_spent_the_usage_it_reported(opened, dialect):
    events = message_events if dialect == "anthropic" else completion_events
    size = len("".join(events(Says())))

    with pytest.raises(BadReply) as caught:
        opened(Says(cut=size - 8)).stream(asked(), lambda piece: None)

    assert caught.value.spent == {"usage": WHOLE, "cost_usd": COST, "calls": 1}


def test_a_stream_truncated_before_it_reports_usage_counts_with_its_worst_case(opened, dialect):
    with pytest.raises(BadReply) as caught:
        opened(Says(cut=20)).stream(asked(), lambda piece: None)

    spent = caught.value.spent
    assert spent is not None
    assert (spent["usage"]["output_tokens"], spent["calls"]) == (50, 1)
    assert spent["usage"]["input_tokens"] > 11
    assert spent["cost_usd"] > COST


def test_an_incomplete_body_has_spent_the_usage_it_reports(opened, dialect):
    whole = message(Says()) if dialect == "anthropic" else completion(Says())
    if dialect == "anthropic":
        whole["stop_reason"] = None
    else:
        whole["choices"] = []

    with pytest.raises(BadReply) as caught:
        opened(Fails(200, whole))(asked())

    assert caught.value.spent == {"usage": WHOLE, "cost_usd": COST, "calls": 1}


def test_an_error_inside_a_stream_has_spent_the_usage_reported_before(opened, dialect):
    if dialect != "anthropic":
        pytest.skip("OpenAI reports the usage last")
    begun = next(message_events(Says()))
    error = '{"type": "error", "error": {"type": "overloaded_error", "message": "Too much."}}'
    stream = f"{begun}event: error\ndata: {error}\n\n"

    with pytest.raises(Overloaded) as caught:
        opened(Fails(200, stream, {"content-type": "text/event-stream"})).stream(
            asked(), lambda piece: None
        )

    assert caught.value.spent is not None
    assert caught.value.spent["usage"]["input_tokens"] == 11


@pytest.mark.parametrize("usage", [{}, None, "much", {"input_tokens": -1}])
def test_a_body_without_valid_usage_counts_with_its_worst_case(opened, usage):
    with pytest.raises(BadReply) as caught:
        opened(Fails(200, {"usage": usage}))(asked())

    spent = caught.value.spent
    assert spent is not None
    assert (spent["usage"]["output_tokens"], spent["calls"]) == (50, 1)
    assert spent["usage"]["input_tokens"] > 11
    assert spent["cost_usd"] > COST


def test_an_unknown_price_is_null(wire, dialect):
    whole = message(Says()) if dialect == "anthropic" else completion(Says())
    whole["stop_reason"] = whole["choices"] = None
    provider = OPENERS[dialect]("m", reaching(dialect, wire(Fails(200, whole)).url))

    with pytest.raises(BadReply) as caught:
        provider(asked())

    assert caught.value.spent == {"usage": WHOLE, "cost_usd": None, "calls": 1}
    provider.close()


def test_a_run_is_charged_for_an_incomplete_answer(runs, wire, dialect, tmp_path: Path):
    (tmp_path / "prices.toml").write_text(PRICES)
    whole = message(Says()) if dialect == "anthropic" else completion(Says())
    whole["stop_reason"] = whole["choices"] = None
    server = wire(Fails(200, whole), Says())
    environ = reaching(dialect, server.url) | {"KANDO_PRICES": str(tmp_path / "prices.toml")}

    run, failed = runs.start("bridges", dialect, **environ)
    assert isinstance(failed, BadReply)
    (event,) = runs.events(run, "responder.failed")
    assert (event.data["usage"], event.data["cost_usd"]) == (WHOLE, COST)
    for name, value in environ.items():
        runs.environ[name] = value
    status = runs.resume(run, dialect).status

    assert round(status.llm_cost_usd, 9) == 2 * COST
    assert status.llm_answered == 1
