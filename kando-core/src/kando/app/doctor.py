"""Check the installation and the store, without changing anything."""

from __future__ import annotations

import platform
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from types import FrameType
from typing import Any

import attrs

from kando.app.context import Context
from kando.app.kits.find import find_kit
from kando.app.providers import KEY_ORDER, choose_provider, keys_without_provider
from kando.errors import KandoError
from kando.ledger.urls import redact_url
from kando.plugins import PluginConflict
from kando.plugins._targets import describe
from kando.plugins.records import Offered

__all__ = ["FAIL", "OK", "WARN", "Finding", "run_checks"]

OK = "ok"
WARN = "warn"
FAIL = "fail"


@attrs.frozen
class Finding:
    """The result of one check.

    Attributes:
        what: name of the check.
        state: ``ok``, ``warn`` or ``fail``.
        detail: the result in words.
        cure: how to repair it; empty if all is well.
    """

    what: str
    state: str
    detail: str
    cure: str = ""


def run_checks(context: Context) -> Iterator[Finding]:
    """Yield the result of each check. An error of a plugin is a result, too."""
    yield Finding("python", OK, f"{platform.python_implementation()} {platform.python_version()}")
    yield Finding("kando-core", OK, version("kando-core"))
    with _interrupts() as interrupts:
        for what, check in _CHECKS.items():
            yield from _results(what, check(context), interrupts)


def _results(
    what: str, findings: Iterator[Finding], interrupts: Sequence[int] = ()
) -> list[Finding]:
    """Return what a check finds, and after it the error that ended the check, if one did."""
    found = []
    try:
        for finding in findings:
            found.append(finding)
    except KandoError as error:
        found.append(Finding(what, FAIL, error.message, error.hint or ""))
    except BaseException as error:
        if interrupts:
            raise
        cure = "Report this to the authors of the plugin."
        found.append(Finding(what, FAIL, f"The check raised {describe(error)}.", cure))
    return found


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect the SIGINTs that arrive: a plugin, too, can raise KeyboardInterrupt."""
    arrived: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield arrived
        return

    def handler(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield arrived
    finally:
        signal.signal(signal.SIGINT, before)


def _store(context: Context) -> Iterator[Finding]:
    where = redact_url(context.url)
    try:
        newest = list(islice(context.substrate().ledgers(), 1))
    except KandoError as error:
        yield Finding("store", FAIL, f"{where}: {error.message}", error.hint or "")
        return
    yield Finding("store", OK, f"{where}: {'has runs' if newest else 'no runs yet'}")


def _plugins(context: Context) -> Iterator[Finding]:
    # Two plugins may claim one name; conflicts are reported below.
    kits = list(dict.fromkeys(offered.spec.name for offered in context.plugins.kits()))
    if kits:
        yield Finding("kits", OK, ", ".join(kits))
    else:
        yield Finding("kits", WARN, "none installed", "pip install kando-kit-diligence")
    for failed in context.plugins.failures():
        first, *_ = (failed.error or "").split("\n")
        yield Finding(
            f"plugin {failed.name}",
            FAIL,
            f"{failed.distribution} {failed.version}: {first}",
            f"Repair or uninstall it, or set KANDO_DISABLE_PLUGINS={failed.name}.",
        )
    for conflict in context.plugins.conflicts():
        about = f"{conflict.kind} {conflict.name}"
        yield Finding(about, FAIL, conflict.message, conflict.hint or "Uninstall one of them.")


def _targets(context: Context) -> Iterator[Finding]:
    """Yield the offers whose target cannot be imported, or has the wrong type."""
    plugins = context.plugins
    kinds: tuple[tuple[str, Sequence[Offered[Any]], Callable[[str], Any]], ...] = (
        ("kit", plugins.kits(), lambda name: find_kit(name, plugins)),
        ("substrate", plugins.substrates(), lambda name: plugins.resolve(plugins.substrate(name))),
        ("provider", plugins.providers(), lambda name: plugins.resolve(plugins.provider(name))),
        ("command", plugins.commands(), lambda name: plugins.resolve(plugins.command(name))),
    )
    for kind, offers, find in kinds:
        for name in dict.fromkeys(each.spec.name for each in offers):
            yield from _results(f"{kind} {name}", _target(kind, name, find))


def _target(kind: str, name: str, find: Callable[[str], Any]) -> Iterator[Finding]:
    about = f"{kind} {name}"
    try:
        found = find(name)
    except PluginConflict:
        # `_plugins` reports it.
        return
    if kind != "kit" and not callable(found):
        detail = f"Its target is a {type(found).__name__}, which cannot be called."
        yield Finding(about, FAIL, detail, "Report this to the authors of the plugin.")


def _provider(context: Context) -> Iterator[Finding]:
    unused = keys_without_provider(context.plugins, context.environ)
    provider = choose_provider(None, context.plugins, context.environ)
    if provider is not None:
        provider.close()
        yield Finding("llm", OK, provider.name)
    elif unused:
        yield Finding(
            "llm",
            WARN,
            "; ".join(f"{key} is set, but no installed provider uses it" for key in unused),
            "pip install --upgrade kando-llm",
        )
    else:
        keys = ", ".join(KEY_ORDER)
        yield Finding("llm", WARN, "no provider configured", f"Set one of {keys}, or KANDO_LLM.")


_CHECKS: dict[str, Callable[[Context], Iterator[Finding]]] = {
    "store": _store,
    "plugins": _plugins,
    "targets of plugins": _targets,
    "llm": _provider,
}
