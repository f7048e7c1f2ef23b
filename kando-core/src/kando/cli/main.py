"""The command `kando`: what it offers, and how it ends."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from kando.cli.lazy import LazyGroup

__all__ = ["cli", "main"]

#: Name, where the command is defined, and its line in `kando --help`. Nothing of it is imported
#: before it is used.
_COMMANDS = {
    "run": ("kando.cli.run:run", "Start a run of a kit from a goal."),
    "resume": ("kando.cli.run:resume", "Go on with a run from wherever it stopped."),
    "status": ("kando.cli.inspect:status", "Show the state of a run."),
    "runs": ("kando.cli.inspect:runs", "List runs and branches, newest first."),
    "events": ("kando.cli.inspect:events", "Show the events of a run."),
    "world": ("kando.cli.inspect:world", "Show the objects and relations of a run."),
    "metrics": ("kando.cli.metrics:metrics", "Count what a run has done and used."),
    "trace": ("kando.cli.trace:trace", "Show why an event exists, or what followed."),
    "artifacts": ("kando.cli.artifacts:artifacts", "Print what a run has written."),
    "fork": ("kando.cli.fork:fork", "Fork a run at a position, perhaps with a change."),
    "branches": ("kando.cli.branches:branches", "Show the branches of a run as a tree."),
    "cache": ("kando.cli.cache:cache", "Show what the cache did for a run."),
    "diff": ("kando.cli.compare:diff", "Compare two runs: worlds, steps and costs."),
    "compare": ("kando.cli.compare:compare", "Put the outcomes of several runs side by side."),
    "replay": ("kando.cli.replay:replay", "Project a run anew, or re-fire and compare it."),
    "verify": ("kando.cli.verify:verify", "Check a run's hash chain."),
    "send": ("kando.cli.send:send", "Put an event into a run's inbox."),
    "pause": ("kando.cli.send:pause", "Have a run stop between two firings."),
    "cancel": ("kando.cli.send:cancel", "Have a run stop for good."),
    "approvals": ("kando.cli.approvals:list_approvals", "List what a run asks a person."),
    "approve": ("kando.cli.approvals:approve", "Approve what waits for a person."),
    "deny": ("kando.cli.approvals:deny", "Deny what waits for a person."),
    "kits": ("kando.cli.kits:kits", "List kits, show one, or draw what triggers what in it."),
    "new": ("kando.cli.new:new", "Write a package that offers a kit, substrate or provider."),
    "export": ("kando.cli.export:export", "Write a run to a file."),
    "import": ("kando.cli.export:import_", "Restore a run from a file that was exported."),
    "worker": ("kando.cli.worker:worker", "Work on the runs of a group, beside others."),
    "groups": ("kando.cli.worker:groups", "Show the groups that workers share."),
    "plugins": ("kando.cli.plugins:plugins", "List what plugins offer, and those that failed."),
    "doctor": ("kando.cli.doctor:doctor", "Check the installation and the store."),
    "completion": ("kando.cli.completion:completion", "Print the shell completion script."),
    "exit-codes": ("kando.cli.exit_codes:exit_codes", "Explain the exit codes."),
}


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"kando {version('kando-core')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    lazy_commands=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version and exit.",
)
@click.option(
    "--ledger",
    metavar="URL",
    help="Substrate: sqlite:PATH, memory:, or one of a plugin. [env: KANDO_LEDGER]",
)
@click.option(
    "--prefer",
    metavar="DIST",
    help="Distribution whose plugins win where several claim a name. [env: KANDO_PREFER]",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.pass_context
def cli(context: click.Context, ledger: str | None, prefer: str | None, debug: bool) -> None:
    """Run agents whose event log is the agent.

    RUN is the id of a run or branch, a unique beginning of one, @last, or demo. RUN@N addresses
    its first N events.
    """
    context.obj = {"ledger": ledger, "prefer": prefer, "debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with a documented code (see `kando exit-codes`)."""
    given = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A goal in any script is shown in any locale, escaped where that has no other way.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result: Any = cli.main(given, prog_name="kando", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        from kando.cli.exit_codes import report

        sys.exit(report(error, given))
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
