"""Shared by the commands: their options, the store that they open, and the commands they suggest."""

# long: the options that commands share, side by side.

from __future__ import annotations

import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stdout,
    suppress,
)
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kando.app.config import Settings, read_settings
from kando.app.store import Store, open_store
from kando.app.termination import Termination, interrupt
from kando.cli.output import DATA_STREAM, json_option, say, warn
from kando.errors import ConfigurationError
from kando.ledger.urls import redact_url
from kando.schema.visible import clean
from kando.settings import GRACE_SECONDS, PREFERRED_PLUGINS, QUIET, value_of

if TYPE_CHECKING:
    from kando.app.providers import Listen

__all__ = [
    "answer_options",
    "command_environ",
    "command_for",
    "grace_option",
    "ignore_files",
    "in_same_store",
    "is_quiet",
    "lenient_environ",
    "open_command_store",
    "options_of",
    "page_options",
    "provider_option",
    "resume_hint",
    "settings_of",
    "settings_option",
    "shared_options",
    "store_options",
    "stream_option",
    "stream_to_stderr",
    "termination",
]

#: Key of the settings in the meta data of a click context.
_SETTINGS = "kando.settings"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def shared_options(function: _Function) -> _Function:
    """Give a command ``--json``, ``--quiet``, and ``--ledger``, ``--prefer``, ``--debug`` of `kando`."""
    for option in (
        click.option(
            "--quiet",
            "-q",
            is_flag=True,
            expose_value=False,
            callback=_keep,
            help="Show no progress on stderr. [env: KANDO_QUIET]",
        ),
        click.option(
            "--debug", is_flag=True, expose_value=False, help="Show a traceback with each error."
        ),
        click.option(
            "--ledger",
            metavar="URL",
            expose_value=False,
            callback=_keep,
            help="URL of the substrate, such as sqlite:PATH. [env: KANDO_LEDGER]",
        ),
        click.option(
            "--prefer",
            metavar="DIST",
            expose_value=False,
            callback=_keep,
            help="Distribution to prefer when several plugins claim a name. [env: KANDO_PREFER]",
        ),
    ):
        function = option(function)
    return json_option(function)


def _keep(
    context: click.Context, parameter: click.Parameter, value: str | float | bool | None
) -> None:
    if value is not None and parameter.name is not None:
        context.find_root().ensure_object(dict)[parameter.name] = value


def page_options(items: str) -> Callable[[_Function], _Function]:
    """Give a command ``--limit`` and ``--cursor``, for the pages of a list.

    Args:
        items: what is listed, for the help text.
    """

    def decorate(function: _Function) -> _Function:
        cursor = click.option(
            "--cursor", metavar="CURSOR", help="Continue after the previous page: its next_cursor."
        )
        return click.option(
            "--limit",
            type=click.IntRange(1, 1000),
            metavar="N",
            default=20,
            show_default=True,
            help=f"Maximum number of {items}.",
        )(cursor(function))

    return decorate


# Characters of one line of a streamed answer.
_LINE_CHARS = 100


def _assigned(context: click.Context, parameter: click.Parameter, given: Iterable[str]) -> Any:
    from kando.app.kits.settings import assignments

    return assignments(given)


