"""Registration of one plugin with pluggy, and the checks that it must pass."""

from __future__ import annotations

import inspect
from types import ModuleType

import pluggy

from kando.plugins import hookspecs
from kando.plugins._metadata import core_version
from kando.plugins.errors import PluginError
from kando.plugins.specs import PLUGIN_API

__all__ = ["implementations_of", "new_hooks", "register"]


def new_hooks() -> pluggy.PluginManager:
    """Return a pluggy manager with Kando's hooks and without plugins."""
    hooks = pluggy.PluginManager(hookspecs.PROJECT)
    hooks.add_hookspecs(hookspecs)
    return hooks


def register(hooks: pluggy.PluginManager, plugin: object, key: str) -> tuple[str, ...]:
    """Register `plugin` under `key`; if a check fails, it is unregistered again.

    pluggy silently accepts hooks that do not exist. They are checked here, for each plugin
    separately, so that the error names the plugin at fault.

    Returns:
        The names of the hooks it implements, sorted.

    Raises:
        PluginError: it was made for another version, or one of its hooks is malformed.
        Exception: pluggy rejected it.
    """
    _check_api(plugin)
    hooks.register(plugin, key)
    try:
        implemented = implementations_of(hooks, key)
        _check_marks(plugin, {implementation.function for _, implementation in implemented})
        for caller, implementation in implemented:
            _check_implementation(caller, implementation)
    except BaseException:
        hooks.unregister(plugin)
        raise
    return tuple(sorted({caller.name for caller, _ in implemented}))


def implementations_of(
    hooks: pluggy.PluginManager, key: str
) -> list[tuple[pluggy.HookCaller, pluggy.HookImpl]]:
    """Return the hooks that the plugin registered under `key` implements, with the functions."""
    return [
        (caller, implementation)
        for caller in vars(hooks.hook).values()
        for implementation in caller.get_hookimpls()
        if implementation.plugin_name == key
    ]


def _check_api(plugin: object) -> None:
    stated = getattr(plugin, "KANDO_PLUGIN_API", None)
    if stated is None:
        return
    match stated:
        case (int(lowest), int(highest)) if lowest <= highest:
            pass
        case _:
            msg = f"KANDO_PLUGIN_API is {stated!r}; it must be a pair (lowest, highest)."
            raise PluginError(msg, hint=f"Write KANDO_PLUGIN_API = ({PLUGIN_API}, {PLUGIN_API}).")
    if not lowest <= PLUGIN_API <= highest:
        range_ = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
        msg = f"was made for plugin API {range_}, but {core_version()} has {PLUGIN_API}."
        cure = "kando-core" if lowest > PLUGIN_API else "the plugin"
        raise PluginError(msg, hint=f"Upgrade {cure}.")


def _check_marks(plugin: object, marked: set[object]) -> None:
    for name in hookspecs_by_name():
        function = getattr(plugin, name, None)
        if callable(function) and function not in marked:
            msg = f"defines `{name}` without @hookimpl."
            raise PluginError(msg, hint="Put @hookimpl above it.")
    if not marked:
        what = "module" if isinstance(plugin, ModuleType) else "object"
        msg = f"is a {what} that implements no hook."
        raise PluginError(msg, hint="Mark its functions with @hookimpl.")


def _check_implementation(caller: pluggy.HookCaller, implementation: pluggy.HookImpl) -> None:
    if not caller.has_spec() and not implementation.optionalhook:
        msg = f"implements `{caller.name}`, which {core_version()} does not have."
        raise PluginError(msg, hint="Upgrade kando-core, or correct the name of the hook.")
    if implementation.wrapper or implementation.hookwrapper:
        msg = f"implements `{caller.name}` as a wrapper, which Kando's hooks do not support."
        raise PluginError(msg, hint="Write a plain @hookimpl.")
    if inspect.iscoroutinefunction(implementation.function):
        msg = f"implements `{caller.name}` with `async def`, which Kando does not await."
        raise PluginError(msg, hint="Write a plain function.")


def hookspecs_by_name() -> tuple[str, ...]:
    """Return the names of Kando's hooks, sorted."""
    return tuple(sorted(name for name in vars(hookspecs) if name.startswith("kando_")))
