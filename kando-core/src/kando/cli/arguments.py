"""Types of arguments that name a run, a kit, a provider or a format; a shell completes them.

Completion only reads: it creates no store. It is silent about errors, and offers no names when they
cannot be found in time.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from kando.app.context import Context

__all__ = [
    "ANY_RUN",
    "CHAT",
    "EXPORT_FORMAT",
    "GOAL",
    "KIT",
    "KIT_NAME",
    "PROVIDER",
    "RUN",
    "described",
    "quiet",
    "unicode_text",
]

#: Seconds after which completion gives up, such as on a server that does not answer.
_SECONDS = 3.0

#: A goal is part of every request to a model.
_MAX_GOAL_BYTES = 1_000_000

#: How many runs are offered: the newest ones.
_MAX_RUNS = 50

Find = Callable[["Context", str], Iterator[CompletionItem]]


class _Name(click.ParamType[str]):
    """The name of something that a store or an installed plugin has."""

    def __init__(self, name: str, find: Find) -> None:
        self.name = name
        self._find = find

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name in Unicode, whatever the locale."""
        return unicode_text(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that start with what is typed, or none if finding them fails."""
        found: list[CompletionItem] = []

        def find() -> None:
            with suppress(BaseException), _context_of(ctx) as context:
                found.extend(self._find(context, incomplete))

        with quiet():
            # A thread that hangs must not keep the shell waiting, nor the process from ending.
            thread = threading.Thread(target=find, daemon=True)
            thread.start()
            thread.join(_SECONDS)
        return [each for each in [*found] if each.value.startswith(incomplete)]


class _Kit(_Name):
    """The name of a kit, or the path of a Python file that holds one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name; for a path that ends with ``.py``, the kit in the file."""
        if not isinstance(value, str) or not value.endswith(".py"):
            return super().convert(value, param, ctx)
        from kando.app.kits.script import kit_in_file

        # Text that the file prints must not mix with the data of the command.
        with redirect_stdout(sys.stderr):
            return kit_in_file(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress what plugins print and warn of: a shell shows only what it can complete."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _context_of(ctx: click.Context) -> Iterator[Context]:
    """Open what the command line selects so far with ``--ledger`` and ``--prefer``."""
    from kando.app.context import Context
    from kando.cli.shared import lenient_environ, options_of

    environ = lenient_environ(ctx)
    ledger = options_of(ctx).get("ledger")
    with Context(None, environ, ledger) as context:
        yield context


def _runs(context: Context, prefix: str) -> Iterator[CompletionItem]:
    if prefix and not prefix.startswith("@"):
        for id in context.substrate().ids_starting_with(prefix, _MAX_RUNS):
            yield CompletionItem(id)
        return
    infos = list(islice(context.substrate().ledgers(), _MAX_RUNS))
    if infos:
        yield described("@last", "the newest run or branch")
    for info in infos:
        kind = "branch" if info.is_branch else "run"
        created = info.created_at.astimezone().strftime("%Y-%m-%d %H.%M")
        yield described(info.id, f"{kind} of {created} with {info.length} events")


def _runs_and_demo(context: Context, prefix: str) -> Iterator[CompletionItem]:
    from kando.app.demo import DEMO_ID

    yield described(DEMO_ID, "the built-in demo run")
    yield from _runs(context, prefix)


def _kits(context: Context, prefix: str) -> Iterator[CompletionItem]:
    for offered in context.plugins.kits():
        yield described(offered.spec.name, offered.spec.summary)


def _providers(context: Context, prefix: str) -> Iterator[CompletionItem]:
    for offered in context.plugins.providers():
        yield described(offered.spec.name, offered.spec.summary)


def _kits_and_runs(context: Context, prefix: str) -> Iterator[CompletionItem]:
    yield from _kits(context, prefix)
    yield from _runs(context, prefix)


def _export_formats(context: Context, prefix: str) -> Iterator[CompletionItem]:
    from kando.app.export import FORMATS

    yield from map(CompletionItem, FORMATS)
    for offered in context.plugins.exporters():
        yield described(offered.spec.name, offered.spec.summary)


def unicode_text(argument: str) -> str:
    """Return an argument in Unicode, also where the locale cannot decode what was typed."""
    if argument.isprintable():
        return argument
    try:
        return os.fsencode(argument).decode("utf-8", "replace")
    except UnicodeError:
        return argument


def described(value: str, text: str) -> CompletionItem:
    """Return a completion with a description, which zsh and fish show."""
    # The script for fish splits at commas, and that for zsh at newlines.
    return CompletionItem(value, help=" ".join(text.replace(",", ";").split()) or None)


class _Goal(click.ParamType[str]):
    """A goal, or where it is: ``-`` is stdin, and ``@FILE`` a file."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the goal."""
        if value != "-" and not value.startswith("@"):
            return unicode_text(value)
        where = "stdin" if value == "-" else value[1:]
        file = click.File("rb").convert(value.removeprefix("@"), param, ctx)
        body = file.read(_MAX_GOAL_BYTES + 1)
        if len(body) > _MAX_GOAL_BYTES:
            self.fail(f"The goal in {where} is longer than {_MAX_GOAL_BYTES} bytes.", param, ctx)
        try:
            return str(body.decode("utf-8-sig")).strip()
        except UnicodeDecodeError as error:
            self.fail(f"{where} is not text in UTF-8: byte {error.start}.", param, ctx)


#: A run or branch, without the demo run: for commands that write.
RUN = _Name("run", _runs)
#: A run or branch, or the demo run: for commands that read.
ANY_RUN = _Name("run", _runs_and_demo)
GOAL = _Goal()
#: An installed kit, or a Python file that holds one.
KIT = _Kit("kit", _kits)
#: An installed kit.
KIT_NAME = _Name("kit", _kits)
PROVIDER = _Name("provider", _providers)
#: A format of `kando export`, built in or of a plugin.
EXPORT_FORMAT = _Name("format", _export_formats)
#: An installed kit, a Python file that holds one, or a run or branch.
CHAT = _Name("kit or run", _kits_and_runs)
