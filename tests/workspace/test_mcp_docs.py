"""The pages about kando-mcp list exactly the tools, arguments and options of the server."""

import re
from pathlib import Path

import anyio
import click
import pytest
from mcp.server import MCPServer

from kando_mcp.main import cli
from kando_mcp.server import create_server

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "how-to" / "drive-from-an-ide.md").read_text()
README = (ROOT / "kando-mcp" / "README.md").read_text()


def tools_in(page: str) -> dict[str, set[str]]:
    """Return the arguments of each tool in a page's table."""
    rows = re.findall(r"^\| `(\w+)(?:\((.*?)\))?` \|", page, re.MULTILINE)
    return {name: {each for each in arguments.split(", ") if each} for name, arguments in rows}


def served() -> dict[str, set[str]]:
    server: MCPServer = create_server({"KANDO_LEDGER": "memory:"})
    tools = anyio.run(server.list_tools)
    return {tool.name: set(tool.input_schema["properties"]) for tool in tools}


def test_the_guide_lists_every_tool_with_every_argument() -> None:
    assert {name: given for name, given in tools_in(GUIDE).items() if name in served()} == served()


def test_the_readme_lists_every_tool() -> None:
    assert set(tools_in(README)) == set(served())


def test_every_named_option_exists_and_every_option_is_explained() -> None:
    options = {name for each in cli.params for name in each.opts}
    config = cli.get_command(click.Context(cli), "config")
    assert config is not None
    known = options | {name for each in config.params for name in each.opts}
    # An option of `kando run`, for which kando-mcp has the client.
    known.add("--mcp")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", GUIDE + README))

    assert named <= known
    assert options - {"--version"} <= named