def settings_option(function: _Function) -> _Function:
    """Give a command ``--set``."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_assigned,
        help="Set a setting of the kit; may be repeated.",
    )(function)


def _servers(
    context: click.Context, parameter: click.Parameter, given: Iterable[str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given:
        name, is_assigned, how = each.partition("=")
        if not is_assigned or not name or not how.strip():
            msg = f"{each!r:.60} is not an MCP server. Write --mcp NAME=COMMAND or NAME=URL."
            raise click.BadParameter(msg)
        if name in found:
            raise click.BadParameter(f"MCP server {name!r:.60} is given twice.")
        found[name] = how.strip()
    return found


def mcp_option(function: _Function) -> _Function:
    """Give a command ``--mcp``."""
    return click.option(
        "--mcp",
        multiple=True,
        metavar="NAME=COMMAND",
        callback=_servers,
        help="Offer the tools of an MCP server, by its command or URL, to the kit's models; may be "
        "repeated. [env: KANDO_MCP_SERVERS]",
    )(function)


def stream_option(function: _Function) -> _Function:
    """Give a command ``--stream``."""
    return click.option(
        "--stream",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="Show answers on stderr as they stream in.",
    )(function)


def grace_option(function: _Function) -> _Function:
    """Give a command ``--grace``."""
    return click.option(
        "--grace",
        type=click.FloatRange(0),
        metavar="SECONDS",
        expose_value=False,
        callback=_keep,
        help="Time for calls in flight when SIGTERM or SIGHUP ends the command.  [default: 60]",
    )(function)


def termination(store: Store, on_signal: Callable[[], None] = interrupt) -> Termination:
    """Return what handles SIGTERM and SIGHUP during the work of a command, and announces it."""
    seconds = value_of(GRACE_SECONDS, store.context.environ)

    def announced() -> None:
        # The signal may have arrived while a line was written.
        with suppress(RuntimeError):
            warn(f"ending: calls in flight have {seconds:g} s to return")
        on_signal()

    return Termination(seconds, announced)


def answer_options(function: _Function) -> _Function:
    """Give a command ``--max-tokens`` and ``--no-prompt-cache``."""
    function = click.option(
        "--no-prompt-cache",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="Do not mark prompts for the server's cache.",
    )(function)
    return click.option(
        "--max-tokens",
        type=click.IntRange(1),
        metavar="N",
        expose_value=False,
        callback=_keep,
        help="Limit on the tokens of each answer; overrides the kit's.",
    )(function)


def _llm_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of requests to models that a command was given."""
    limit = {"max_tokens": options["max_tokens"]} if options.get("max_tokens") else {}
    return limit | ({"prompt_cache": False} if options.get("no_prompt_cache") else {})


@contextmanager
def stream_to_stderr(request: dict[str, Any]) -> Iterator[Callable[[str], None]]:
    """Show the text of one answer on stderr line by line, since several may stream in at once.

    Long paragraphs are broken at spaces, so that they appear before they end.
    """
    about = request.get("cause_object_id") or "llm"
    rest = ""

    def on_text(piece: str) -> None:
        nonlocal rest
        *lines, rest = (rest + piece).split("\n")
        for line in lines:
            show(line)
        while len(rest) > _LINE_CHARS and (at := rest.rfind(" ", 0, _LINE_CHARS)) > 0:
            show(rest[:at])
            rest = rest[at + 1 :]

    def show(line: str) -> None:
        say(clean(f"{about}| {line}"))

    try:
        yield on_text
    finally:
        if rest:
            show(rest)


def options_of(context: click.Context | None) -> dict[str, Any]:
    """Return the options that the commands share, given before the command or after it."""
    root = context.find_root() if context is not None else None
    return {**root.params, **(root.obj or {})} if root is not None else {}


def settings_of(context: click.Context | None) -> Settings:
    """Return the settings of the process, which are read once: its environment, and the files.

    Raises:
        ConfigurationError: a file is malformed, or sets what it may not set.
    """
    kept = context.meta if context is not None else {}
    if _SETTINGS not in kept:
        kept[_SETTINGS] = read_settings()
    found: Settings = kept[_SETTINGS]
    return found


def ignore_files(context: click.Context | None) -> None:
    """Have `settings_of` return the environment alone: a file of settings is malformed."""
    if context is not None:
        context.meta[_SETTINGS] = Settings(os.environ, os.environ)


def command_environ(context: click.Context | None) -> Mapping[str, str]:
    """Return the environment of a command: with the settings of files, ``--prefer`` and ``--grace``."""
    options, environ = options_of(context), settings_of(context).environ
    named = ((PREFERRED_PLUGINS, options.get("prefer")), (GRACE_SECONDS, options.get("grace")))
    given = {setting.variable: str(value) for setting, value in named if value is not None}
    return {**environ, **given} if given else environ


def lenient_environ(context: click.Context | None) -> Mapping[str, str]:
    """Return the same; if a file of settings is malformed, report it and leave the files out.

    For unknown commands and completion, which a file must not disable.
    """
    try:
        return command_environ(context)
    except ConfigurationError as error:
        warn(str(error))
        ignore_files(context)
        return command_environ(context)


