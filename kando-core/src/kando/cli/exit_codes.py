"""Exit codes, and the form of an error."""

from __future__ import annotations

import traceback

import click

from kando.app.streams import ReaderGone
from kando.cli.output import json_option, print_json, print_line, print_list, say, warn
from kando.errors import (
    AmbiguousName,
    ConfigurationError,
    KandoError,
    NotFoundError,
    PositionOutOfRange,
    ReplayDivergence,
    RunBusy,
    StoreError,
)

__all__ = ["EXIT_CODES", "RunFailed", "RunInterrupted", "exit_codes", "report"]

EXIT_CODES = {
    0: "success",
    1: "failure",
    2: "wrong usage",
    3: "not found, or ambiguous",
    4: "the store is damaged or cannot be used",
    5: "a strict replay diverged from the ledger",
    6: "the run failed: a responder raised, no request got an answer, or an artifact states a problem",
    7: "the run's budget is exhausted",
    8: "another process works on the run",
    130: "interrupted",
    141: "the reader of the output closed it",
}


class RunFailed(KandoError):
    """A responder raised; the run can be resumed."""

    code = "run_failed"


class RunInterrupted(KandoError):
    """The user pressed Ctrl-C while the command worked on a run; the run can be resumed."""

    code = "interrupted"


_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (NotFoundError, 3),
    (AmbiguousName, 3),
    (PositionOutOfRange, 3),
    (ReplayDivergence, 5),
    (RunFailed, 6),
    (RunInterrupted, 130),
    (RunBusy, 8),
    (StoreError, 4),
    (ConfigurationError, 2),
)


def report(error: BaseException, arguments: list[str]) -> int:
    """Write an error to stderr and return the exit code.

    Args:
        error: that ended the command.
        arguments: of the command line; ``--json`` and ``--debug`` determine the form.
    """
    if isinstance(error, ReaderGone):
        return 141
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        _write("Interrupted.", "interrupted", None, arguments)
        return 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        say(error.message)
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
        is_broken_plugin = error.code == "plugin_broken"
        message = _with_place(error.message, error.__cause__ if is_broken_plugin else None)
        _write(message, error.code, _in_same_store(error.hint, arguments), arguments)
        return next((code for kind, code in _CODES if isinstance(error, kind)), 1)
    _write(
        _with_place(f"{type(error).__name__}: {error}", error),
        "internal",
        "Kando did not expect this error: --debug shows the traceback.",
        arguments,
    )
    return 1


def _with_place(message: str, error: BaseException | None) -> str:
    if error is None:
        return message
    from kando.runtime.failure import with_place

    return with_place(message, error)


def _in_same_store(hint: str | None, arguments: list[str]) -> str | None:
    """Return a hint whose commands use the store and the plugins of the command that failed."""
    ledger, prefer = _value_of("--ledger", arguments), _value_of("--prefer", arguments)
    if hint is None or ledger is prefer is None:
        return hint
    from kando.cli.shared import in_same_store

    return in_same_store(hint, ledger, prefer)


def _value_of(option: str, arguments: list[str]) -> str | None:
    for number in reversed(range(len(arguments))):
        name, equals, value = arguments[number].partition("=")
        if name == option and equals:
            return value
        if name == option and number + 1 < len(arguments):
            return arguments[number + 1]
    return None


def _write(message: str, code: str, hint: str | None, arguments: list[str]) -> None:
    if "--json" in arguments:
        body = {"error": {"code": code, "message": message, "hint": hint}}
        print_json(body, to_stderr=True)
    else:
        end = "" if message.endswith((".", "!", "?", ":")) else "."
        warn(f"{message}{end} {hint}" if hint else message)


@click.command("exit-codes")
@json_option
def exit_codes(as_json: bool) -> None:
    """List the exit codes."""
    if as_json:
        print_list([{"code": code, "meaning": meaning} for code, meaning in EXIT_CODES.items()])
        return
    for code, meaning in EXIT_CODES.items():
        print_line(f"{code:>3}  {meaning}")
