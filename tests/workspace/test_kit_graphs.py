"""The graphs of Kando's own kits."""

import pytest

from kando.app.builtin import installed_plugins
from kando.app.kits.find import find_kit
from kando.app.kits.graph import kit_graph

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", ["diligence", "planning", "research"])
def test_nothing_looks_wrong_with_the_kits_that_come_with_kando(name: str) -> None:
    assert kit_graph(find_kit(name, installed_plugins({}))).warnings == ()
