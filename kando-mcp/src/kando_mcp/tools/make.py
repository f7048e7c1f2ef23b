"""Make a tool of a function: strict arguments, typed output, all four annotations."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Awaitable, Callable, Container
from typing import Annotated, Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ConfigDict, ValidationError, model_validator

from kando_mcp.results.paging import to_json, truncate, without_surrogates

__all__ = ["READ_ONLY", "make_tool", "without_blanks", "write_annotations"]

_MAX_ERRORS = 5

READ_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def write_annotations(
    *, is_destructive: bool = False, is_idempotent: bool = False, is_open_world: bool = False
) -> ToolAnnotations:
    """Return the annotations of a tool that is not read-only."""
    return ToolAnnotations(
        read_only_hint=False,
        destructive_hint=is_destructive,
        idempotent_hint=is_idempotent,
        open_world_hint=is_open_world,
    )


def make_tool(
    function: Callable[..., Awaitable[Any]], title: str, annotations: ToolAnnotations
) -> Tool:
    """Return a tool whose result is the value of `function`, as data and as JSON text.

    Args:
        function: asynchronous; its name, docstring and annotations describe the tool. A parameter
            named like a Python keyword ends in an underscore and has the keyword as its alias.
        title: shown to people.
        annotations: hints that hosts use to decide whether to ask a person.
    """

    @functools.wraps(function)
    async def call(**given: Any) -> CallToolResult:
        known = {name if name in parameters else f"{name}_": v for name, v in given.items()}
        value = without_surrogates(await function(**known))
        text = TextContent(type="text", text=to_json(value))
        return CallToolResult(content=[text], structured_content=value)

    signature = inspect.signature(function, eval_str=True)
    parameters = signature.parameters
    returned = Annotated[CallToolResult, signature.return_annotation]
    # The SDK reads the parameters that it fills itself from the annotations.
    call.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    call.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
    tool = _StrictTool.from_function(
        call, title=title, description=inspect.getdoc(function), annotations=annotations
    )
    return _strict(tool)


class _StrictTool(Tool):
    """A tool that reports wrong arguments in plain sentences."""

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
            msg = f"Error executing tool {self.name}: {_describe(self, cause)}"
            raise ToolError(msg) from cause


def _strict(tool: Tool) -> Tool:
    """Reject unknown arguments: a misspelt limit must not be ignored."""
    fields = tool.fn_metadata.arg_model.model_fields
    optional = {field.alias or name for name, field in fields.items() if not field.is_required()}

    class Arguments(tool.fn_metadata.arg_model):  # type: ignore[misc, name-defined]
        model_config = ConfigDict(extra="forbid", title=tool.name)

        @model_validator(mode="before")
        @classmethod
        def _leave_out(cls, given: Any) -> Any:
            return without_blanks(given, optional) if isinstance(given, dict) else given

    tool.fn_metadata.arg_model = Arguments
    tool.parameters = _without_titles(Arguments.model_json_schema(by_alias=True))
    tool.fn_metadata.output_schema = _without_titles(tool.fn_metadata.output_schema)
    return tool


def without_blanks(arguments: dict[str, Any], optional: Container[str]) -> dict[str, Any]:
    """Return arguments without the optional ones that are null or empty text: models send these for
    an argument that they leave out.
    """
    return {
        name: value
        for name, value in arguments.items()
        if name not in optional or (value is not None and value != "")
    }


def _describe(tool: Tool, error: ValidationError) -> str:
    """Return a description of wrong arguments, with the names of the valid ones."""
    known = list(tool.parameters["properties"])
    problems = []
    for wrong in error.errors(include_url=False, include_context=False)[:_MAX_ERRORS]:
        name = truncate(".".join(map(str, wrong["loc"])), 100)
        if wrong["type"] == "missing":
            problems.append(f"{name} is required.")
        elif wrong["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, known, 1)
            suggestion = f" Did you mean {near[0]}?" if near else ""
            problems.append(f"Unknown argument {name!r}.{suggestion}")
        else:
            problems.append(f"{name}: {wrong['msg']}, not {truncate(repr(wrong['input']), 100)}.")
    text = f"{' '.join(problems)} The arguments are {', '.join(known)}."
    return without_surrogates(text)


def _without_titles(schema: Any, *, is_names: bool = False) -> Any:
    """Return a schema without titles, which repeat the names, and without defaults of null.

    Models pay for every token.
    """
    if isinstance(schema, list):
        return [_without_titles(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(value, is_names=key in ("properties", "$defs"))
        for key, value in schema.items()
        if is_names or not (key == "title" or (key == "default" and value is None))
    }
