"""Every provider of this package passes the provider suite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kando.testing.providers import ProviderSuite
from kando_llm.anthropic import open_anthropic
from kando_llm.cassette import open_recorded
from kando_llm.clouds import open_bedrock, open_vertex
from kando_llm.offline_provider import open_echo, open_scripted
from kando_llm.openai import (
    open_compatible,
    open_openai,
    open_openai_responses,
    open_openrouter,
)
from wire import Says, Wire, reaching


class TestEcho(ProviderSuite):
    def open_provider(self, path: Path):
        return open_echo("", {})


class TestScripted(ProviderSuite):
    def open_provider(self, path: Path):
        script = {"answers": [{"contains": "log", "text": "A list.", "cost_usd": 0.5}]}
        (path / "script.json").write_text(json.dumps(script))
        return open_scripted(str(path / "script.json"), {})


class TestRecorded(ProviderSuite):
    def open_provider(self, path: Path):
        return open_recorded(str(path / "tape.jsonl"), {"KANDO_RECORD": "echo"})


class Live(ProviderSuite):
    """A provider that calls a loopback server."""

    secrets = ("key-for-the-loopback",)
    says = Says("A list.", usage=(11, 7, 3, 2))

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        with Wire(lambda seen, before: self.says) as server:
            self.url = server.url
            yield


class TestAnthropic(Live):
    def open_provider(self, path: Path):
        return open_anthropic("claude-x", reaching("anthropic", self.url))


class TestOpenAI(Live):
    def open_provider(self, path: Path):
        prices = path / "prices.toml"
        prices.write_text(
            '[[price]]\nprovider = "127.0.0.1"\nmodel = "*"\ninput = 3.0\noutput = 9.0\n'
            'date = 2026-11-20\nsource = "none"\n'
        )
        environ = reaching("openai", self.url) | {"KANDO_PRICES": str(prices)}
        return open_openai("gpt-x", environ)


class TestOpenAIResponses(Live):
    def open_provider(self, path: Path):
        return open_openai_responses("gpt-x", reaching("openai-responses", self.url))


class TestBedrock(Live):
    def open_provider(self, path: Path):
        pytest.importorskip("boto3")
        return open_bedrock("anthropic.claude-x", reaching("bedrock", self.url))


class TestVertex(Live):
    def open_provider(self, path: Path):
        pytest.importorskip("google.auth")
        place = {"ANTHROPIC_VERTEX_PROJECT_ID": "our-project"}
        return open_vertex("claude-x", {**place, **reaching("vertex", self.url)})


class TestOpenRouter(Live):
    says = Says("A list.", cost=0.01)

    def open_provider(self, path: Path):
        environ = {
            "OPENROUTER_BASE_URL": f"{self.url}/v1",
            "OPENROUTER_ENDPOINT_KEY": "key-for-the-loopback",
        }
        return open_openrouter("maker/model", environ)


class TestCompatible(Live):
    says = Says("A list.", usage=None)

    def open_provider(self, path: Path):
        environ = {
            "OPENAI_COMPATIBLE_BASE_URL": f"{self.url}/v1",
            "OPENAI_COMPATIBLE_ENDPOINT_KEY": "key-for-the-loopback",
        }
        return open_compatible("local", environ)
