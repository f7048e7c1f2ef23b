"""The command `kando`: its commands in groups, and its exit."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from kando.app.streams import safe_streams
from kando.cli.lazy import LazyGroup

__all__ = ["cli", "main"]

#: Groups of commands as `kando --help` shows them. For each command: where it is defined, and its
#: help line. A command is imported when it is used.
_GROUPS = {
    "Run": {
        "run": ("kando.cli.run:run", "Start a run of a kit from a goal."),
        "resume": ("kando.cli.run:resume", "Resume a run from wherever it stopped."),
        "chat": ("kando.cli.chat:chat", "Talk with a run of a kit."),
        "send": ("kando.cli.send:send", "Send an event to a run."),
        "pause": ("kando.cli.send:pause", "Pause a run after its current firing."),
        "cancel": ("kando.cli.send:cancel", "Stop a run for good after its current firing."),
        "label": ("kando.cli.label:label", "Label a run, to find it by its labels."),
        "undo": (
            "kando.cli.undo:undo",
            "Take a call of a tool back, by the tool that undoes it.",
        ),
        "park": ("kando.cli.send:park", "Have a run step over a firing that it cannot get past."),
    },
    "Look": {
        "status": ("kando.cli.inspect:status", "Show the state of a run."),
        "runs": ("kando.cli.inspect:runs", "List runs and branches, newest first."),
        "events": ("kando.cli.inspect:events", "Show the events of a run."),
        "world": ("kando.cli.inspect:world", "Show the objects and relations of a run."),
        "trace": ("kando.cli.trace:trace", "Show why an event exists, or what followed from it."),
        "metrics": ("kando.cli.metrics:metrics", "Show what a run has done and used."),
        "artifacts": ("kando.cli.artifacts:artifacts", "Print what a run has written."),
        "workspace": (
            "kando.cli.workspace:workspace",
            "List the files in the workspace of a run, or write them into a folder.",
        ),
    },
    "Branch": {
        "fork": ("kando.cli.fork:fork", "Fork a run at a position, with or without changes."),
        "branches": (
            "kando.cli.branches:branches",
            "Show the branches and child runs of a run as a tree.",
        ),
        "cache": ("kando.cli.cache:cache", "Show the cache hits and misses of a run."),
        "diff": ("kando.cli.compare:diff", "Compare two runs: worlds, steps and costs."),
        "compare": ("kando.cli.compare:compare", "Compare the outcomes of several runs."),
        "replay": ("kando.cli.replay:replay", "Rebuild a run's world, or re-fire its responders."),
    },
    "People": {
        "approvals": ("kando.cli.approvals:list_approvals", "List the pending approvals of a run."),
        "approve": ("kando.cli.approvals:approve", "Grant a pending approval."),
        "deny": ("kando.cli.approvals:deny", "Deny a pending approval."),
        "reply": ("kando.cli.approvals:reply", "Reply to a question that a run asks a person."),
        "answer": ("kando.cli.answer:answer", "Answer an open request by hand."),
    },
    "Kits": {
        "kits": ("kando.cli.kits:kits", "List kits, describe one, or draw its graph."),
        "eval": ("kando.cli.eval:eval_", "Measure a kit on cases with known answers."),
        "new": ("kando.cli.new:new", "Create a package with a kit, substrate or provider."),
    },
    "Operate": {
        "worker": ("kando.cli.worker:worker", "Work on the runs of a group."),
        "groups": ("kando.cli.worker:groups", "Show groups and their jobs."),
        "export": ("kando.cli.export:export", "Write a run to a file."),
        "import": ("kando.cli.export:import_", "Restore a run from an exported file."),
        "delete": (
            "kando.cli.delete:delete",
            "Delete runs for good, with the child runs that they started.",
        ),
        "verify": ("kando.cli.verify:verify", "Check the hash chain of a run."),
        "plugins": ("kando.cli.plugins:plugins", "List installed plugins and what they offer."),
        "config": ("kando.cli.config:config", "Show the settings, and where each comes from."),
        "doctor": ("kando.cli.doctor:doctor", "Check the installation and the store."),
        "completion": ("kando.cli.completion:completion", "Print a shell completion script."),
        "exit-codes": ("kando.cli.exit_codes:exit_codes", "List the exit codes."),
    },
}


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"kando {version('kando-core')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    lazy_groups=_GROUPS,
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
    help="URL of the substrate, such as sqlite:PATH. [env: KANDO_LEDGER]",
)
@click.option(
    "--prefer",
    metavar="DIST",
    help="Distribution to prefer when several plugins claim a name. [env: KANDO_PREFER]",
)
@click.option("--debug", is_flag=True, help="Show a traceback with each error.")
@click.pass_context
def cli(context: click.Context, ledger: str | None, prefer: str | None, debug: bool) -> None:
    """Run agents whose event log is the agent.

    RUN is the id of a run or branch, a unique prefix of one, @last, or demo. RUN@N stands for its
    first N events.
    """
    context.obj = {"ledger": ledger, "prefer": prefer, "debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with a documented code (see `kando exit-codes`)."""
    given = sys.argv[1:] if arguments is None else arguments
    if "_KANDO_COMPLETE" in os.environ:
        # Registers the completion for bash.
        import_module("kando.cli.completion")
    with safe_streams(as_json="--json" in given):
        try:
            result: Any = cli.main(given, prog_name="kando", standalone_mode=False)
            sys.stdout.flush()
        except BaseException as error:
            from kando.cli.exit_codes import report

            result = report(error, given)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
