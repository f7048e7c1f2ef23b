"""A name always resolves to the same thing, independent of earlier lookups."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from kando.errors import NotFoundError
from kando.plugins import (
    KitSpec,
    PluginBroken,
    PluginConflict,
    Plugins,
    ProviderSpec,
    SubstrateSpec,
    UnknownPlugin,
    hookimpl,
)
from plugin_installation import Installation, offering


class Shelf:
    """A plugin object that offers the given records."""

    def __init__(self, *kits: str, schemes: tuple[str, ...] = ()) -> None:
        self.kits = kits
        self.schemes = schemes

    @hookimpl
    def kando_kits(self) -> list[KitSpec]:
        return [KitSpec(name, "json:loads") for name in self.kits]

    @hookimpl
    def kando_substrates(self) -> list[SubstrateSpec]:
        return [SubstrateSpec("shelf", "json:loads", self.schemes)]

    @hookimpl
    def kando_providers(self) -> list[ProviderSpec]:
        return [ProviderSpec("anthropic", "json:loads", ("ANTHROPIC_API_KEY",))]


def registered(*kits: str, schemes: tuple[str, ...] = ()) -> Plugins:
    plugins = Plugins(entry_points=False, environ={})
    plugins.register(Shelf(*kits, schemes=schemes), name="shelf")
    return plugins


def test_a_substrate_is_found_by_name_or_scheme() -> None:
    plugins = registered(schemes=("esdb", "kurrentdb"))
    found = [plugins.substrate(name) for name in ("shelf", "esdb", "kurrentdb")]
    assert {offered.spec.name for offered in found} == {"shelf"}


@pytest.mark.parametrize(
    "name",
    ["diligence", "kits/diligence", "kits.diligence", "./kits/diligence/", "built in/diligence"],
)
def test_a_kit_is_found_by_its_name_and_its_older_path_forms(name: str) -> None:
    assert registered("diligence").kit(name).spec.name == "diligence"


def test_an_unknown_name_is_answered_with_the_known_names_and_a_suggestion() -> None:
    with pytest.raises(UnknownPlugin) as caught:
        registered("diligence", "research").kit("Diligance")
    assert str(caught.value) == (
        "No plugin offers a kit 'Diligance'. "
        "Did you mean 'diligence'? Available: diligence, research."
    )
    assert caught.value.known == ("diligence", "research")
    assert isinstance(caught.value, NotFoundError)


def test_an_unknown_name_that_resembles_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownPlugin, match=r"a provider 'mistral'\. Available: anthropic\.") as e:
        registered().provider("mistral")
    assert "Did you mean" not in str(e.value)


def test_an_unknown_name_without_installed_plugins_is_answered_with_that() -> None:
    with pytest.raises(UnknownPlugin, match=r"No kit is installed\..* install the distribution"):
        Plugins(entry_points=False, environ={}).kit("diligence")


def test_an_unknown_name_lists_the_plugins_that_failed(installation: Installation) -> None:
    installation.add("kando-bad", "import no_such_library", version="1.2")
    with pytest.raises(
        UnknownPlugin, match=r"plugin that failed: kando-bad 1\.2 \(ModuleNotFoundError: .*'\)"
    ) as caught:
        installation.plugins().kit("acme")
    assert [failure.name for failure in caught.value.failures] == ["bad"]


@pytest.mark.parametrize("distribution", ["kando-acme", "kando-kit-acme"])
def test_a_name_whose_plugin_failed_is_answered_with_that_failure(
    installation: Installation, distribution: str
) -> None:
    installation.add(distribution, "import no_such_library", version="1.2")
    with pytest.raises(
        PluginBroken,
        match=rf"kit 'acme' comes from {distribution} 1\.2, which failed to load: ModuleNotFound",
    ) as caught:
        installation.plugins().kit("acme")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_name_whose_plugin_failed_is_not_answered_by_another_plugin(
    installation: Installation,
) -> None:
    installation.add("kando-kit-acme", "import no_such_library")
    installation.add_kit("kando-zzz", "acme")
    with pytest.raises(PluginBroken, match=r"KANDO_DISABLE_PLUGINS=kando-kit-acme\."):
        installation.plugins().kit("acme")
    without = installation.plugins(KANDO_DISABLE_PLUGINS="kando-kit-acme")
    assert without.kit("acme").distribution == "kando-zzz"


def test_a_kit_imports_only_the_plugin_of_its_name(installation: Installation) -> None:
    module = installation.add_kit("kando-kit-acme", "acme")
    other = installation.add("kando-bystander", offering())
    plugins = installation.plugins()
    assert plugins.kit("acme").distribution == "kando-kit-acme"
    assert module in sys.modules
    assert other not in sys.modules
    assert [plugin.name for plugin in plugins.plugins(load=False)] == ["kit-acme"]


def test_a_kit_under_another_entry_point_is_found_too(installation: Installation) -> None:
    installation.add_kit("kando-bundle", "acme")
    assert installation.plugins().kit("acme").distribution == "kando-bundle"


def two_entry_points_of_that_name(installation: Installation) -> None:
    installation.add_kit("kando-zzz", "acme", entry_point="acme", version="2.0")
    installation.add_kit("kando-acme", "acme")


def two_bundles(installation: Installation) -> None:
    installation.add_kit("kando-acme-tools", "acme")
    installation.add_kit("kando-zzz", "acme", version="2.0")


@pytest.mark.parametrize("install", [two_entry_points_of_that_name, two_bundles])
def test_a_name_that_two_plugins_claim_is_refused_when_it_is_used(
    installation: Installation, install: Callable[[Installation], None]
) -> None:
    install(installation)
    plugins = installation.plugins()
    first = min(installation.distributions)
    with pytest.raises(PluginConflict) as caught:
        plugins.kit("acme")
    message = str(caught.value)
    assert message.startswith(
        f"The kit 'acme' is claimed by {first} 1.0 and by kando-zzz 2.0. Write {first}/acme or "
    )
    assert (caught.value.kind, caught.value.name) == ("kit", "acme")
    assert [str(error) for error in plugins.conflicts()] == [message]
    assert plugins.failures() == []

    # Both cures work.
    assert plugins.kit("kando-zzz/acme").origin == "kando-zzz 2.0"
    assert plugins.kit(f"{first}/acme").origin == f"{first} 1.0"
    without = installation.plugins(KANDO_DISABLE_PLUGINS="kando-zzz")
    assert without.kit("acme").origin == f"{first} 1.0"
    assert without.conflicts() == []


def test_a_conflict_about_one_name_leaves_the_others_usable(installation: Installation) -> None:
    two_bundles(installation)
    installation.add_kit("kando-other", "other")
    plugins = installation.plugins()
    assert plugins.kit("other").distribution == "kando-other"
    assert len(plugins.kits()) == 3


@pytest.mark.parametrize("listed_before", [True, False])
def test_a_namesake_wins_over_another_plugin_and_the_conflict_is_listed(
    installation: Installation, listed_before: bool
) -> None:
    installation.add_kit("kando-aaa", "acme")
    installation.add_kit("kando-kit-acme", "acme")
    plugins = installation.plugins()
    if listed_before:
        assert len(plugins.kits()) == 2
    assert plugins.kit("acme").distribution == "kando-kit-acme"
    assert [error.name for error in plugins.conflicts()] == ["acme"]


def test_an_installed_plugin_cannot_override_a_built_in_name(installation: Installation) -> None:
    spec = 'SubstrateSpec("esdb", "a:b")'
    installation.add("kando-esdb", offering(spec, hook="kando_substrates"))
    plugins = installation.plugins()
    plugins.register(Shelf(schemes=("esdb",)), name="shelf")
    assert plugins.substrate("esdb").origin == "built in"
    assert plugins.substrate("kando-esdb/esdb").origin == "kando-esdb 1.0"
    assert [(error.kind, error.name) for error in plugins.conflicts()] == [("substrate", "esdb")]


def test_a_distribution_is_found_under_any_of_its_spellings(installation: Installation) -> None:
    installation.add_kit("Kando_Kit.Acme", "acme")
    plugins = installation.plugins()
    assert plugins.kit("kando-kit-acme/acme") == plugins.kit("acme")


def test_a_name_of_another_distribution_is_not_found_under_this_one(
    installation: Installation,
) -> None:
    installation.add_kit("kando-acme", "acme")
    with pytest.raises(UnknownPlugin, match="kit 'kando-other/acme'"):
        installation.plugins().kit("kando-other/acme")


def test_one_distribution_claiming_a_name_twice_gets_a_hint_to_rename_one() -> None:
    with pytest.raises(PluginConflict, match=r"Rename one of them: .*built in must claim it once"):
        registered("acme", "acme").kit("acme")


def test_a_registered_plugin_whose_hook_raises_is_listed_with_the_unknown_name() -> None:
    class Raising:
        @hookimpl
        def kando_kits(self) -> list[KitSpec]:
            raise RuntimeError("boom")

    plugins = Plugins(entry_points=False, environ={})
    plugins.register(Raising(), name="raising")
    for name in ("acme", "built in/acme"):
        with pytest.raises(UnknownPlugin, match=r"failed: built in \(kando_kits: RuntimeError: bo"):
            plugins.kit(name)


def test_a_target_is_imported_when_it_is_resolved(installation: Installation) -> None:
    installation.add(
        "kando-acme",
        offering('KitSpec("acme", "acme_targets:Kits.main")'),
        modules={"acme_targets": "class Kits:\n    main = 'the kit'\n"},
    )
    plugins = installation.plugins()
    assert plugins.resolve(plugins.kit("acme")) == "the kit"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (
            "import psycopg_of_nobody",
            "acme_targets:kit",
            "Kit 'acme' of kando-acme 1.2 cannot be loaded: importing acme_targets raised "
            "ModuleNotFoundError: No module named 'psycopg_of_nobody'. "
            "Install the module 'psycopg_of_nobody', or reinstall kando-acme.",
        ),
        (
            "raise SystemExit('bye')",
            "acme_targets:kit",
            "Kit 'acme' of kando-acme 1.2 cannot be loaded: importing acme_targets raised "
            "SystemExit: bye. Upgrade kando-acme, or report this to its authors.",
        ),
        (
            "",
            "acme_targets:kit",
            "Kit 'acme' of kando-acme 1.2 cannot be loaded: resolving its target 'acme_targets:kit' raised "
            "AttributeError: module 'acme_targets' has no attribute 'kit'. "
            "Reinstall or upgrade kando-acme.",
        ),
    ],
)
def test_the_error_of_a_broken_target_names_the_cause_and_the_plugin(
    installation: Installation, source: str, target: str, message: str
) -> None:
    installation.add(
        "kando-acme",
        offering(f'KitSpec("acme", "{target}")'),
        version="1.2",
        modules={"acme_targets": source},
    )
    plugins = installation.plugins()
    with pytest.raises(PluginBroken) as caught:
        plugins.resolve(plugins.kit("acme"))
    assert str(caught.value) == message
    assert caught.value.__cause__ is not None
