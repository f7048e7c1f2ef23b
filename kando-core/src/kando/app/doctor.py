"""Check the installation and the store, without changing anything."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import attrs

from kando.app.config import Settings
from kando.app.context import Context
from kando.app.kits.find import find_kit
from kando.app.providers import KEY_ORDER, choose_provider, keys_without_provider
from kando.app.substrates import sqlite_path
from kando.errors import KandoError, LedgerDeleted, StoreError
from kando.ledger.pages import page_problems
from kando.ledger.urls import redact_url
from kando.plugins import PluginConflict
from kando.plugins._targets import describe
from kando.plugins.records import Offered

__all__ = ["FAIL", "OK", "WARN", "Finding", "run_checks"]

OK = "ok"
WARN = "warn"
FAIL = "fail"

_PAGES_SECONDS = 10.0
_MAX_RUNS = 1000
# A store needs space for its log, and for an export.
_ENOUGH_BYTES = 500 * 2**20
_FEW_BYTES = 20 * 2**20


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


def run_checks(
    context: Context, settings: Settings | None = None, problem: KandoError | None = None
) -> Iterator[Finding]:
    """Yield the result of each check. An error that ends a check is a result, too.

    Args:
        context: the plugins, the settings and the substrate.
        settings: with the files that were read.
        problem: the error of a file of settings that cannot be used, and is left out.
    """
    with _interrupts() as interrupts:
        yield from _results("settings", _files(settings, problem), interrupts)
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


def _installation(context: Context) -> Iterator[Finding]:
    yield Finding("python", OK, f"{platform.python_implementation()} {platform.python_version()}")
    try:
        yield Finding("kando-core", OK, version("kando-core"))
    except PackageNotFoundError:
        cure = "pip install --force-reinstall kando-core"
        yield Finding("kando-core", WARN, "its metadata is not installed", cure)


def _files(settings: Settings | None, problem: KandoError | None) -> Iterator[Finding]:
    if problem is not None:
        yield Finding("settings", FAIL, problem.message, problem.hint or "")
    for file in settings.files if settings is not None else ():
        trust = "" if file.is_trusted else ", not trusted"
        keys = ", ".join(file.values) or "no settings"
        yield Finding("settings", OK, f"{file.path} ({file.origin}{trust}): {keys}")


def _store(context: Context) -> Iterator[Finding]:
    where = redact_url(context.url)
    try:
        newest = list(islice(context.substrate().ledgers(), 1))
    except KandoError as error:
        yield Finding("store", FAIL, f"{where}: {error.message}", error.hint or "")
        return
    yield Finding("store", OK, f"{where}: {'has runs' if newest else 'no runs yet'}")


def _file_of(context: Context) -> Path | None:
    """Return the SQLite file of the store; None for another substrate, and for a malformed URL."""
    scheme = context.url.partition(":")[0].lower()
    with suppress(KandoError):
        return sqlite_path(context.url) if scheme == "sqlite" else None
    return None


def _disk(context: Context) -> Iterator[Finding]:
    """Yield whether the store can be written, and how much may be written to it."""
    file = _file_of(context)
    if file is None:
        return
    folder = next(each for each in file.absolute().parents if each.exists())
    is_writable = os.access(folder, os.W_OK | os.X_OK)
    is_writable = is_writable and (not file.exists() or os.access(file, os.R_OK | os.W_OK))
    if not is_writable:
        cure = f"Make {folder} and the file writable, or choose another store with --ledger."
        yield Finding("write access", WARN, f"{file} can only be read", cure)
    else:
        yield Finding("write access", OK, str(folder))
    free = shutil.disk_usage(folder).free
    state = OK if free >= _ENOUGH_BYTES else WARN if free >= _FEW_BYTES else FAIL
    cure = "" if state == OK else f"Free some space on the disk of {folder}, or move the store."
    yield Finding("free space", state, f"{free / 2**20:,.0f} MiB", cure)


def _pages(context: Context) -> Iterator[Finding]:
    file = _file_of(context)
    if file is None or not file.is_file():
        return
    try:
        context.substrate()
    except KandoError:
        # `_store` reports it.
        return
    problems, is_complete = page_problems(file, _PAGES_SECONDS)
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        cure = "Restore the file from a copy, or export the runs that `kando verify --all` accepts."
        yield Finding("pages", FAIL, f"{file} is damaged: {problems[0]}{more}", cure)
    elif is_complete:
        yield Finding("pages", OK, "intact")
    else:
        detail = f"intact as far as they were checked in {_PAGES_SECONDS:g} seconds"
        yield Finding("pages", OK, detail)


def _claims(context: Context) -> Iterator[Finding]:
    """Yield the runs whose process died while it worked on them."""
    with suppress(StoreError):
        for info in islice(context.substrate().ledgers(), _MAX_RUNS):
            claim = None
            # It may have been deleted since the ledgers were listed.
            with suppress(LedgerDeleted):
                claim = context.substrate().claim_of(info.id)
            if claim is not None and claim.is_held and not claim.is_live():
                since = f"{claim.since:%Y-%m-%dT%H:%M:%SZ}"
                detail = f"{claim.worker} has died; it had worked on the run since {since}"
                yield Finding(
                    f"run {info.id}", WARN, detail, f"`kando resume {info.id}` resumes it."
                )


def _jobs(context: Context) -> Iterator[Finding]:
    """Yield the groups that have parked jobs."""
    try:
        names = context.substrate().groups()
        found = [context.substrate(read_only=False).group(name).info() for name in names]
    except StoreError as error:
        yield Finding("groups", WARN, f"jobs cannot be counted: {error.message}", error.hint or "")
        return
    for each in found:
        if each.parked:
            jobs = "job is" if each.parked == 1 else "jobs are"
            cure = (
                f"`kando groups parked {each.name}` shows why; "
                f"`kando groups replay-parked {each.name}` retries."
            )
            yield Finding(f"group {each.name}", WARN, f"{each.parked} {jobs} parked", cure)


def _distributions(context: Context) -> Iterator[Finding]:
    for path, problem in context.plugins.damaged():
        cure = "Reinstall the distribution, or remove this folder: its plugins are not found."
        yield Finding(f"distribution {Path(path).name}", WARN, f"{path}: {problem}", cure)


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
    "installation": _installation,
    "store": _store,
    "disk": _disk,
    "pages": _pages,
    "claims": _claims,
    "groups": _jobs,
    "distributions": _distributions,
    "plugins": _plugins,
    "targets of plugins": _targets,
    "llm": _provider,
}
