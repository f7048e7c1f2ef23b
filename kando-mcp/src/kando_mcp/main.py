"""The command `kando-mcp`: serve over stdio or HTTP, or configure a host."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from kando.app.operator import OperatorLimits
from kando.app.operator_options import operator_options
from kando_mcp.settings import DEFAULT_MAX_RESULT_CHARS, PROGRAM, Settings

__all__ = ["main"]


def _version(context: click.Context, parameter: click.Parameter, is_wanted: bool) -> None:
    if is_wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"kando-mcp {version('kando-mcp')}")
        context.exit()


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version)
@click.option("--ledger", metavar="URL", help="Substrate of the runs. [env: KANDO_LEDGER]")
@operator_options(PROGRAM, read_only="Offer only read-only tools.")
@click.option(
    "--max-parallel-runs",
    type=click.IntRange(1),
    metavar="N",
    help="Limit on runs that the servers of the substrate work on at once.",
)
@click.option(
    "--max-result-chars",
    type=click.IntRange(4_000, 1_000_000),
    default=DEFAULT_MAX_RESULT_CHARS,
    show_default=True,
    help="Maximum length of a tool's result.",
)
@click.option("--http", is_flag=True, help="Serve over HTTP on the loopback interface.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port for --http; 0 chooses a free one.",
)
@click.pass_context
def cli(
    context: click.Context,
    /,
    ledger: str | None,
    max_parallel_runs: int | None,
    max_result_chars: int,
    http: bool,
    port: int,
    limits: OperatorLimits,
) -> None:
    """Serve Kando over the Model Context Protocol, on stdin and stdout.

    KANDO_LEDGER names the substrate, and KANDO_LLM the provider that answers LLM requests. A
    kando.toml can set them, too.
    """
    settings = Settings(ledger, limits, max_result_chars, max_parallel_runs)
    if context.invoked_subcommand is not None:
        if settings != Settings() or http or port:
            command = context.invoked_subcommand
            msg = f"Options of the server follow --, as in: kando-mcp {command} ... -- --read-only"
            raise click.UsageError(msg)
        return
    from kando.app.config import read_settings
    from kando.app.limits import default_limits
    from kando.errors import ConfigurationError

    try:
        environ = read_settings().environ
        default_limits(environ)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    if http:
        from kando_mcp.http import serve_http

        serve_http(environ, settings, port)
    else:
        from kando_mcp.server import serve_stdio

        serve_stdio(environ, settings)


@cli.command()
@click.option(
    "--host",
    required=True,
    type=click.Choice(["claude-desktop", "claude-code", "cursor", "vscode"]),
    help="The host.",
)
@click.option("--write", is_flag=True, help="Merge the entry into the host's file.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False),
    help="Path of the host's file, if it is not the default.",
)
@click.argument("options", nargs=-1)
def config(host: str, write: bool, file: str | None, options: tuple[str, ...]) -> None:
    """Print the configuration with which HOST starts kando-mcp.

    Options after -- are passed to kando-mcp: kando-mcp config --host cursor -- --read-only
    """
    from kando.app.config import read_settings
    from kando_mcp.hosts import config_path, configuration, merge

    path = file or config_path(host, os.environ)
    # Refuse options that kando-mcp would refuse before they reach the host's file.
    given = cli.make_context("kando-mcp", list(options)).params
    entry, is_complete = configuration(host, options, given["ledger"], read_settings().environ)
    if not is_complete:
        found = "The ledger's URL contains a user or a password and is not written to the file."
        click.echo(f"{found} Set KANDO_LEDGER in the environment of the host.", err=True)
    if write:
        changed = merge(path, entry)
        click.echo(f"{'wrote' if changed else 'unchanged:'} {path}", err=True)
        return
    import json

    click.echo(json.dumps(entry, indent=2))
    click.echo(f"Add it to {path}, or use --write to merge it.", err=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    from kando.errors import KandoError

    try:
        result: Any = cli.main(arguments, prog_name="kando-mcp", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except KandoError as error:
        click.echo(f"kando-mcp: {error}", err=True)
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
