"""The plugin manager: finds plugins, collects what they offer, and looks up names.

Metadata is read and plugins are imported only when a lookup needs them. A plugin that fails is
listed in `Plugins.failures` and does not affect other plugins.

A name is looked up in steps; the first step in which a plugin offers the name decides:

1. plugins registered in the process: built-in names need no metadata and cannot be overridden;
2. the distributions of ``KANDO_PREFER``, in order;
3. namesakes: entry points of that name, and the distributions ``NAME``, ``kando-NAME`` and
   ``kando-kit-NAME``. So ``diligence`` imports the plugin of that kit and no other;
4. all plugins.

Two claims within a step are a `PluginConflict`. A claim in a later step is ignored, and listed by
`Plugins.conflicts`. So the result depends only on what is installed: not on the order of
``sys.path``, and not on earlier lookups.
"""
# long: one class with a method for each kind of offer, most of it docstrings.

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import pluggy

from kando.plugins._kinds import (
    COMMAND,
    EXPORTER,
    KINDS,
    KIT,
    PROVIDER,
    RECALL,
    SUBSTRATE,
    TOOL_PROTOCOL,
    Kind,
    names_of,
)
from kando.plugins._lookup_errors import broken, conflict, unknown
from kando.plugins._metadata import InstalledPlugin, damaged_distributions, installed_plugins
from kando.plugins._plugin_state import PluginState
from kando.plugins._registration import implementations_of, new_hooks, register
from kando.plugins._switches import read_switches
from kando.plugins._targets import describe, import_target
from kando.plugins.errors import PluginBroken, PluginConflict
from kando.plugins.records import BUILT_IN, LoadedPlugin, Offered, Spec, normalised
from kando.plugins.specs import (
    CommandSpec,
    ExporterSpec,
    KitSpec,
    ProviderSpec,
    RecallSpec,
    SubstrateSpec,
    ToolProtocolSpec,
)

if TYPE_CHECKING:
    from typing import Any

    from kando.schema.events import KandoEvent
    from kando.schema.upcasting import Upcaster

    #: ``observer(event, position)``; its result is ignored.
    Observer = Callable[[KandoEvent, int], object]

__all__ = ["Plugins"]

# The older path form of a kit's name: kits/diligence, kits.diligence.
_KIT_PATH = re.compile(r"(?:\./)?kits[./]([^./]+)/?")


