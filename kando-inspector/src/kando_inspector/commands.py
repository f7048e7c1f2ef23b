"""The commands `kando serve` and `kando ui`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import click

from kando.app.operator import OperatorLimits
from kando.app.operator_options import operator_options
from kando.errors import ConfigurationError
from kando.plugins import CommandSettings
from kando_inspector.settings import LOOPBACK, Settings, token_from

__all__ = ["serve", "ui"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: Port of `kando serve`, so that clients can name it.
_PORT = 8350


def _server_options(port: int) -> Callable[[_Command], _Command]:
    """Give a command the options of the server.

    Args:
        port: the default of ``--port``.
    """
    options = (
        click.option("--ledger", metavar="URL", help="Substrate of the runs. [env: KANDO_LEDGER]"),
        click.option(
            "--host",
            metavar="ADDRESS",
            default=LOOPBACK,
            show_default=True,
            help="Address to listen on; one that is not loopback needs --token.",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            show_default=True,
            help="Port to listen on; 0 chooses a free one.",
        ),
        click.option(
            "--token",
            metavar="TEXT",
            help="Token that clients must have, instead of a random one. "
            "[env: KANDO_INSPECTOR_TOKEN]",
        ),
        click.option(
            "--look-token",
            metavar="TEXT",
            help="Token of clients that may only look. [env: KANDO_INSPECTOR_LOOK_TOKEN]",
        ),
        click.option(
            "--allow-host",
            "allowed_hosts",
            metavar="NAME",
            multiple=True,
            help="Another name of this server, such as that of a proxy in front of it; repeatable.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(0, 100),
            metavar="N",
            default=1,
            show_default=True,
            help="Processes that work on runs; 0 leaves the work to `kando worker --group GROUP`.",
        ),
        click.option(
            "--group",
            metavar="GROUP",
            default="inspector",
            show_default=True,
            help="Group of the workers.",
        ),
        operator_options("kando serve", read_only="Let every client only look."),
    )

    def give(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return give


@click.command()
@_server_options(_PORT)
@click.pass_obj
def serve(given: CommandSettings, /, **options: Any) -> None:
    """Serve the runs over HTTP: a REST interface, and a page for a browser.

    The address is printed on stdout when the port is open; it contains the token, unless the token
    was given.
    """
    from kando_inspector.serving import serve_runs

    serve_runs(_settings(given, **options), on_open=click.echo)


@click.command()
@click.argument("run", metavar="[RUN]", required=False)
@_server_options(0)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.pass_obj
def ui(given: CommandSettings, /, run: str | None, no_browser: bool, **options: Any) -> None:
    """Show the runs in a browser; with RUN, start with that run.

    The address is printed on stdout when the port is open. The command serves the page until
    Ctrl-C.
    """
    from kando_inspector.serving import serve_runs

    settings = attrs.evolve(_settings(given, **options), run=run, shows_token=True)

    def open_page(address: str) -> None:
        click.echo(address)
        if not no_browser:
            import webbrowser

            webbrowser.open(address)

    serve_runs(settings, on_open=open_page)


def _settings(
    given: CommandSettings,
    *,
    ledger: str | None,
    host: str,
    port: int,
    token: str | None,
    look_token: str | None,
    allowed_hosts: tuple[str, ...],
    workers: int,
    group: str,
    limits: OperatorLimits,
) -> Settings:
    from kando.app.limits import default_limits
    from kando.ledger.groups import check_group

    try:
        default_limits(given.environ)
        check_group(group)
        return Settings(
            ledger or given.substrate_url,
            given.environ,
            host,
            port,
            token_from(token, "KANDO_INSPECTOR_TOKEN", given.environ),
            token_from(look_token, "KANDO_INSPECTOR_LOOK_TOKEN", given.environ),
            allowed_hosts,
            limits.is_read_only,
            limits=limits,
            group=group,
            workers=0 if limits.is_read_only else workers,
        )
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
