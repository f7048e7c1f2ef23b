"""The provider that a name selects, and the routing of requests to the providers of their models."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kando.app.providers import Router, choose_provider, open_provider
from kando.errors import AmbiguousName, RequestRejected
from kando.plugins import InvalidSpec, Plugins, ProviderSpec, UnknownPlugin
from kando.providers import open_provider as open_installed
from plugin_installation import Installation

SPECS = """
from kando.plugins import ProviderSpec, hookimpl

@hookimpl
def kando_providers():
    return [
        ProviderSpec("ant", "kando_two_plugin:open_ant", models=("claude-*", "shared")),
        ProviderSpec("many", "kando_two_plugin:open_many", models=("*/*", "shared")),
        ProviderSpec("local", "kando_two_plugin:open_local"),
        ProviderSpec("stand-in", "kando_two_plugin:open_stand_in"),
        ProviderSpec("filed", "kando_two_plugin:open_filed", reads_file=True),
    ]

class Complete:
    def __init__(self, name, argument):
        self.who, self.is_closed, self.answers_every_model = f"{name}:{argument}", False, False
    def __call__(self, request):
        return {"text": self.who, "model": request["model"], "cost_usd": 0.0}
    def worst_case_usd(self, request):
        return 2.5 if self.who.startswith("ant") else None
    def close(self):
        self.is_closed = True

opened = []
def open_one(name, argument):
    opened.append(Complete(name, argument))
    return opened[-1]
def open_ant(argument, environ):
    return open_one("ant", argument)
def open_many(argument, environ):
    return open_one("many", argument)
def open_local(argument, environ):
    return open_one("local", argument)
def open_filed(argument, environ):
    return open_one("filed", argument)
def open_stand_in(argument, environ):
    complete = open_one("stand-in", argument)
    complete.answers_every_model = True
    return complete
