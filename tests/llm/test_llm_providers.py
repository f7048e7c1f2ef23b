"""Providers by name: where their requests go, and what their models cost."""

from __future__ import annotations

import attrs
import pytest

from kando_llm.endpoints import SERVERS, endpoint_of
from kando_llm.errors import MissingKey, ProviderError
from kando_llm.openai import open_azure, open_mistral, open_ollama
from kando_llm.plugin import kando_providers
from kando_llm.prices import load_prices
from wire import Says

HI = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
HOSTED = {
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-flash"),
    "mistral": ("https://api.mistral.ai/v1", "mistral-large-latest"),
    "deepseek": ("https://api.deepseek.com/v1", "deepseek-chat"),
    "xai": ("https://api.x.ai/v1", "grok-4"),
    "groq": ("https://api.groq.com/openai/v1", "openai/gpt-oss-20b"),
}


@pytest.mark.parametrize("provider", HOSTED)
def test_a_hosted_provider_has_a_server_a_key_and_prices(provider):
    url, model = HOSTED[provider]
    key = f"{provider.upper()}_API_KEY"

    endpoint = endpoint_of(SERVERS[provider], {key: "key-0123456789"})

    assert (endpoint.base_url, endpoint.key, endpoint.is_own) == (url, "key-0123456789", True)
    assert key in next(each for each in kando_providers() if each.name == provider).key_env
    usage = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
    cost = load_prices({}).cost(provider, model, usage)
    assert cost is not None
    assert cost > 0
    with pytest.raises(MissingKey, match=key):
        endpoint_of(SERVERS[provider], {})


def test_a_price_of_ours_takes_precedence_over_a_published_one(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        '[[price]]\nprovider = "xai"\nmodel = "grok-4"\ninput = 1.0\noutput = 2.0\n'
        'date = 2026-11-20\nsource = "a contract"\n'
    )
    usage = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}

    assert load_prices({"KANDO_PRICES": str(path)}).cost("xai", "grok-4", usage) == 3.0


def test_a_published_price_bounds_the_worst_case():
    prices, usage = load_prices({}), {"input_tokens": 900, "output_tokens": 90}

    worst = prices.worst_case("gemini", "gemini-2.5-flash", 1000, 100)

    assert worst is not None
    assert worst >= (prices.cost("gemini", "gemini-2.5-flash", usage) or 0) > 0
    assert prices.worst_case("gemini", "no-such-model", 1000, 100) is None
    assert prices.worst_case("models.example", "gemini-2.5-flash", 1000, 100) is None


def test_mistral_gets_no_field_that_it_refuses(wire):
    server = wire(Says())
    complete = open_mistral("m", {"MISTRAL_BASE_URL": f"{server.url}/v1"})
    complete(HI)
    complete.close()

    assert "stream_options" not in server.seen[0].body


def azure(url: str, **more: str) -> dict[str, str]:
    return {"AZURE_OPENAI_ENDPOINT": url, "AZURE_OPENAI_API_KEY": "key-of-azure-0123", **more}


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({}, "/openai/v1/chat/completions"),
        (
            {"AZURE_OPENAI_API_VERSION": "2024-10-21"},
            "/openai/deployments/our%20model/chat/completions?api-version=2024-10-21",
        ),
        (
            {"OPENAI_API_VERSION": "2025-01-01"},
            "/openai/deployments/our%20model/chat/completions?api-version=2025-01-01",
        ),
    ],
)
def test_azure_gets_its_key_in_a_header_of_its_own_and_the_version_in_the_url(wire, more, path):
    server = wire(Says())
    complete = open_azure("our model", azure(server.url, **more))
    complete(HI)
    complete.close()

    (seen,) = server.seen
    assert seen.path == path
    assert seen.headers["api-key"] == "key-of-azure-0123"
    assert "authorization" not in seen.headers


def test_a_base_url_keeps_its_query(wire):
    server = wire(Says())
    url = f"{server.url}/openai/deployments/m?api-version=2024-10-21"
    complete = open_azure(
        "m", {"AZURE_OPENAI_BASE_URL": url, "AZURE_OPENAI_ENDPOINT_KEY": "k-0123"}
    )
    complete(HI)
    complete.close()

    assert server.seen[0].path == "/openai/deployments/m/chat/completions?api-version=2024-10-21"
    assert server.seen[0].headers["api-key"] == "k-0123"


def test_azure_without_a_server_names_the_variable():
    with pytest.raises(ProviderError, match="Set AZURE_OPENAI_ENDPOINT"):
        open_azure("m", {"AZURE_OPENAI_API_KEY": "key-of-azure-0123"})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("models", "http://models:11434/v1"),
        ("10.0.0.5:9000", "http://10.0.0.5:9000/v1"),
        (":9000", "http://127.0.0.1:9000/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000/v1"),
        ("http://models:80/", "http://models:80/v1"),
        ("https://models.example/ollama", "https://models.example/ollama/v1"),
        ("[::1]", "http://[::1]:11434/v1"),
        ("", "http://localhost:11434/v1"),
    ],
)
def test_ollama_is_found_where_its_own_variable_says(host, url):
    assert endpoint_of(SERVERS["ollama"], {"OLLAMA_HOST": host}).base_url == url


def test_a_base_url_takes_precedence_over_the_host_of_ollama(wire):
    server = wire(Says())
    complete = open_ollama("m", {"OLLAMA_HOST": "elsewhere", "OLLAMA_BASE_URL": f"{server.url}/v1"})
    complete(HI)
    complete.close()

    assert len(server.seen) == 1


def test_no_provider_shares_a_prefix_with_another():
    prefixes = [each.prefix for each in SERVERS.values()]

    assert len(prefixes) == len(set(prefixes))
    assert all(attrs.fields_dict(type(each)) for each in SERVERS.values())
