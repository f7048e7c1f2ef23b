"""The settings of a kit: given as texts or values, checked against its class, and completed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from kando.errors import ConfigurationError
from kando.kit._types import recall_settings
from kando.plugins.errors import PluginError
from kando.schema.events import SETTINGS
from kando.schema.exact_json import decode
from kando.schema.names import suggestion
from kando.schema.typed import (
    declared_fields,
    field_types,
    is_declarable,
    problems_in,
    problems_in_value,
    to_json,
    with_defaults,
)
from kando.text.relevance import BM25

if TYPE_CHECKING:
    from kando.app.context import Context
    from kando.kit import Kit

__all__ = [
    "Assignments",
    "KitSettings",
    "assignments",
    "recorded_settings",
    "require_recalls",
    "settings_data",
]


class Assignments(dict[str, str]):
    """KitSettings as texts, as ``--set`` gives them."""


#: Settings by name, as JSON or as texts; or an instance of the kit's class.
KitSettings = Mapping[str, Any] | object


def assignments(given: Iterable[str]) -> Assignments | None:
    """Return the settings in texts ``NAME=VALUE``; None without any.

    Raises:
        ConfigurationError: a text has no ``=``, or a name is given twice.
    """
    found = Assignments()
    for each in given:
        name, is_assigned, value = each.partition("=")
        name = name.strip()
        if not is_assigned or not name:
            msg = f"{each!r:.60} is not a setting."
            raise ConfigurationError(msg, hint="Write --set NAME=VALUE.")
        if name in found:
            raise ConfigurationError(f"Setting {name!r} is given twice.", hint="Give it once.")
        found[name] = value
    return found or None


def recorded_settings(kit: Kit, loaded: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the settings that a ledger remembers, for the kit as it is today.

    Fields that its class has no more are left out, and new ones get their defaults.

    Args:
        kit: that works on the run.
        loaded: data of the last ``kit.loaded``, or None.
    """
    cls = kit.settings_class
    if cls is None:
        return None
    found = loaded.get(SETTINGS) if loaded is not None and loaded.get("name") == kit.name else None
    known = found if isinstance(found, dict) else {}
    return with_defaults({name: known[name] for name in field_types(cls) if name in known}, cls)


def settings_data(
    context: Context, kit: Kit, given: KitSettings | None, known: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return the settings of a run, complete and checked, as ``kit.loaded`` holds them.

    Args:
        context: the plugins.
        kit: of the run.
        given: the settings to set.
        known: the settings that hold for the others; the defaults if omitted.

    Returns:
        None if the kit has no settings.

    Raises:
        ConfigurationError: the kit lacks a setting, a value does not fit its type, a setting
            without a default has no value, or no plugin offers the recall that one names.
    """
    cls = kit.settings_class
    if cls is None:
        if given:
            msg = f"Kit {kit.name!r} has no settings."
            raise ConfigurationError(msg, hint="Its author declares them with @kit.settings.")
        return None
    values = _values(kit, cls, given)
    data = with_defaults({**(known or {}), **values}, cls)
    problems = problems_in(data, cls)
    if problems is not None:
        msg = f"The settings of kit {kit.name!r} do not fit: {problems}."
        cure = "Set them with --set NAME=VALUE, or settings= in Python."
        raise ConfigurationError(msg, hint=f"They are {declared_fields(cls)}. {cure}")
    require_recalls(context, kit, data)
    return data


def require_recalls(context: Context, kit: Kit, settings: Mapping[str, Any] | None) -> None:
    """Check that the recalls which settings name are installed.

    Args:
        context: the plugins.
        kit: of the run.
        settings: of the run, as ``kit.loaded`` holds them.

    Raises:
        ConfigurationError: no plugin offers one of them, several do, or its plugin failed to load.
    """
    if not settings or kit.settings_class is None:
        return
    for name in recall_settings(kit.settings_class):
        chosen = settings.get(name, BM25)
        if chosen == BM25:
            continue
        try:
            context.plugins.recall(chosen)
        except PluginError as error:
            msg = f"Setting {name!r} of kit {kit.name!r}: {error.message}"
            hint = f"{error.hint} Without a plugin, the setting is {BM25}."
            raise ConfigurationError(msg, hint=hint) from error


def _values(kit: Kit, cls: type, given: KitSettings | None) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, cls):
        values: dict[str, Any] = to_json(given)
        return values
    if not isinstance(given, Mapping) or is_declarable(type(given)):
        msg = f"The settings of kit {kit.name!r} are {given!r:.60}."
        raise ConfigurationError(msg, hint=f"Pass a mapping, or an instance of {cls.__name__}.")
    types = field_types(cls)
    for name in given:
        if name not in types:
            msg = f"Kit {kit.name!r} has no setting {name!r:.60}."
            raise ConfigurationError(msg, hint=suggestion(str(name), types))
    if not isinstance(given, Assignments):
        return {name: to_json(value) for name, value in given.items()}
    return {name: _value_of(text, name, cls) for name, text in given.items()}


def _value_of(text: str, name: str, cls: type) -> Any:
    """Return the value that a text stands for: the text itself where that fits, else its JSON."""
    try:
        value = decode(text)
    except msgspec.DecodeError:
        return text
    return text if problems_in_value(text, field_types(cls)[name]) is None else value