"""


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    installed = Installation(tmp_path, monkeypatch)
    yield installed
    for name in installed.modules:
        sys.modules.pop(name, None)


@pytest.fixture
def plugins(installation: Installation) -> Plugins:
    installation.add("kando-two", SPECS)
    return installation.plugins()


def asked(router: Router, model: str) -> tuple[Any, Any]:
    answer = router({"messages": [], "model": model})
    return answer["text"], answer["model"]


@pytest.mark.parametrize(
    ("named", "means"),
    [
        ("ant", ("ant", "")),
        ("ant:claude-1", ("ant", "claude-1")),
        ("many:maker/model:free", ("many", "maker/model:free")),
        ("claude-1", ("ant", "claude-1")),
        ("maker/model", ("many", "maker/model")),
        ("maker/model:free", ("many", "maker/model:free")),
        ("kando-two/ant:x", ("ant", "x")),
    ],
)
def test_a_name_is_split_at_the_first_colon_and_a_bare_model_selects_its_provider(
    plugins, named, means
):
    chosen = choose_provider(named, plugins, {})

    assert (chosen.name, chosen.argument) == means


def test_a_model_of_several_providers_is_refused_with_the_candidates(plugins):
    with pytest.raises(AmbiguousName, match=r"'shared'\. Name one of: ant:shared, many:shared"):
        open_provider("shared", plugins, {})


def test_an_unknown_model_is_refused_with_the_providers(plugins):
    with pytest.raises(UnknownPlugin, match="ant, filed, local, many, stand-in"):
        open_provider("llama", plugins, {})
    # The cure works: with its provider, any model can be named.
    with pytest.raises(UnknownPlugin, match="PROVIDER:llama"):
        open_provider("llama", plugins, {})
    assert open_provider("local:llama", plugins, {}).argument == "llama"


def test_a_request_goes_to_the_provider_that_its_model_names(plugins):
    router = open_provider("ant:claude-1", plugins, {})

    assert asked(router, "default") == ("ant:claude-1", "default")
    assert asked(router, "ant:claude-1") == ("ant:claude-1", "default")
    assert asked(router, "ant:claude-2") == ("ant:claude-2", "default")
    assert asked(router, "claude-3") == ("ant:claude-1", "claude-3")
    assert asked(router, "shared") == ("ant:claude-1", "shared")
    assert asked(router, "many:a/b:free") == ("many:a/b:free", "default")
    assert asked(router, "a/b:free") == ("many:a/b:free", "default")
    assert router({"messages": []} | {"model": "ant:"})["text"] == "ant:"
    with pytest.raises(UnknownPlugin):
        asked(router, "nobody")


def test_a_provider_that_declares_no_models_is_asked_for_any(plugins):
    router = open_provider("local:llama", plugins, {})

    assert asked(router, "qwen:7b") == ("local:llama", "qwen:7b")
    assert asked(router, "claude-1") == ("local:llama", "claude-1")
    assert asked(router, "a/b") == ("local:llama", "a/b")
    assert asked(router, "ant:claude-1") == ("ant:claude-1", "default")


def test_a_provider_is_opened_once_for_each_model_and_closed_with_the_router(plugins):
    router = open_provider("ant:claude-1", plugins, {})
    threads = [threading.Thread(target=asked, args=(router, "many:a/b")) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    from kando_two_plugin import opened

    assert [each.who for each in opened] == ["ant:claude-1", "many:a/b"]
    router.close()
    assert all(each.is_closed for each in opened)


def test_a_provider_that_answers_every_model_keeps_all_requests(plugins):
    router = open_provider("stand-in:script", plugins, {})

    assert asked(router, "ant:claude-1") == ("stand-in:script", "ant:claude-1")
    assert asked(router, "nobody") == ("stand-in:script", "nobody")


def test_an_offline_provider_keeps_all_requests_so_that_nothing_is_paid(installation):
    source = SPECS.replace('open_local")', 'open_local", is_offline=True)')
    installation.add("kando-two", source)

    router = open_provider("local", installation.plugins(), {})

    assert asked(router, "ant:claude-1") == ("local:", "ant:claude-1")


def test_the_worst_case_is_that_of_the_provider_that_would_answer(plugins):
    router = open_provider("ant", plugins, {})

    assert router.worst_case_usd({"messages": [], "model": "default"}) == 2.5
    assert router.worst_case_usd({"messages": [], "model": "many:x"}) is None


def test_a_key_file_chooses_a_provider_as_its_key_does(installation):
    source = SPECS.replace('models=("claude-*"', 'key_env=("OPENAI_API_KEY",), models=("claude-*"')
    installation.add("kando-two", source)

    chosen = choose_provider(None, installation.plugins(), {"OPENAI_API_KEY_FILE": "somewhere"})

    assert chosen.name == "ant"


@pytest.mark.parametrize("models", ["claude-*", ("",), ("*",), ("a b",), (3,)])
def test_malformed_patterns_of_models_are_refused(models):
    with pytest.raises(InvalidSpec, match="models"):
        ProviderSpec("x", "a:b", models=models)


def test_a_plugin_opens_an_installed_provider_by_name_alone(installation, monkeypatch):
    module = installation.add("kando-two", SPECS)

    with_settings = open_installed("local:llama", {})
    monkeypatch.setenv("KANDO_DISABLE_PLUGINS", "kando-two")

    assert asked(with_settings, "default") == ("local:llama", "default")
    with_settings.close()
    assert [each.is_closed for each in sys.modules[module].opened] == [True]
    with pytest.raises(UnknownPlugin):
        open_installed("local")


@pytest.mark.parametrize("model", ["filed:/etc/notes.json", "kando-two/filed:notes.json", "filed"])
def test_a_request_does_not_choose_a_file_that_is_opened(plugins, model):
    router = open_provider("ant:claude-1", plugins, {})

    with pytest.raises(RequestRejected, match="names a file, which is not opened") as raised:
        asked(router, model)

    assert [each.who for each in sys.modules["kando_two_plugin"].opened] == ["ant:claude-1"]
    # The cure works: a person names the file.
    assert raised.value.hint == "To use the file, name it with --llm or KANDO_LLM."
    named = open_provider("filed:notes.json", plugins, {})
    assert asked(named, "filed:notes.json") == ("filed:notes.json", "default")
