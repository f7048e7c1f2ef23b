"""The plugin manager: finds plugins, asks them what they offer, and finds things by name.

Nothing is read or imported before something is asked. A plugin that fails is kept in
`Plugins.failures` and takes nobody else down.

A name is looked up in steps, and the first in which somebody offers it decides:

1. plugins registered in the process. What is built in needs no metadata and cannot be taken over;
2. the distributions of ``KANDO_PREFER``, one after the other;
3. its namesakes: entry points of that name, and the distributions ``NAME``, ``kando-NAME`` and
   ``kando-kit-NAME``. So ``diligence`` imports the plugin of that kit and no other;
4. all plugins.

Two claims within a step are a `PluginConflict`. A claim in a later step does not interfere, and
is shown by `Plugins.conflicts`. So the answer depends on what is installed and on nothing else:
not on the order of ``sys.path``, and not on what was asked before.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import pluggy

from kando.plugins._kinds import COMMAND, KINDS, KIT, PROVIDER, SUBSTRATE, Kind, names_of
from kando.plugins._lookup_errors import broken, conflict, unknown
from kando.plugins._metadata import InstalledPlugin, installed_plugins
from kando.plugins._plugin_state import Member
from kando.plugins._registration import implementations_of, join, new_hooks
from kando.plugins._switches import read_switches
from kando.plugins._targets import describe, import_target
from kando.plugins.errors import PluginBroken, PluginConflict
from kando.plugins.records import BUILT_IN, LoadedPlugin, Offered, Spec, normalised
from kando.plugins.specs import CommandSpec, KitSpec, ProviderSpec, SubstrateSpec

if TYPE_CHECKING:
    from typing import Any

    from kando.schema.events import KandoEvent
    from kando.schema.upcasting import Upcaster

    #: ``observer(event, position)``; what it returns is ignored.
    Observer = Callable[[KandoEvent, int], object]

__all__ = ["Plugins"]

# The older path form of a kit's name: kits/diligence, kits.diligence.
_KIT_PATH = re.compile(r"(?:\./)?kits[./]([^./]+)/?")


class Plugins:
    """All plugins of one process.

    Args:
        entry_points: whether to look for installed plugins; if not, there are those that are
            registered and no others.
        environ: where to read ``KANDO_PLUGINS``, ``KANDO_DISABLE_PLUGINS``, ``KANDO_PREFER`` and
            ``KANDO_STRICT_PLUGINS`` from; the process environment by default. The switches are
            about installed plugins, and leave registered ones alone.
    """

    def __init__(
        self, *, entry_points: bool = True, environ: Mapping[str, str] | None = None
    ) -> None:
        self._switches = read_switches(os.environ if environ is None else environ)
        self._hooks = new_hooks()
        self._members: dict[str, Member] = {}
        #: What may be loaded; None until the metadata has been read.
        self._installed: list[InstalledPlugin] | None = None if entry_points else []
        self._switched_off: list[str] = []
        self._lock = threading.RLock()

    # -- letting plugins in ---------------------------------------------------------------------

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
            PluginBroken: it is no plugin for this kando-core, or it is registered already.
        """
        member = Member(name, distribution, version, strict=self._switches.strict)
        with self._lock:
            try:
                member.hooks = join(self._hooks, plugin, member.key)
            except Exception as error:
                msg = f"Plugin {member.key} cannot be registered: {describe(error)}"
                raise PluginBroken(msg) from error
            self._members[member.key] = member

    def _load(self, is_wanted: Callable[[InstalledPlugin], bool]) -> None:
        with self._lock:
            if self._installed is None:
                self._installed = self._read_installed()
            for plugin in self._installed:
                if plugin.key not in self._members and is_wanted(plugin):
                    self._members[plugin.key] = self._load_one(plugin)

    def _read_installed(self) -> list[InstalledPlugin]:
        installed, self._switched_off = [], []
        for plugin in installed_plugins():
            switch = self._switches.switch_off(plugin.name, plugin.distribution)
            if switch is None:
                installed.append(plugin)
            else:
                self._switched_off.append(f"{plugin.name} of {plugin.distribution} ({switch})")
        return installed

    def _load_one(self, plugin: InstalledPlugin) -> Member:
        strict = self._switches.strict
        member = Member(plugin.name, plugin.distribution, plugin.version, plugin.value, strict)
        start = time.perf_counter()
        try:
            member.hooks = join(self._hooks, plugin.load(), member.key)
        except (Exception, SystemExit) as error:
            member.charge(error)
        finally:
            member.seconds = time.perf_counter() - start
        return member

    def _sorted_members(self) -> list[Member]:
        with self._lock:
            return sorted(self._members.values(), key=lambda member: member.sort_key)

    # -- what there is --------------------------------------------------------------------------

    def kits(self) -> list[Offered[KitSpec]]:
        """Return the kits of all plugins, sorted by name; nothing they name is imported."""
        return self._all(KIT)

    def substrates(self) -> list[Offered[SubstrateSpec]]:
        """Return the substrates of all plugins, sorted by name."""
        return self._all(SUBSTRATE)

    def providers(self) -> list[Offered[ProviderSpec]]:
        """Return the LLM providers of all plugins, sorted by name."""
        return self._all(PROVIDER)

    def commands(self) -> list[Offered[CommandSpec]]:
        """Return the subcommands of all plugins, sorted by name."""
        return self._all(COMMAND)

    def observers(self) -> list[tuple[str, Observer]]:
        """Return every implementation of ``kando_event_recorded``, sorted by distribution.

        Returns:
            Pairs of a plugin (``distribution:name``) and a function to be called with an event
            and its position. A call raises whatever the plugin raises.
        """
        self._load(_everybody)
        return [
            (member.key, partial(_observe, implementation))
            for member in self._sorted_members()
            for caller, implementation in implementations_of(self._hooks, member.key)
            if caller.name == "kando_event_recorded"
        ]

    def upcasters(self) -> list[Upcaster]:
        """Return what the plugins offer to bring up old events, sorted by distribution.

        Raises:
            PluginBroken: one fails to say; without it old events would be read as what they are not.
        """
        self._load(_everybody)
        found: list[Upcaster] = []
        for member in self._sorted_members():
            for caller, implementation in implementations_of(self._hooks, member.key):
                if caller.name == "kando_upcasters":
                    try:
                        offered: Any = implementation.function()
                        found += offered
                    except Exception as error:
                        msg = f"{member.key} offers no upcasters: {type(error).__name__}: {error}."
                        raise PluginBroken(msg, hint=f"Repair or upgrade {member.key}.") from error
        return found

    def plugins(self, *, load: bool = True) -> list[LoadedPlugin]:
        """Return the plugins, sorted by distribution and name, with what went wrong in each.

        Args:
            load: load all of them first and ask each what it offers. If not, the answer is about
                those that were needed so far.
        """
        if load:
            for kind in KINDS:
                self._all(kind)
        return [member.public() for member in self._sorted_members()]

    def failures(self, *, load: bool = True) -> list[LoadedPlugin]:
        """Return the plugins in which something went wrong; `load` as in `plugins`."""
        return [plugin for plugin in self.plugins(load=load) if plugin.error is not None]

    def conflicts(self) -> list[PluginConflict]:
        """Return an error for each name, of any kind, that more than one plugin claims.

        A name that a preferred distribution offers is settled.
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

    # -- finding one by name --------------------------------------------------------------------

    def kit(self, name: str) -> Offered[KitSpec]:
        """Find a kit by ``name``, ``distribution/name`` or the older ``kits/name``.

        Raises:
            UnknownPlugin: nobody offers it.
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

    def command(self, name: str) -> Offered[CommandSpec]:
        """Find a subcommand by name or ``distribution/name``.

        Raises:
            UnknownPlugin, PluginConflict, PluginBroken: as for `kit`.
        """
        return self._find(COMMAND, name)

    def resolve(self, offered: Offered[Spec]) -> object:
        """Import what `offered` names. Nothing else imports a target.

        Raises:
            PluginBroken: it cannot be imported; the cause is chained.
        """
        noun = next(kind.noun for kind in KINDS if isinstance(offered.spec, kind.record))
        return import_target(noun, offered)

    def _find(self, kind: Kind[Spec], name: str) -> Offered[Spec]:
        distribution, _, short_name = name.rpartition("/")
        steps = self._steps_within(distribution) if distribution else self._steps(short_name)
        for members, are_named_so in steps:
            found = [
                offered
                for offered in self._offers(kind, members)
                if short_name in names_of(offered.spec)
            ]
            if len(found) > 1:
                raise conflict(kind, name, found)
            if found:
                return found[0]
            # Rather than go on and find the name at somebody else's: this is what was meant.
            for member in members if are_named_so else ():
                for problem in member.problems:
                    if problem.hook in ("", kind.hook) and not member.is_registered:
                        raise broken(kind, name, member, problem)
        known = [known for offered in self._all(kind) for known in names_of(offered.spec)]
        raise unknown(kind, name, known, self.failures(load=False), self._switched_off)

    def _steps(self, name: str) -> Iterator[tuple[list[Member], bool]]:
        """Yield members to look among, and whether their own names say that they offer `name`."""
        yield [member for member in self._sorted_members() if member.is_registered], False

        for distribution in self._switches.preferred:
            for members, _ in self._steps_within(distribution):
                yield members, False

        names = {normalised(name), f"kando-{normalised(name)}", f"kando-kit-{normalised(name)}"}

        def is_namesake(plugin: InstalledPlugin | Member) -> bool:
            return plugin.name == name or normalised(plugin.distribution) in names

        self._load(is_namesake)
        installed = [member for member in self._sorted_members() if not member.is_registered]
        yield [member for member in installed if is_namesake(member)], True
        self._load(_everybody)
        yield self._sorted_members(), False

    def _steps_within(self, distribution: str) -> Iterator[tuple[list[Member], bool]]:
        def is_part(plugin: InstalledPlugin | Member) -> bool:
            return normalised(plugin.distribution) == normalised(distribution)

        self._load(is_part)
        yield [member for member in self._sorted_members() if is_part(member)], True

    def _all(self, kind: Kind[Spec]) -> list[Offered[Spec]]:
        self._load(_everybody)
        return self._offers(kind, self._sorted_members())

    def _offers(self, kind: Kind[Spec], members: list[Member]) -> list[Offered[Spec]]:
        offers: list[Offered[Spec]] = []
        with self._lock:
            for member in members:
                if kind.hook not in member.offers:
                    mine = implementations_of(self._hooks, member.key)
                    member.ask(kind, [impl for caller, impl in mine if caller.name == kind.hook])
                offers += member.offers[kind.hook]
        return sorted(offers, key=lambda o: (o.spec.name, normalised(o.distribution)))


def _everybody(plugin: InstalledPlugin) -> bool:
    return True


def _observe(implementation: pluggy.HookImpl, event: KandoEvent, position: int) -> object:
    """Call an observer with those of the arguments that it takes."""
    arguments = {"event": event, "position": position}
    taken = (*implementation.argnames, *implementation.kwargnames)
    return implementation.function(**{name: arguments[name] for name in taken if name in arguments})
