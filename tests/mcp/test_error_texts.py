"""Error messages for models: hints for the command line are translated into tools."""

import re
from pathlib import Path

import pytest

import kando
from kando.app.store import open_store
from kando.errors import ConfigurationError, KandoError, LedgerNotFound
from kando_mcp.results.errors import _REPLACEMENTS, error_text

CORE = Path(kando.__file__).parent
#: Hints of the command line itself are never shown to a model.
SOURCES = [path for path in CORE.rglob("*.py") if path.parent.name != "cli"]


@pytest.mark.parametrize("pattern", _REPLACEMENTS)
def test_every_translated_hint_is_one_of_kando_core(pattern: str) -> None:
    assert any(re.search(pattern, path.read_text()) for path in SOURCES)


def test_no_translation_names_an_option_or_command_that_a_model_cannot_use() -> None:
    with open_store("memory:") as store:
        for error in raised():
            text = error_text(store, error)
            assert "--" not in text
            assert "kando " not in text


def raised() -> list[KandoError]:
    """Return errors that the operations behind the tools raise."""
    found: list[KandoError] = []
    with open_store("memory:") as store:
        run = store.context.substrate(read_only=False).create("r1").stream_name()[4:]
        for fail in (
            lambda: store.run("r9"),
            lambda: store.run("demo").resume(),
            lambda: store.run(run).fork(),
            lambda: store.run(run).trace("nothing"),
            lambda: store.run(run).approve("nothing"),
            lambda: store.run(run).artifact(),
        ):
            with pytest.raises(KandoError) as caught:
                fail()
            found.append(caught.value)
    assert {LedgerNotFound, ConfigurationError} & {type(each) for each in found}
    return found
