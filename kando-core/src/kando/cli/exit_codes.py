"""Exit codes, and what an error looks like."""

from __future__ import annotations

import os
import sys
import traceback

import click

from kando.cli.output import (
    ReaderGone,
    json_option,
    print_line,
    print_list,
    to_json,
    warn,
    with_place,
)
from kando.errors import (
    AmbiguousName,
    ConfigurationError,
    KandoError,
    NotFoundError,
    PositionOutOfRange,
    ReplayDivergence,
    StoreError,
)
from kando.plugins.errors import PluginBroken

__all__ = ["EXIT_CODES", "RunFailed", "RunInterrupted", "exit_codes", "report"]

EXIT_CODES = {
    0: "success",
    1: "failure",
    2: "wrong usage",
    3: "not found, or ambiguous",
    4: "the store is damaged or cannot be used",
    5: "a strict replay came out differently",
    6: "the run failed: a responder raised",
    7: "the run's budget is exhausted",
    130: "interrupted",
    141: "the reader of the output has gone",
}


class RunFailed(KandoError):
    """A responder raised; the run can be resumed."""

    code = "run_failed"


class RunInterrupted(KandoError):
    """Somebody pressed Ctrl-C while a run was worked on; the run can be resumed."""

    code = "interrupted"


_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (NotFoundError, 3),
    (AmbiguousName, 3),
    (PositionOutOfRange, 3),
    (ReplayDivergence, 5),
    (RunFailed, 6),
    (RunInterrupted, 130),
    (StoreError, 4),
    (ConfigurationError, 2),
)


def report(error: BaseException, arguments: list[str]) -> int:
    """Write an error to stderr and return the exit code.

    Args:
        error: what ended the command.
        arguments: of the command line; ``--json`` and ``--debug`` decide the form.
    """
    if isinstance(error, ReaderGone | BrokenPipeError):
        # Keep the interpreter from complaining when it flushes what nobody reads.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        _write("Interrupted.", "interrupted", None, arguments)
        return 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.message, err=True)
        return error.exit_code
    if "--debug" in arguments:
        traceback.print_exception(error)
    if isinstance(error, click.ClickException):
        hint = None
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f"Try '{error.ctx.command_path} --help'."
        _write(error.format_message(), "usage", hint, arguments)
        return error.exit_code
    if isinstance(error, KandoError):
        broken = isinstance(error, PluginBroken)
        message = with_place(error.message, error.__cause__) if broken else error.message
        _write(message, error.code, error.hint, arguments)
        return next((code for kind, code in _CODES if isinstance(error, kind)), 1)
    _write(
        f"{type(error).__name__}: {error}",
        "internal",
        "This is not an error Kando expects: --debug shows the traceback.",
        arguments,
    )
    return 1


def _write(message: str, code: str, hint: str | None, arguments: list[str]) -> None:
    if "--json" in arguments:
        body = {"error": {"code": code, "message": message, "hint": hint}}
        click.echo(to_json(body), err=True)
    else:
        end = "" if message.endswith((".", "!", "?", ":")) else "."
        warn(f"{message}{end} {hint}" if hint else message)


@click.command("exit-codes")
@json_option
def exit_codes(as_json: bool) -> None:
    """Explain the exit codes."""
    if as_json:
        print_list([{"code": code, "meaning": meaning} for code, meaning in EXIT_CODES.items()])
        return
    for code, meaning in EXIT_CODES.items():
        print_line(f"{code:>3}  {meaning}")
