"""The targets of plugins' offers, and their import."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from kando.errors import KandoError
from kando.plugins.errors import PluginBroken
from kando.plugins.records import Offered

__all__ = ["describe", "import_target"]


def describe(error: BaseException) -> str:
    """Return the message of `error` in one line, with its type unless it is one of Kando's."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "its message cannot be shown"
    if isinstance(error, KandoError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def import_target(noun: str, offered: Offered[Any], target: str = "") -> object:
    """Import the target of `offered`.

    Args:
        noun: what it is.
        offered: whose record names the target.
        target: another import string of the record, in place of its target.

    Raises:
        PluginBroken: its module cannot be imported, or has no such attribute.
    """
    target = target or offered.spec.target
    what = f"{noun.capitalize()} {offered.spec.name!r} of {offered.origin} cannot be loaded"
    module_name, _, path = target.partition(":")
    try:
        found: object = import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        msg = f"{what}: importing {module_name} raised {describe(error)}."
        raise PluginBroken(msg, hint=_cure_for_import(offered.distribution, error)) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            msg = f"{what}: resolving its target {target!r} raised {describe(error)}."
            hint = f"Reinstall or upgrade {offered.distribution}."
            raise PluginBroken(msg, hint=hint) from error
    return found


def _cure_for_import(distribution: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"Install the module {error.name!r}, or reinstall {distribution}."
    return f"Upgrade {distribution}, or report this to its authors."
