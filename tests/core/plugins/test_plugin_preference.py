"""If several plugins claim a name, the preferred distribution wins."""

from __future__ import annotations

import pytest

from kando.plugins import PluginConflict, SubstrateSpec, hookimpl
from plugin_installation import Installation


@pytest.fixture
def rivals(installation: Installation) -> Installation:
    for letter in "abc":
        installation.add_kit(f"kando-{letter}", "shared")
    return installation


@pytest.mark.parametrize(
    ("preferred", "winner"),
    [
        ("kando-b", "kando-b"),
        ("Kando_B", "kando-b"),
        ("kando-c,kando-a", "kando-c"),
        (" nobody , kando-a", "kando-a"),
    ],
)
def test_the_most_preferred_distribution_that_offers_a_name_wins(
    rivals: Installation, preferred: str, winner: str
) -> None:
    assert rivals.plugins(KANDO_PREFER=preferred).kit("shared").distribution == winner


def test_without_a_preference_the_error_names_the_distributions_and_how_to_prefer(
    rivals: Installation,
) -> None:
    with pytest.raises(PluginConflict) as caught:
        rivals.plugins().kit("shared")

    message = str(caught.value)
    for letter in "abc":
        assert f"kando-{letter} 1.0" in message
    assert "--prefer kando-a or KANDO_PREFER=kando-a" in message


def test_following_the_hint_of_the_error_resolves_the_conflict(rivals: Installation) -> None:
    with pytest.raises(PluginConflict) as caught:
        rivals.plugins().kit("shared")
    chosen = str(caught.value.hint).rpartition("KANDO_PREFER=")[2].rstrip(".")

    assert rivals.plugins(KANDO_PREFER=chosen).kit("shared").distribution == chosen


def test_preferring_a_distribution_without_the_name_has_no_effect(rivals: Installation) -> None:
    with pytest.raises(PluginConflict):
        rivals.plugins(KANDO_PREFER="kando-z").kit("shared")


def test_a_name_of_a_preferred_distribution_is_not_a_conflict(rivals: Installation) -> None:
    assert len(rivals.plugins().conflicts()) == 1
    assert rivals.plugins(KANDO_PREFER="kando-b").conflicts() == []


def test_a_preferred_distribution_wins_over_a_namesake(installation: Installation) -> None:
    installation.add_kit("kando-kit-tides", "tides")
    installation.add_kit("kando-other", "tides")

    assert installation.plugins().kit("tides").distribution == "kando-kit-tides"
    preferring = installation.plugins(KANDO_PREFER="kando-other")
    assert preferring.kit("tides").distribution == "kando-other"


def test_a_preference_does_not_override_a_built_in_name(installation: Installation) -> None:
    class BuiltIn:
        @hookimpl
        def kando_substrates(self) -> list[SubstrateSpec]:
            return [SubstrateSpec("memory", "some:opener")]

    source = (
        "from kando.plugins import *\n@hookimpl\ndef kando_substrates():\n"
        '    return [SubstrateSpec("memory", "other:opener")]\n'
    )
    installation.add("kando-thief", source)
    plugins = installation.plugins(KANDO_PREFER="kando-thief")
    plugins.register(BuiltIn(), name="builtin")

    assert plugins.substrate("memory").spec.target == "some:opener"
