"""The nine hooks that a plugin can implement.

A plugin is a light module, named by an entry point of the group ``kando``, whose functions are
marked with `hookimpl`:

    # pyproject.toml
    [project.entry-points.kando]
    acme = "kando_acme.plugin"

    # kando_acme/plugin.py imports kando and nothing heavier
    from kando.plugins import SubstrateSpec, hookimpl

    @hookimpl
    def kando_substrates():
        return [SubstrateSpec("acme", "kando_acme.substrate:open_url", summary="Acme ledgers")]

Rules for all hooks:

- An implementation may take fewer arguments than the hook has, by name. Later versions may add
  arguments.
- Implementations are called one by one. If one raises, the failure is recorded for its plugin, and
  the others are still called.
- Calls are ordered by the names of the distributions, not by installation: there are no wrappers,
  and ``tryfirst`` and ``trylast`` have no effect.
- An implementation is a plain function, not ``async def``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

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
    from kando.schema.events import KandoEvent
    from kando.schema.upcasting import Upcaster

__all__ = ["PROJECT", "hookimpl", "hookspec"]

#: The project name in pluggy, and the entry-point group.
PROJECT = "kando"

#: Marks a function of a plugin as the implementation of the hook of its name.
hookimpl = pluggy.HookimplMarker(PROJECT)

#: Marks a function as the definition of a hook.
hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def kando_kits() -> Iterable[KitSpec]:
    """Offer kits. Called when a kit or the list of kits is requested."""
    raise NotImplementedError


@hookspec
def kando_substrates() -> Iterable[SubstrateSpec]:
    """Offer substrates. Called when a substrate or the list of substrates is requested."""
    raise NotImplementedError


@hookspec
def kando_providers() -> Iterable[ProviderSpec]:
    """Offer LLM providers. Called when a provider or the list of providers is requested."""
    raise NotImplementedError


@hookspec
def kando_tool_protocols() -> Iterable[ToolProtocolSpec]:
    """Offer protocols of tool servers. Called when a run has such a server."""
    raise NotImplementedError


@hookspec
def kando_exporters() -> Iterable[ExporterSpec]:
    """Offer formats of ``kando export``. Called for a format or an extension that core lacks."""
    raise NotImplementedError


@hookspec
def kando_recalls() -> Iterable[RecallSpec]:
    """Offer recalls. Called when the settings of a run name one."""
    raise NotImplementedError


@hookspec
def kando_commands() -> Iterable[CommandSpec]:
    """Offer subcommands. Called for ``kando --help`` and for a command that core does not have."""
    raise NotImplementedError


@hookspec
def kando_upcasters() -> Iterable[Upcaster]:
    """Offer upcasters of event types that do not belong to a kit. Called when events are read."""
    raise NotImplementedError


@hookspec
def kando_event_recorded(event: KandoEvent, position: int) -> None:
    """Observe an event that has been recorded.

    An observer cannot change the event, and its result is ignored.

    Args:
        event: as recorded.
        position: its 0-based position in the ledger.
    """
