"""The reference of the MCP server lists every tool, argument, field, resource, prompt and option."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp_types import Tool

from kando_mcp.main import cli
from kando_mcp.server import create_server

pytestmark = pytest.mark.once

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "mcp.md").read_text()
SECTIONS = dict(re.findall(r"^#{2,3} (.+)\n((?:(?!#).*\n?)*)", PAGE, re.MULTILINE))
HINTS = {
    "destructiveHint": "destructive_hint",
    "idempotentHint": "idempotent_hint",
    "openWorldHint": "open_world_hint",
}


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    """Return the tools, resources and prompts that the server lists."""
    found: dict[str, Any] = {}

    async def ask() -> None:
        async with Client(create_server({"KANDO_LEDGER": "memory:"})) as client:
            found["tools"] = (await client.list_tools()).tools
            resources = (await client.list_resources()).resources
            templates = (await client.list_resource_templates()).resource_templates
            found["addresses"] = [str(each.uri) for each in resources]
            found["addresses"] += [each.uri_template for each in templates]
            prompts = (await client.list_prompts()).prompts
            found["prompts"] = {p.name: [a.name for a in p.arguments or []] for p in prompts}

    anyio.run(ask)
    return found


def code_in(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def table_of(section: str, heading: str) -> str:
    """Return the rows below a heading of a table."""
    return section.partition(f"| {heading} | |\n")[2].partition("\n\n")[0]


def first_cells(table: str) -> set[str]:
    return {name for row in table.splitlines() for name in code_in(row.split(" | ")[0])}


def fields_of(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the fields of a result, including those of its items."""
    for name, field in schema.get("properties", {}).items():
        yield name
        inner = field.get("items", field)
        if "$ref" in inner:
            yield from fields_of(root["$defs"][inner["$ref"].rpartition("/")[2]], root)


def test_every_tool_is_listed_with_its_arguments_and_fields(served: dict[str, Any]) -> None:
    tools: list[Tool] = served["tools"]
    assert {name for name in SECTIONS if name.startswith("Tool ")} == {
        f"Tool {tool.name}" for tool in tools
    }
    for tool in tools:
        section = SECTIONS[f"Tool {tool.name}"]
        arguments = set(tool.input_schema["properties"])
        table = table_of(section, "argument")
        assert (first_cells(table) if table else code_in(section) & arguments) == arguments, tool
        schema = tool.output_schema
        assert schema is not None
        if "next_steps" in schema["properties"]:
            assert "(#state-of-a-run)" in section
            section = SECTIONS["State of a run"]
            assert first_cells(table_of(section, "field")) == set(schema["properties"])
            assert set(schema["properties"]["state"]["enum"]) <= code_in(section)
        elif tool.name == "fork_run":
            assert first_cells(table_of(section, "result")) == set(schema["properties"])
        else:
            assert first_cells(table_of(section, "result")) == set(schema["properties"])
            assert set(fields_of(schema, schema)) <= code_in(PAGE)


def test_the_annotations_match_those_of_the_tools(served: dict[str, Any]) -> None:
    for tool in served["tools"]:
        section, hints = SECTIONS[f"Tool {tool.name}"], tool.annotations
        assert hints is not None
        assert section.startswith("\nRead-only. " if hints.read_only_hint else "\nWrites: ")
        if not hints.read_only_hint:
            listed = {HINTS[name] for name in HINTS if name in section}
            assert listed == {name for name in HINTS.values() if getattr(hints, name)}


def test_resources_prompts_and_options_are_listed(served: dict[str, Any]) -> None:
    assert first_cells(SECTIONS["Resources"]) == set(served["addresses"])
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", SECTIONS["Prompts"], re.MULTILINE)
    assert {name: sorted(code_in(cell)) for name, cell in rows} == {
        name: sorted(arguments) for name, arguments in served["prompts"].items()
    }
    options = {name for option in cli.params for name in option.opts} | {"-h", "--help"}
    named = re.findall(r"`(--?[a-z][\w-]*)", table_of(SECTIONS["Options of the server"], "option"))
    assert set(named) == options
    for option in cli.commands["config"].params:
        assert all(f"`{name}" in PAGE for name in option.opts if name.startswith("-"))
