"""Settings of a kit: the class that it declares, and the tools of a run that get its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kando.errors import ConfigurationError, InvalidData
from kando.responders.tools import Tool
from kando.schema.typed import instance_of, is_declarable

__all__ = ["check_settings", "tools_with"]


def check_settings(kit: str, cls: type, known: type | None, tools: Mapping[str, Tool]) -> None:
    """Refuse a class that cannot be the settings of a kit.

    Args:
        kit: name of the kit.
        cls: the class.
        known: the settings that the kit has already, or None.
        tools: that it has declared.

    Raises:
        ConfigurationError: the class is not declarable, or the declaration is the second one or
            follows that of a tool.
    """
    if not is_declarable(cls):
        msg = f"Kit {kit!r}: its settings are {cls!r:.60}, not an attrs class."
        raise ConfigurationError(msg, hint="Put @attrs.frozen under @kit.settings.")
    if known is not None:
        msg = f"Kit {kit!r} declares settings twice."
        raise ConfigurationError(msg, hint="Put all fields into one class.")
    if tools:
        msg = f"Kit {kit!r} declares settings after tools, which could not get them."
        raise ConfigurationError(msg, hint="Move @kit.settings before the first @kit.tool.")


def tools_with(
    tools: Mapping[str, Tool], cls: type | None, settings: Mapping[str, Any]
) -> Mapping[str, Tool]:
    """Return the tools of a kit as a run calls them, with the run's settings.

    Args:
        tools: as the kit declares them.
        cls: of the settings; None for a kit without any.
        settings: as ``kit.loaded`` holds them.
    """
    if cls is None:
        return tools
    try:
        made: Any = instance_of(cls, settings)
    except InvalidData:
        # A call then says so; a run that makes none needs no settings.
        made = None
    return {name: attrs.evolve(tool, settings=made) for name, tool in tools.items()}
