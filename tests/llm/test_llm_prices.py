"""Prices: data with a date and a source, replaceable, and unknown rather than wrong."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kando_llm.errors import ProviderError
from kando_llm.openai import open_openai
from kando_llm.prices import Price, Prices, load_prices
from wire import Says, reaching

OWN = """
[[price]]
provider = "{provider}"
model = "{model}"
input = 2.0
output = 8.0
cache_read = 0.5
date = 2026-11-20
source = "our contract"
"""
TALK = {"messages": [{"role": "user", "content": "How much is it?"}], "max_tokens": 100}


def usage(given: int, output: int, **more: int) -> dict[str, int]:
    return {"input_tokens": given, "output_tokens": output, **more}


def test_every_shipped_price_has_a_date_and_a_source():
    prices = load_prices({}).price

    assert len(prices) > 5
    for price in prices:
        assert price.source.startswith("https://")
        assert date(2026, 1, 1) <= price.date
        assert price.input <= price.output


def test_the_default_models_have_a_price():
    from kando_llm.endpoints import SERVERS

    for name in ("anthropic", "openai", "openrouter"):
        assert load_prices({}).of(name, SERVERS[name].model, 10) is not None


def test_cached_tokens_are_charged_at_their_own_price():
    price = Price("p", "m", 2.0, 8.0, date(2026, 1, 1), "s", cache_read=0.5, cache_write=4.0)

    assert price.usd(usage(1_000_000, 0)) == 2.0
    assert price.usd(usage(0, 1_000_000)) == 8.0
    cached = usage(1_000_000, 0, cache_read_tokens=500_000, cache_write_tokens=250_000)
    assert price.usd(cached) == 0.5 + 0.25 + 1.0
    plain = Price("p", "m", 2.0, 8.0, date(2026, 1, 1), "s")
    assert plain.usd(cached) == 2.0


@pytest.mark.parametrize(
    ("model", "is_known"),
    [
        ("claude-haiku-4-5", True),
        ("claude-haiku-4-5-20251001", True),
        ("claude-haiku-4-5-fast", False),
        ("claude-haiku-4", False),
        ("served-1", False),
    ],
)
def test_a_dated_version_has_the_price_of_its_model_and_no_other_name_is_guessed(model, is_known):
    cost = load_prices({}).cost("anthropic", model, usage(10, 10))

    assert (cost is not None) is is_known


def test_a_price_may_rise_with_the_length_of_the_input():
    prices = load_prices({})

    assert prices.cost("anthropic", "claude-haiku-5-5", usage(100_000, 0)) == 0.01
    assert prices.cost("anthropic", "claude-haiku-5-5", usage(200_000, 0)) == 0.1


def test_unreported_usage_has_no_cost():
    assert load_prices({}).cost("anthropic", "claude-haiku-4-5", {"input_tokens": 3}) is None


def test_a_users_price_file_takes_precedence_over_shipped_prices(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(OWN.format(provider="anthropic", model="claude-haiku-4-5"))
    environ = {"KANDO_PRICES": str(path)}

    assert load_prices(environ).cost("anthropic", "claude-haiku-4-5", usage(10**6, 0)) == 2.0
    assert load_prices(environ).of("openai", "gpt-5.4-mini", 0) is not None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("price = 3", r"expected list.* @ file\.price"),
        ("[[price]]\nmodel = 3", "required field 'provider' is missing"),
        (OWN.replace("2.0", "-2.0"), "input must be a number of at least 0"),
        (OWN.replace("2.0", "nan"), "input must be a number of at least 0"),
        (OWN.replace("2026-11-20", '"today"'), "expected a date"),
        (OWN + "more = 1", "unknown field 'more'"),
        ("[[price", "malformed"),
    ],
)
def test_a_malformed_price_file_is_refused_and_the_field_is_named(tmp_path, content, problem):
    path = tmp_path / "prices.toml"
    path.write_text(content)

    with pytest.raises(ProviderError, match=problem):
        load_prices({"KANDO_PRICES": str(path)})


def test_a_missing_price_file_is_refused(tmp_path):
    with pytest.raises(ProviderError, match="No such file"):
        load_prices({"KANDO_PRICES": str(tmp_path / "none.toml")})


def test_another_server_is_priced_by_its_host_and_never_as_the_provider(wire, tmp_path):
    server = wire(Says(model="gpt-5.4-mini", usage=(1000, 500, 500, 0)))
    path = tmp_path / "prices.toml"
    path.write_text(OWN.format(provider="127.0.0.1", model="*"))
    environ = reaching("openai", server.url)
    unknown = open_openai("gpt-5.4-mini", environ)
    known = open_openai("gpt-5.4-mini", environ | {"KANDO_PRICES": str(path)})

    free, paid = unknown(TALK), known(TALK)

    assert free["cost_usd"] is None
    assert unknown.worst_case_usd(TALK) is None
    assert paid["cost_usd"] == pytest.approx((1000 * 2 + 500 * 0.5 + 500 * 8) / 1e6)
    assert known.worst_case_usd(TALK) >= (100 * 8) / 1e6
    unknown.close()
    known.close()


def test_the_window_of_a_model_is_listed_or_unknown():
    prices = load_prices({})

    assert prices.window("anthropic", "claude-sonnet-4-5-20250929") == 200_000
    assert prices.window("openai", "gpt-4o") == 128_000
    assert prices.window("openai", "a-model-of-tomorrow") is None
    assert prices.window("127.0.0.1", "gpt-4o") is None


def test_a_long_conversation_gets_the_window_of_a_file_with_its_answer(wire, tmp_path):
    server = wire(*(Says(model="local", usage=(given, 5, 0, 0)) for given in (5000, 50, 5000)))
    path = tmp_path / "prices.toml"
    path.write_text(OWN.format(provider="127.0.0.1", model="local") + "window = 32000\n")
    asked = open_openai("local", reaching("openai", server.url) | {"KANDO_PRICES": str(path)})
    talk = {**TALK, "conversation": {"id": "c", "turn": 1}}

    long, short, alone = asked(talk), asked(talk), asked(TALK)

    assert long["window"] == 32_000
    assert "window" not in short
    assert "window" not in alone
    asked.close()


@pytest.mark.parametrize("window", ["0", "-1", '"big"', "1.5"])
def test_a_malformed_window_in_a_file_is_refused(tmp_path, window):
    path = tmp_path / "prices.toml"
    path.write_text(OWN.format(provider="p", model="m") + f"window = {window}\n")
    with pytest.raises(ProviderError, match="window"):
        load_prices({"KANDO_PRICES": str(path)})


prices = st.floats(0, 100)
tokens = st.integers(0, 300_000)


@given(
    st.lists(st.tuples(prices, prices, prices, prices, tokens), min_size=1, max_size=3),
    tokens,
    tokens,
    st.floats(0, 1),
    st.floats(0, 1),
)
# A band in the middle may be the most expensive.
@example([(0.0, 0.0, 0.0, 0.0, 0), (0.0, 0.0, 0.0, 0.0, 2), (1.0, 0.0, 0.0, 0.0, 1)], 2, 0, 0, 0)
def test_no_call_costs_more_than_its_worst_case(bands, given_tokens, output, read, written):
    entries = [
        Price("p", "m", i, o, date(2026, 1, 1), "s", r, w, 0 if number == 0 else over)
        for number, (i, o, r, w, over) in enumerate(bands)
    ]
    cached = int(given_tokens * read)
    used = usage(
        given_tokens,
        output,
        cache_read_tokens=cached,
        cache_write_tokens=int((given_tokens - cached) * written),
    )
    book = Prices(entries)

    cost = book.cost("p", "m", used)
    worst = book.worst_case("p", "m", given_tokens + 7, output + 7)

    assert cost is not None
    assert worst is not None
    assert cost <= worst * (1 + 1e-9) + 1e-8