class Plugins:
    """All plugins of one process.

    Args:
        entry_points: whether to find installed plugins; if not, only registered plugins exist.
        environ: where to read ``KANDO_PLUGINS``, ``KANDO_DISABLE_PLUGINS``, ``KANDO_PREFER`` and
            ``KANDO_STRICT_PLUGINS`` from; the process environment by default. They do not apply to
            registered plugins.
    """

    def __init__(
        self, *, entry_points: bool = True, environ: Mapping[str, str] | None = None
    ) -> None:
        self._switches = read_switches(os.environ if environ is None else environ)
        self._hooks = new_hooks()
        self._states: dict[str, PluginState] = {}
        #: Plugins that may be loaded; None until the metadata has been read.
        self._installed: list[InstalledPlugin] | None = None if entry_points else []
        self._switched_off: list[str] = []
        self._lock = threading.RLock()

    # -- registering and loading ----------------------------------------------------------------

    def register(
        self, plugin: object, *, name: str, distribution: str = BUILT_IN, version: str = ""
    ) -> None:
        """Add a module or object whose functions are marked with `hookimpl`.

        Args:
            plugin: the module or object.
            name: unique within `distribution`.
            distribution: for messages and for ``distribution/name``.
            version: of the distribution.

        Raises:
            PluginBroken: it is not a plugin for this kando-core, or it is already registered.
        """
        state = PluginState(name, distribution, version, strict=self._switches.strict)
        with self._lock:
            try:
                state.hooks = register(self._hooks, plugin, state.key)
            except Exception as error:
                msg = f"Plugin {state.key} cannot be registered: {describe(error)}"
                raise PluginBroken(msg) from error
            self._states[state.key] = state

    def _load(self, is_wanted: Callable[[InstalledPlugin], bool]) -> None:
        with self._lock:
            if self._installed is None:
                self._installed = self._read_installed()
            for plugin in self._installed:
                if plugin.key not in self._states and is_wanted(plugin):
                    self._states[plugin.key] = self._load_one(plugin)

    def _read_installed(self) -> list[InstalledPlugin]:
        installed, self._switched_off = [], []
        for plugin in installed_plugins():
            switch = self._switches.disabled_by(plugin.name, plugin.distribution)
            if switch is None:
                installed.append(plugin)
            else:
                self._switched_off.append(f"{plugin.name} of {plugin.distribution} ({switch})")
        return installed

    def _load_one(self, plugin: InstalledPlugin) -> PluginState:
        strict = self._switches.strict
        state = PluginState(plugin.name, plugin.distribution, plugin.version, plugin.value, strict)
        start = time.perf_counter()
        try:
            state.hooks = register(self._hooks, plugin.load(), state.key)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            state.record_problem(error)
        finally:
            state.seconds = time.perf_counter() - start
        return state

    def _sorted_states(self) -> list[PluginState]:
        with self._lock:
            return sorted(self._states.values(), key=lambda state: state.sort_key)

    # -- listing --------------------------------------------------------------------------------

    def kits(self) -> list[Offered[KitSpec]]:
        """Return the kits of all plugins, sorted by name, without importing the kits."""
        return self._all(KIT)

    def substrates(self) -> list[Offered[SubstrateSpec]]:
        """Return the substrates of all plugins, sorted by name."""
        return self._all(SUBSTRATE)

    def providers(self) -> list[Offered[ProviderSpec]]:
        """Return the LLM providers of all plugins, sorted by name."""
        return self._all(PROVIDER)

    def tool_protocols(self) -> list[Offered[ToolProtocolSpec]]:
        """Return the protocols of tool servers of all plugins, sorted by name."""
        return self._all(TOOL_PROTOCOL)

    def exporters(self) -> list[Offered[ExporterSpec]]:
        """Return the export formats of all plugins, sorted by name."""
        return self._all(EXPORTER)

    def recalls(self) -> list[Offered[RecallSpec]]:
        """Return the recalls of all plugins, sorted by name."""
        return self._all(RECALL)

    def commands(self) -> list[Offered[CommandSpec]]:
        """Return the subcommands of all plugins, sorted by name."""
        return self._all(COMMAND)

    def observers(self) -> list[tuple[str, Observer]]:
        """Return every implementation of ``kando_event_recorded``, sorted by distribution.

        Returns:
            Pairs of a plugin (``distribution:name``) and a function that takes an event and its
            position. A call raises the exceptions of the plugin.
        """
        self._load(_any_plugin)
        return [
            (state.key, partial(_observe, implementation))
            for state in self._sorted_states()
            for caller, implementation in implementations_of(self._hooks, state.key)
            if caller.name == "kando_event_recorded"
        ]

    def upcasters(self) -> list[Upcaster]:
        """Return the upcasters of all plugins, sorted by distribution.

        Raises:
            PluginBroken: a plugin fails to return its upcasters; without them, old events would be
                misread.
        """
        self._load(_any_plugin)
        found: list[Upcaster] = []
        for state in self._sorted_states():
            for caller, implementation in implementations_of(self._hooks, state.key):
                if caller.name == "kando_upcasters":
                    try:
                        offered: Any = implementation.function()
                        found += offered
                    except KeyboardInterrupt:
                        raise
                    except BaseException as error:
                        msg = f"{state.key}: kando_upcasters failed: {describe(error)}."
                        raise PluginBroken(msg, hint=f"Repair or upgrade {state.key}.") from error
        return found

    def plugins(self, *, load: bool = True) -> list[LoadedPlugin]:
        """Return the plugins with their errors, sorted by distribution and name.

        Args:
            load: first load all of them and call their hooks. If false, only plugins that were
                needed so far are returned.
        """
        if load:
            for kind in KINDS:
                self._all(kind)
        return [state.summary() for state in self._sorted_states()]

    def failures(self, *, load: bool = True) -> list[LoadedPlugin]:
        """Return the plugins with errors; `load` as in `plugins`."""
        return [plugin for plugin in self.plugins(load=load) if plugin.error is not None]

    def damaged(self) -> list[tuple[str, str]]:
        """Return the path and the problem of each distribution whose metadata cannot be read.

        If it offers plugins, they are not found.
        """
        return damaged_distributions()

    def conflicts(self) -> list[PluginConflict]:
        """Return an error for each name, of any kind, that more than one plugin claims.

        A name that a preferred distribution offers is not a conflict.
        """
        found, settled = [], {*self._switches.preferred}
        for kind in KINDS:
            claims: dict[str, list[Offered[Any]]] = {}
            for offered in self._all(kind):
                for name in names_of(offered.spec):
                    claims.setdefault(name, []).append(offered)
            for name, offers in sorted(claims.items()):
                if len(offers) > 1 and not settled & {normalised(o.distribution) for o in offers}:
                    found.append(conflict(kind, name, offers))
        return found

    # -- looking up names -----------------------------------------------------------------------

    def kit(self, name: str) -> Offered[KitSpec]:
        """Find a kit by ``name``, ``distribution/name`` or the older ``kits/name``.

        Raises:
            UnknownPlugin: no plugin offers it.
            PluginConflict: more than one plugin claims the name.
            PluginBroken: the plugin of this name failed to load.
        """
        path = _KIT_PATH.fullmatch(name)
        return self._find(KIT, path[1] if path else name)

    def substrate(self, scheme_or_name: str) -> Offered[SubstrateSpec]:
        """Find a substrate by URL scheme (without the colon), name or ``distribution/name``.

        Raises:
            UnknownPlugin, PluginConflict, PluginBroken: as for `kit`.
        """
        return self._find(SUBSTRATE, scheme_or_name)

    def provider(self, name: str) -> Offered[ProviderSpec]:
        """Find an LLM provider by name or ``distribution/name``.

        Raises:
            UnknownPlugin, PluginConflict, PluginBroken: as for `kit`.
        """
        return self._find(PROVIDER, name)

    def tool_protocol(self, name: str) -> Offered[ToolProtocolSpec]:
        """Find a protocol of tool servers by name or ``distribution/name``.

        Raises:
            UnknownPlugin, PluginConflict, PluginBroken: as for `kit`.
        """
        return self._find(TOOL_PROTOCOL, name)

    def exporter(self, name: str) -> Offered[ExporterSpec]:
        """Find an export format by name or ``distribution/name``.

        Raises:
            UnknownPlugin, PluginConflict, PluginBroken: as for `kit`.
        """
        return self._find(EXPORTER, name)

    def recall(self, name: str) -> Offered[RecallSpec]:
        """Find a recall by name or ``distribution/name``.

        Raises:
            UnknownPlugin, PluginConflict, PluginBroken: as for `kit`.
        """
        return self._find(RECALL, name)

    def command(self, name: str) -> Offered[CommandSpec]:
        """Find a subcommand by name or ``distribution/name``.

        Raises:
            UnknownPlugin, PluginConflict, PluginBroken: as for `kit`.
        """
        return self._find(COMMAND, name)

    def resolve(self, offered: Offered[Spec]) -> object:
        """Import the target of `offered`. Only this method and `evaluation` import targets.

        Raises:
            PluginBroken: it cannot be imported; the cause is chained.
        """
        noun = next(kind.noun for kind in KINDS if isinstance(offered.spec, kind.record))
        return import_target(noun, offered)

    def evaluation(self, offered: Offered[KitSpec]) -> object:
        """Import the evaluation that the record of a kit names, or return None if it names none.

        Raises:
            PluginBroken: it cannot be imported; the cause is chained.
        """
        named = offered.spec.evaluation
        return import_target("evaluation", offered, named) if named else None

    def _find(self, kind: Kind[Spec], name: str) -> Offered[Spec]:
        distribution, _, short_name = name.rpartition("/")
        steps = (
            self._search_distribution(distribution) if distribution else self._search(short_name)
        )
        for states, are_namesakes in steps:
            found = [
                offered
                for offered in self._offers(kind, states)
                if short_name in names_of(offered.spec)
            ]
            if len(found) > 1:
                raise conflict(kind, name, found)
            if found:
                return found[0]
            # The user means this plugin: report its failure instead of finding the name elsewhere.
            for state in states if are_namesakes else ():
                for problem in state.problems:
                    if problem.hook in ("", kind.hook) and not state.is_registered:
                        raise broken(kind, name, state, problem)
        known = [known for offered in self._all(kind) for known in names_of(offered.spec)]
        raise unknown(kind, name, known, self.failures(load=False), self._switched_off)

    def _search(self, name: str) -> Iterator[tuple[list[PluginState], bool]]:
        """Yield the plugins of each step, and whether their names imply that they offer `name`."""
        yield [state for state in self._sorted_states() if state.is_registered], False

        for distribution in self._switches.preferred:
            for states, _ in self._search_distribution(distribution):
                yield states, False

        names = {normalised(name), f"kando-{normalised(name)}", f"kando-kit-{normalised(name)}"}

        def is_namesake(plugin: InstalledPlugin | PluginState) -> bool:
            return plugin.name == name or normalised(plugin.distribution) in names

        self._load(is_namesake)
        installed = [state for state in self._sorted_states() if not state.is_registered]
        yield [state for state in installed if is_namesake(state)], True
        self._load(_any_plugin)
        yield self._sorted_states(), False

    def _search_distribution(self, distribution: str) -> Iterator[tuple[list[PluginState], bool]]:
        def is_part(plugin: InstalledPlugin | PluginState) -> bool:
            return normalised(plugin.distribution) == normalised(distribution)

        self._load(is_part)
        yield [state for state in self._sorted_states() if is_part(state)], True

    def _all(self, kind: Kind[Spec]) -> list[Offered[Spec]]:
        self._load(_any_plugin)
        return self._offers(kind, self._sorted_states())

    def _offers(self, kind: Kind[Spec], states: list[PluginState]) -> list[Offered[Spec]]:
        offers: list[Offered[Spec]] = []
        with self._lock:
            for state in states:
                if kind.hook not in state.offers:
                    found = implementations_of(self._hooks, state.key)
                    hooks = [impl for caller, impl in found if caller.name == kind.hook]
                    state.collect_offers(kind, hooks)
                offers += state.offers[kind.hook]
        return sorted(offers, key=lambda o: (o.spec.name, normalised(o.distribution)))


def _any_plugin(plugin: InstalledPlugin) -> bool:
    return True


def _observe(implementation: pluggy.HookImpl, event: KandoEvent, position: int) -> object:
    """Call an observer with the arguments that it takes."""
    arguments = {"event": event, "position": position}
    taken = (*implementation.argnames, *implementation.kwargnames)
    return implementation.function(**{name: arguments[name] for name in taken if name in arguments})
