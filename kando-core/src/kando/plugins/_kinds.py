"""The seven kinds of things that plugins offer by name."""

from __future__ import annotations

from typing import Any, Generic

import attrs

from kando.plugins.records import Spec
from kando.plugins.specs import (
    CommandSpec,
    ExporterSpec,
    KitSpec,
    ProviderSpec,
    RecallSpec,
    SubstrateSpec,
    ToolProtocolSpec,
)

__all__ = [
    "COMMAND",
    "EXPORTER",
    "KINDS",
    "KIT",
    "PROVIDER",
    "RECALL",
    "SUBSTRATE",
    "TOOL_PROTOCOL",
    "Kind",
    "names_of",
]


@attrs.frozen
class Kind(Generic[Spec]):
    """A kind of things that plugins offer.

    Attributes:
        noun: its name in messages.
        hook: name of the hook that returns them.
        record: type of the records that the hook returns.
    """

    noun: str
    hook: str
    record: type[Spec]


#: A record of any kind.
AnySpec = (
    KitSpec
    | SubstrateSpec
    | ProviderSpec
    | ToolProtocolSpec
    | ExporterSpec
    | RecallSpec
    | CommandSpec
)

KIT = Kind("kit", "kando_kits", KitSpec)
SUBSTRATE = Kind("substrate", "kando_substrates", SubstrateSpec)
PROVIDER = Kind("provider", "kando_providers", ProviderSpec)
TOOL_PROTOCOL = Kind("tool protocol", "kando_tool_protocols", ToolProtocolSpec)
EXPORTER = Kind("exporter", "kando_exporters", ExporterSpec)
RECALL = Kind("recall", "kando_recalls", RecallSpec)
COMMAND = Kind("command", "kando_commands", CommandSpec)

KINDS: tuple[Kind[Any], ...] = (KIT, SUBSTRATE, PROVIDER, TOOL_PROTOCOL, EXPORTER, RECALL, COMMAND)


def names_of(spec: AnySpec) -> tuple[str, ...]:
    """Return all names that `spec` claims: its own, then a substrate's URL schemes."""
    schemes = spec.schemes if isinstance(spec, SubstrateSpec) else ()
    return (spec.name, *(scheme for scheme in schemes if scheme != spec.name))
