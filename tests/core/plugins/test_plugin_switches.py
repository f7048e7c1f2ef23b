"""Environment variables that disable plugins, or make failures fatal."""

from __future__ import annotations

import sys

import pytest

from kando.plugins import PluginBroken, Plugins, UnknownPlugin
from plugin_installation import Installation, offering


def three(installation: Installation) -> list[str]:
    return [installation.add_kit(f"kando-{name}", name) for name in ("one", "two", "three")]


@pytest.mark.parametrize(
    ("environ", "loaded"),
    [
        ({"KANDO_PLUGINS": ""}, set()),
        ({"KANDO_PLUGINS": "one, kando_THREE"}, {"one", "three"}),
        ({"KANDO_DISABLE_PLUGINS": "two"}, {"one", "three"}),
        ({"KANDO_DISABLE_PLUGINS": "kando-one,kando-two,"}, {"three"}),
        ({"KANDO_PLUGINS": "one,two", "KANDO_DISABLE_PLUGINS": "one"}, {"two"}),
    ],
)
def test_plugins_are_chosen_by_entry_point_or_distribution(
    installation: Installation, environ: dict[str, str], loaded: set[str]
) -> None:
    modules = three(installation)
    kits = installation.plugins(**environ).kits()
    assert {kit.spec.name for kit in kits} == loaded
    assert sum(module in sys.modules for module in modules) == len(loaded)


def test_without_switches_every_installed_plugin_is_loaded(installation: Installation) -> None:
    three(installation)
    names = {kit.spec.name for kit in Plugins(environ={}).kits()}
    assert {"one", "two", "three"} <= names


def test_without_entry_points_no_plugin_is_loaded(installation: Installation) -> None:
    three(installation)
    assert Plugins(entry_points=False, environ={}).kits() == []


def test_the_process_environment_is_read_by_default(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(installation)
    monkeypatch.setenv("KANDO_PLUGINS", "two")
    monkeypatch.delenv("KANDO_DISABLE_PLUGINS", raising=False)
    assert [kit.spec.name for kit in Plugins().kits()] == ["two"]


def test_the_error_for_a_disabled_name_names_the_variable(
    installation: Installation,
) -> None:
    three(installation)
    plugins = installation.plugins(KANDO_DISABLE_PLUGINS="two")
    with pytest.raises(
        UnknownPlugin, match=r"Disabled: .*two of kando-two \(KANDO_DISABLE_PLUGINS\)"
    ):
        plugins.kit("two")


@pytest.mark.parametrize("source", ["raise RuntimeError('boom')", offering("42")])
def test_in_strict_mode_every_failure_is_raised(installation: Installation, source: str) -> None:
    installation.add("kando-bad", source, version="1.2")
    plugins = installation.plugins(KANDO_STRICT_PLUGINS="1")
    for _ in range(2):
        with pytest.raises(PluginBroken, match=r"Plugin kando-bad 1\.2 \(bad\) failed: ") as e:
            plugins.kits()
        assert e.value.__cause__ is not None


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_strict_mode_can_be_disabled(installation: Installation, value: str) -> None:
    installation.add("kando-bad", "raise RuntimeError('boom')")
    plugins = installation.plugins(KANDO_STRICT_PLUGINS=value)
    assert len(plugins.failures()) == 1
