"""Turn a function into a tool: strict arguments, typed output, all four annotations."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ConfigDict, ValidationError

from kando_mcp.results.paging import clip, to_json

__all__ = ["READS", "make_tool", "writes"]

_COMPLAINTS = 5

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
    tool = _StrictTool.from_function(
        answered, title=title, description=inspect.getdoc(function), annotations=annotations
    )
    return _closed(tool)


class _StrictTool(Tool):
    """A tool that says in a sentence which of its arguments are wrong."""

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> Any:
        """Run the tool; see `mcp.server.mcpserver.tools.Tool.run`."""
        try:
            return await super().run(arguments, context, convert_result)
        except UnexpectedToolError:
            raise
        except ToolError as error:
            cause = error.__cause__
            if not isinstance(cause, ValidationError):
                raise
            msg = f"Error executing tool {self.name}: {_refusal(self, cause)}"
            raise ToolError(msg) from cause


def _closed(tool: Tool) -> Tool:
    """Refuse arguments that the tool does not have: a misspelt limit must not be no limit."""

    class Arguments(tool.fn_metadata.arg_model):  # type: ignore[misc, name-defined]
        model_config = ConfigDict(extra="forbid", title=tool.name)

    tool.fn_metadata.arg_model = Arguments
    tool.parameters = _untitled(Arguments.model_json_schema(by_alias=True))
    tool.fn_metadata.output_schema = _untitled(tool.fn_metadata.output_schema)
    return tool


def _refusal(tool: Tool, error: ValidationError) -> str:
    """Return what is wrong with the arguments of a call, and which there are."""
    known = list(tool.parameters["properties"])
    said = []
    for wrong in error.errors(include_url=False, include_context=False)[:_COMPLAINTS]:
        name = clip(".".join(map(str, wrong["loc"])), 100)
        if wrong["type"] == "missing":
            said.append(f"{name} is missing.")
        elif wrong["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, known, 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            said.append(f"There is no argument {name!r}.{meant}")
        else:
            said.append(f"{name}: {wrong['msg']}, not {clip(repr(wrong['input']), 100)}.")
    return f"{' '.join(said)} Its arguments are {', '.join(known)}."


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
