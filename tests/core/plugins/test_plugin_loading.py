"""Plugins are found by their entry points; a bad one is reported and affects no other."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from kando.plugins import KitSpec, PluginBroken, PluginError, Plugins, hookimpl
from plugin_installation import Installation, offering

GOOD = offering('KitSpec("good", "good_kit:kit", "A kit")')


def test_an_installed_plugin_is_listed_with_its_distribution_and_version(
    installation: Installation,
) -> None:
    module = installation.add("kando-good", GOOD, version="1.2")
    plugins = installation.plugins()

    (kit,) = plugins.kits()
    assert kit.spec == KitSpec("good", "good_kit:kit", "A kit")
    assert (kit.distribution, kit.version, kit.origin) == ("kando-good", "1.2", "kando-good 1.2")

    (loaded,) = plugins.plugins()
    assert (loaded.name, loaded.distribution, loaded.version) == ("good", "kando-good", "1.2")
    assert (loaded.entry_point, loaded.hooks) == (module, ("kando_kits",))
    assert loaded.seconds > 0
    assert loaded.error is None
    assert plugins.failures() == []


def test_all_four_kinds_are_listed(installation: Installation) -> None:
    installation.add(
        "kando-all",
        """
        from kando.plugins import *
        @hookimpl
        def kando_kits(): return [KitSpec("k", "a:b")]
        @hookimpl
        def kando_substrates(): yield SubstrateSpec("s", "a:b", ("s3",))
        @hookimpl
        def kando_providers(): return (ProviderSpec("p", "a:b", ("KEY",)),)
        @hookimpl
        def kando_commands(): return [CommandSpec("c", "a:b", "Does it")]
        """,
    )
    plugins = installation.plugins()
    assert [kit.spec.name for kit in plugins.kits()] == ["k"]
    assert [substrate.spec.name for substrate in plugins.substrates()] == ["s"]
    assert [provider.spec.name for provider in plugins.providers()] == ["p"]
    assert [command.spec.name for command in plugins.commands()] == ["c"]
    assert plugins.command("c").spec.help == "Does it"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def", "SyntaxError"),
        (
            "KANDO_PLUGIN_API = (99, 99)\n" + GOOD,
            "was made for plugin API 99, but .* has 1. Upgrad",
        ),
        ("KANDO_PLUGIN_API = 1\n" + GOOD, "must be a pair .*Write KANDO_PLUGIN_API = \\(1, 1\\)"),
        (offering(hook="kando_foo"), "implements `kando_foo`, which .*kando-core.* does not have"),
        (GOOD.replace("@hookimpl", ""), "defines `kando_kits` without @hookimpl. Put @hookimpl"),
        ("x = 1", "implements no hook"),
        (GOOD.replace("def ", "async def "), "`kando_kits` with `async def`"),
        (
            GOOD.replace("hookimpl", "hookimpl(wrapper=True)").replace("return", "yield"),
            "a wrapper",
        ),
        (GOOD.replace("()", "(surprise)"), "surprise"),
        (GOOD.replace("return", "raise LookupError('gone') #"), "kando_kits: LookupError: gone"),
        (GOOD.replace("return", "raise SystemExit #"), "kando_kits: SystemExit"),
        (
            offering("42"),
            "kando_kits: returned 42, which is not a KitSpec. Return a list of KitSpec",
        ),
        (offering('ProviderSpec("p", "a:b")'), r"returned ProviderSpec\(.*which is not a KitSpec"),
        (GOOD.replace("return", "return None #"), "returned None, which is not a KitSpec"),
        (GOOD.replace("return", "return 'good' #"), "returned 'good', which is not a KitSpec"),
        (
            offering('KitSpec("Bad Name", "a:b")'),
            "kando_kits: KitSpec: 'Bad Name' is not a valid name",
        ),
    ],
)
def test_a_bad_plugin_is_reported_and_the_others_work(
    installation: Installation, source: str, error: str
) -> None:
    installation.add("kando-bad", source, version="1.2")
    installation.add("kando-good", GOOD)
    plugins = installation.plugins()

    assert [kit.spec.name for kit in plugins.kits()] == ["good"]
    (failure,) = plugins.failures()
    assert failure.origin == "kando-bad 1.2"
    assert failure.error is not None
    assert "\n" not in failure.error
    assert re.search(error, failure.error), failure.error
    assert failure.exception is not None


def test_an_invalid_record_leaves_valid_records_of_the_same_list(
    installation: Installation,
) -> None:
    installation.add("kando-half", offering('KitSpec("half", "a:b")', "None"))
    plugins = installation.plugins()
    assert [kit.spec.name for kit in plugins.kits()] == ["half"]
    assert [failure.name for failure in plugins.failures()] == ["half"]


def test_an_unknown_hook_marked_optional_is_accepted(installation: Installation) -> None:
    optional = offering(hook="kando_foo").replace("hookimpl", "hookimpl(optionalhook=True)")
    installation.add("kando-newer", optional)
    assert installation.plugins().failures() == []


def test_a_plugin_made_for_this_and_later_versions_is_accepted(installation: Installation) -> None:
    installation.add("kando-good", "KANDO_PLUGIN_API = (1, 3)\n" + GOOD)
    assert [kit.spec.name for kit in installation.plugins().kits()] == ["good"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_sys_path_makes_no_difference(
    installation: Installation, order: tuple[int, ...]
) -> None:
    distributions = ["kando-a", "kando-b", "kando-c"]
    for index in order:
        installation.add_kit(distributions[index], "abc"[2 - index])
    plugins = installation.plugins()
    assert [plugin.distribution for plugin in plugins.plugins()] == distributions
    assert [kit.spec.name for kit in plugins.kits()] == ["a", "b", "c"]
    imported = [module for module in sys.modules if module in installation.modules]
    assert imported == sorted(imported)


def test_earlier_lookups_make_no_difference(installation: Installation) -> None:
    for name in ("a", "b", "c"):
        installation.add_kit(f"kando-{name}", name)
    plugins = installation.plugins()
    plugins.kit("c")
    assert [plugin.name for plugin in plugins.plugins()] == ["a", "b", "c"]


def test_a_damaged_distribution_does_not_hide_the_others(installation: Installation) -> None:
    installation.add("kando-good", GOOD)
    left_over = installation.root / "kando-good" / "kando_leftover-1.0.dist-info"
    left_over.mkdir()
    (left_over / "entry_points.txt").write_text("[kando]\nleftover = nowhere\n")
    malformed = installation.root / "kando-good" / "malformed-1.0.dist-info"
    malformed.mkdir()
    (malformed / "METADATA").write_text("Metadata-Version: 2.1\nName: malformed\nVersion: 1\n")
    (malformed / "entry_points.txt").write_text("[kando]\nno equals sign here\n")
    assert [kit.spec.name for kit in installation.plugins().kits()] == ["good"]


def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(
    installation: Installation,
) -> None:
    installation.add("kando-good", GOOD, version="1.0")
    other = installation.root / "kando-good-old"
    metadata = other / "Kando.Good-0.9.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: Kando.Good\nVersion: 0.9\n")
    (metadata / "entry_points.txt").write_text("[kando]\ngood = kando_good_plugin\n")
    sys.path.append(str(other))  # the fixture's monkeypatch restores sys.path
    assert [plugin.version for plugin in installation.plugins().plugins()] == ["1.0"]


def test_listing_imports_no_target(installation: Installation) -> None:
    target = {"heavy_library_kit": "raise AssertionError('imported')"}
    installation.add(
        "kando-heavy", offering('KitSpec("heavy", "heavy_library_kit:kit")'), modules=target
    )
    plugins = installation.plugins()
    assert plugins.kit("heavy") in plugins.kits()
    assert plugins.plugins()
    assert plugins.conflicts() == []
    assert "heavy_library_kit" not in sys.modules


def test_no_plugin_is_imported_before_the_first_lookup(installation: Installation) -> None:
    module = installation.add("kando-good", GOOD)
    plugins = installation.plugins()
    assert plugins.plugins(load=False) == plugins.failures(load=False) == []
    assert module not in sys.modules


def test_a_registered_plugin_is_found_without_reading_metadata() -> None:
    script = (
        "import sys\n"
        "from kando.plugins import Plugins, SubstrateSpec, hookimpl\n"
        "class BuiltIn:\n"
        "    @hookimpl\n"
        "    def kando_substrates(self): return [SubstrateSpec('memory', 'a:b')]\n"
        "plugins = Plugins()\n"
        "plugins.register(BuiltIn(), name='ledgers')\n"
        "assert plugins.substrate('memory').origin == 'built in'\n"
        "assert 'importlib_metadata' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


class BuiltIn:
    """A plugin object."""

    @hookimpl
    def kando_kits(self) -> list[KitSpec]:
        return [KitSpec("demo", "json:loads")]


def test_an_object_is_registered_like_an_installed_plugin() -> None:
    plugins = Plugins(entry_points=False, environ={})
    plugins.register(BuiltIn(), name="demo-kits", distribution="kando-core", version="0.4.0")
    assert plugins.kit("demo").origin == "kando-core 0.4.0"
    assert plugins.kit("kando-core/demo") == plugins.kit("demo")
    (loaded,) = plugins.plugins()
    assert (loaded.key, loaded.entry_point) == ("kando-core:demo-kits", "")


def test_a_plugin_that_cannot_be_registered_is_refused_and_leaves_no_trace() -> None:
    class Misspelt:
        @hookimpl
        def kando_kit(self) -> list[KitSpec]:
            return []

    plugins = Plugins(entry_points=False, environ={})
    with pytest.raises(PluginBroken, match="built in:x cannot be registered: implements `kando_k"):
        plugins.register(Misspelt(), name="x")
    assert plugins.plugins() == []
    plugins.register(BuiltIn(), name="x")
    with pytest.raises(PluginError, match="built in:x cannot be registered: ValueError"):
        plugins.register(BuiltIn(), name="x")
    assert len(plugins.kits()) == 1
