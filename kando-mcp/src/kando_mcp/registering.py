"""Turn a function into a tool: strict arguments, typed output, all four annotations."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ConfigDict, model_validator

from kando_mcp.fitting import to_json

__all__ = ["READS", "make_tool", "writes"]

READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def writes(
    *, is_destructive: bool = False, is_idempotent: bool = False, is_open_world: bool = False
) -> ToolAnnotations:
    """Return the annotations of a tool that changes something."""
    return ToolAnnotations(
        read_only_hint=False,
        destructive_hint=is_destructive,
        idempotent_hint=is_idempotent,
        open_world_hint=is_open_world,
    )


def make_tool(
    function: Callable[..., Awaitable[Any]], title: str, annotations: ToolAnnotations
) -> Tool:
    """Return a tool that answers with what `function` returns, as data and as JSON text.

    Args:
        function: asynchronous; its name, docstring and annotations describe the tool. A parameter
            whose name is a word of Python ends in an underscore, and has the word as its alias.
        title: for people.
        annotations: what hosts decide by.
    """

    @functools.wraps(function)
    async def answered(**given: Any) -> CallToolResult:
        known = {name if name in parameters else f"{name}_": v for name, v in given.items()}
        value = await function(**known)
        text = TextContent(type="text", text=to_json(value))
        return CallToolResult(content=[text], structured_content=value)

    signature = inspect.signature(function, eval_str=True)
    parameters = signature.parameters
    returned = Annotated[CallToolResult, signature.return_annotation]
    answered.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
    tool = Tool.from_function(
        answered, title=title, description=inspect.getdoc(function), annotations=annotations
    )
    return _closed(tool)


def _closed(tool: Tool) -> Tool:
    """Refuse arguments that the tool does not have: a misspelt limit must not be no limit."""
    known = list(tool.parameters["properties"])

    class Arguments(tool.fn_metadata.arg_model):  # type: ignore[misc, name-defined]
        model_config = ConfigDict(extra="forbid", title=tool.name)

        @model_validator(mode="before")
        @classmethod
        def _refuse_unknown(cls, given: object) -> object:
            for name in given if isinstance(given, dict) else ():
                if name not in known:
                    near = difflib.get_close_matches(str(name)[:100], known, 1)
                    meant = f"Did you mean {near[0]}? " if near else ""
                    msg = f"There is no argument {str(name)[:100]!r}. {meant}There is: {', '.join(known)}."
                    raise ValueError(msg)
            return given

    tool.fn_metadata.arg_model = Arguments
    tool.parameters = _untitled(Arguments.model_json_schema(by_alias=True))
    tool.fn_metadata.output_schema = _untitled(tool.fn_metadata.output_schema)
    return tool


def _untitled(schema: Any, *, is_names: bool = False) -> Any:
    """Return a schema without the titles that only repeat its names: a model reads all of it."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _untitled(value, is_names=key in ("properties", "$defs"))
        for key, value in schema.items()
        if is_names or key != "title"
    }
