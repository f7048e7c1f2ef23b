"""The command `kando-mcp`: serve over stdio, with nothing but protocol on stdout."""

from __future__ import annotations

import io
import os
import sys

__all__ = ["main"]


def main() -> None:
    """Serve MCP over stdin and stdout until the host closes them."""
    if len(sys.argv) > 1:
        known = {"--version": _version, "--help": _help, "-h": _help}
        answer = known.get(sys.argv[1])
        if answer is None:
            print(
                f"kando-mcp: unknown option {sys.argv[1]!r}. Try kando-mcp --help.", file=sys.stderr
            )
            sys.exit(2)
        print(answer())
        return
    from kando_mcp.server import create_server

    server = create_server(os.environ)
    # While it serves, the SDK leads file descriptor 1 to stderr and keeps the real one for the
    # protocol. What a kit prints must take that way at once, not wait in a buffer until the end.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(write_through=True)
    server.run("stdio")


def _version() -> str:
    from importlib.metadata import version

    return f"kando-mcp {version('kando-mcp')}"


def _help() -> str:
    return (
        "Usage: kando-mcp\n\n"
        "Serve Kando over the Model Context Protocol on stdin and stdout.\n"
        "KANDO_LEDGER names the substrate, KANDO_LLM the provider that answers requests."
    )


if __name__ == "__main__":
    main()