@contextmanager
def open_command_store(
    *, shows_progress: bool = False, is_paged: bool = False, listen: Listen | None = None
) -> Iterator[Store]:
    """Open the store for one command, and report once if plugins failed to load.

    Only the command's data reaches stdout: what kits and plugins print goes to stderr.

    Args:
        shows_progress: whether stderr shows what the command is doing, unless ``--quiet`` is given.
        is_paged: whether the command writes data to stdout bit by bit, perhaps to a pager.
        listen: receives the text of answers as it streams in; if None, ``--stream`` shows it.
    """
    context = click.get_current_context()
    options = options_of(context)
    environ = command_environ(context)
    context.meta[DATA_STREAM] = sys.stdout
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.showwarning = _show_warning
        if listen is None and options.get("stream"):
            listen = stream_to_stderr
        with (
            open_store(
                options.get("ledger"),
                environ=environ,
                listen=listen,
                llm_options=_llm_options(options),
            ) as store,
            _progress(store, is_paged=is_paged) if shows_progress else nullcontext(),
        ):
            yield store
    # Only plugins that the command needed: others are not loaded just to report them.
    failures = store.context.failed_plugins()
    if failures:
        names = ", ".join(f"{f.distribution} {f.version}".strip() for f in failures)
        many = "plugins" if len(failures) > 1 else "plugin"
        warn(f"{len(failures)} {many} failed to load: {names} (see `{command_for('plugins')}`)")


def _progress(store: Store, *, is_paged: bool) -> AbstractContextManager[None]:
    """Return what shows the progress of the current command, if it is to be shown."""
    context = click.get_current_context()
    if is_quiet(store):
        return nullcontext()
    from kando.cli.progress import progress_shown

    return progress_shown(
        store.context.activities,
        f"kando {context.info_name}",
        as_json=bool(context.params.get("as_json")),
        is_paged=is_paged,
    )


def is_quiet(store: Store) -> bool:
    """Whether the current command shows no progress."""
    quiet = options_of(click.get_current_context()).get("quiet")
    return bool(quiet or value_of(QUIET, store.context.environ))


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    warn(str(message))


def store_options(ledger: str | None, prefer: str | None) -> str:
    """Return the options that a suggested command needs to use the same store and plugins."""
    # Only the user knows the password of a URL, which is not shown.
    url = None if ledger is None else shlex.quote(ledger) if ledger == redact_url(ledger) else "URL"
    given = (("--ledger", url), ("--prefer", shlex.quote(prefer) if prefer else None))
    return "".join(f" {name} {value}" for name, value in given if value)


def in_same_store(text: str, ledger: str | None, prefer: str | None) -> str:
    """Return a text whose suggested commands use the same store and plugins."""
    options = store_options(ledger, prefer)
    return re.sub(r"`(kando (?![^`]*--ledger)[^`]*)`", lambda found: f"`{found[1]}{options}`", text)


def command_for(*words: str) -> str:
    """Return a command to suggest, with the ``--ledger`` and ``--prefer`` of the current one."""
    options = options_of(click.get_current_context(silent=True))
    return f"kando {' '.join(words)}" + store_options(options.get("ledger"), options.get("prefer"))


def resume_hint(store: Store, run_id: str, options: str = "", *, lead: str = "Resume with") -> str:
    """Return how to resume a run: `lead`, and the command with `options`."""
    if store.url.startswith("memory:"):
        return "Start it again in a substrate that lasts: memory: keeps nothing."
    return f"{lead}: {command_for('resume', run_id)}{provider_option()}{options}"


def provider_option() -> str:
    """Return the ``--llm`` and ``--mcp`` of the current command for one to suggest."""
    context = click.get_current_context(silent=True)
    given = context.params if context is not None else {}
    llm, servers = given.get("llm"), given.get("mcp") or {}
    named = f" --llm {shlex.quote(llm)}" if llm and "@" not in llm else ""
    # A run does not remember what starts a server. A URL may hold a password.
    added = [f"{name}={how}" for name, how in servers.items() if "://" not in how or "@" not in how]
    return named + "".join(f" --mcp {shlex.quote(each)}" for each in added)
