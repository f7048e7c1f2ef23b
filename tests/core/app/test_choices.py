"""The choice of substrate and provider: from an option, the environment, or a default."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kando.app.builtin import installed_plugins
from kando.app.providers import choose_provider, keys_without_provider
from kando.app.store import open_store
from kando.app.substrates import default_path, open_substrate, substrate_url
from kando.errors import ConfigurationError
from kando.ledger.memory import MemorySubstrate
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.plugins import Plugins, ProviderSpec, SubstrateSpec, UnknownPlugin, hookimpl


class Offers:
    """A plugin with providers and a substrate."""

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [
            ProviderSpec("ours", "offered:open_ours", ("ANTHROPIC_API_KEY",)),
            ProviderSpec("routed", "offered:open_routed", ("OPENROUTER_API_KEY",)),
            ProviderSpec("broken", "offered:open_nothing"),
        ]

    @hookimpl
    def kando_substrates(self) -> list[SubstrateSpec]:
        return [SubstrateSpec("odd", "offered:open_nothing", ("odd",))]


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """Return the built-in plugins and `Offers`."""

    def opener(name: str) -> Callable[..., Any]:
        return lambda argument, environ: lambda request: {"text": f"{name}:{argument}"}

    module = ModuleType("offered")
    vars(module)["open_ours"] = opener("ours")
    vars(module)["open_routed"] = opener("routed")
    vars(module)["open_nothing"] = lambda *arguments, **options: None
    monkeypatch.setitem(sys.modules, "offered", module)
    plugins = installed_plugins({"KANDO_PLUGINS": ""})
    plugins.register(Offers(), name="offers")
    return plugins


def test_the_substrate_is_the_option_else_kando_ledger_else_eventstore_url_else_a_file() -> None:
    environ = {"KANDO_LEDGER": "sqlite:a", "EVENTSTORE_URL": "http://localhost:2113"}

    assert substrate_url("memory:", environ) == "memory:"
    assert substrate_url(None, environ) == "sqlite:a"
    assert substrate_url(None, {**environ, "KANDO_LEDGER": ""}) == "http://localhost:2113"
    assert substrate_url(None, {}) == f"sqlite:{default_path()}"


def test_the_default_file_is_in_the_data_directory_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    assert default_path().is_relative_to(tmp_path)
    assert default_path().name == "kando.sqlite"


@pytest.mark.parametrize("form", ["sqlite:{}", "sqlite://{}", "SQLITE:{}"])
def test_a_file_may_be_written_in_several_ways(plugins: Plugins, tmp_path: Path, form: str) -> None:
    path = tmp_path / "a b.sqlite"

    with open_substrate(form.format(path), lambda: plugins) as substrate:
        assert isinstance(substrate, SQLiteSubstrate)
        assert substrate.path == path


def test_a_missing_file_is_read_as_empty_and_not_created(plugins: Plugins, tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite"

    with open_substrate(f"sqlite:{path}", lambda: plugins, read_only=True) as substrate:
        assert list(substrate.ledgers()) == []
    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "error", "says"),
    [
        ("runs.sqlite", ConfigurationError, "sqlite:runs.sqlite"),
        ("c:/runs.sqlite", ConfigurationError, "sqlite:c:/runs.sqlite"),
        ("sqlite:", ConfigurationError, "names no file"),
        ("sqlite://host/file", ConfigurationError, "names no file"),
        ("sqlit:x", UnknownPlugin, "'sqlite'"),
        ("odd:x", ConfigurationError, "not a Substrate"),
    ],
)
def test_a_url_of_an_unknown_substrate_is_refused_with_the_cure(
    plugins: Plugins, url: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        open_substrate(url, lambda: plugins)


def test_a_context_opens_its_substrate_once_and_closes_it(plugins: Plugins) -> None:
    with open_store("memory:", plugins=plugins, environ={}) as store:
        writable = store.context.substrate(read_only=False)
        assert isinstance(writable, MemorySubstrate)
        assert store.context.substrate() is writable
        writable.create("r1")
        assert store.context.ledger("r1").stream_name() == "run:r1"


def answer_of(plugins: Plugins, named: str | None, environ: dict[str, str]) -> str | None:
    provider = choose_provider(named, plugins, environ)
    return f"{provider.name}:{provider.argument}" if provider else None


def test_the_provider_is_the_option_else_kando_llm_else_that_of_the_first_key(
    plugins: Plugins,
) -> None:
    keys = {"ANTHROPIC_API_KEY": "a", "OPENROUTER_API_KEY": "o"}

    assert answer_of(plugins, "ours:model:x", {"KANDO_LLM": "routed", **keys}) == "ours:model:x"
    assert answer_of(plugins, None, {"KANDO_LLM": "routed", **keys}) == "routed:"
    assert answer_of(plugins, None, keys) == "routed:"
    assert answer_of(plugins, None, {**keys, "OPENROUTER_API_KEY": ""}) == "ours:"
    assert answer_of(plugins, None, {"OPENAI_API_KEY": "x"}) is None
    assert answer_of(plugins, None, {}) is None


def test_a_key_that_no_provider_uses_is_reported(plugins: Plugins) -> None:
    environ = {"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "y"}

    assert keys_without_provider(plugins, environ) == ["OPENAI_API_KEY"]


def test_an_unknown_or_broken_provider_is_refused(plugins: Plugins) -> None:
    with pytest.raises(UnknownPlugin, match="'ours'"):
        choose_provider("our", plugins, {})
    with pytest.raises(ConfigurationError, match="'broken' returned a NoneType"):
        choose_provider("broken", plugins, {})
