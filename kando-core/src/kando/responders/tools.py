"""Tools: functions that a kit offers, with a JSON Schema derived from their signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import attrs

from kando.errors import ConfigurationError, InvalidData
from kando.responders.event_loop import awaited
from kando.responders.redaction import redact, replace_surrogates
from kando.responders.structured import schema_of, structure
from kando.responders.tool_context import ToolContext
from kando.schema.content import as_content, media_size
from kando.schema.exact_json import encode, exact
from kando.schema.typed import is_declarable, to_json
from kando.world.graph import World

__all__ = ["DEFAULT_MAX_RESULT_BYTES", "DEFAULT_TIMEOUT", "Tool", "as_tool"]

#: Default timeout of a tool call, in seconds.
DEFAULT_TIMEOUT = 60.0

#: Default limit of what a tool returns, in bytes of JSON.
DEFAULT_MAX_RESULT_BYTES = 256 * 1024

# An event may have 1 MiB and holds more than the result of the tool.
_LARGEST_RESULT_BYTES = 1_000_000

#: A parameter of this name gets the idempotency key of the call; the caller cannot set it.
KEY_PARAMETER = "idempotency_key"

#: A parameter of this name gets the world; such a tool does not reach outside the process.
WORLD_PARAMETER = "world"

#: A parameter of this name without a type gets the context of the call, as one of type `ToolContext`.
CONTEXT_PARAMETER = "ctx"

#: Attributes of the context by which a tool uses the workspace.
_WORKSPACE_NAMES = frozenset({"workspace", "workspace_path"})
# Problems of the arguments that one error names.
_MAX_PROBLEMS = 5

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


#: The effect of a tool outside the run: it only reads; repeating a call changes nothing more; it writes.
READ, IDEMPOTENT, WRITE = "read", "idempotent", "write"
EFFECTS = (READ, IDEMPOTENT, WRITE)


@attrs.frozen
class Tool:
    """A function that can be called through ``tool.called``.

    Attributes:
        name: by which it is called.
        fn: the function; it is called with keyword arguments.
        description: what it does, for the model that chooses among tools.
        arguments: an attrs class with a field for each parameter.
        descriptions: of the parameters, by name.
        takes_key: whether it has a parameter ``idempotency_key``.
        takes_world: whether it has a parameter ``world``.
        context_parameter: name of the parameter that gets the `ToolContext`, or None.
        timeout_seconds: after which a call is answered with an error; None for never.
        max_parallel: how many of its calls may be in flight at once, in all processes of a store
            together; None for the limit of the runtime.
        max_result_bytes: limit of its result, as JSON, without images and files.
        effect: what it does outside: ``read``, ``idempotent`` or ``write``.
        undo: name of the tool that takes a call back, or None.
        uses_workspace: whether it uses ``workspace`` of its context.
        settings_parameter: name of the parameter that gets the settings of the kit, or None.
        settings: of the run, for that parameter.
        parameters: JSON Schema of the arguments of a tool that a server has; such a tool is called as
            ``fn(arguments, context)``. None for a function of the kit, whose signature says it.
        problems: returns what is wrong with arguments, for such a tool.
        lane: calls of one lane share `max_parallel`; its name if empty.
    """

    name: str
    fn: Callable[..., Any]
    description: str
    arguments: type
    descriptions: dict[str, str]
    takes_key: bool
    takes_world: bool
    timeout_seconds: float | None = DEFAULT_TIMEOUT
    max_parallel: int | None = None
    max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES
    effect: str = WRITE
    undo: str | None = None
    context_parameter: str | None = None
    uses_workspace: bool = False
    settings_parameter: str | None = None
    settings: Any = attrs.field(default=None, repr=False)
    parameters: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    problems: Callable[[dict[str, Any]], list[str]] = attrs.field(
        default=lambda arguments: [], repr=False
    )
    lane: str = ""

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the function without checking arguments or result."""
        return self.fn(*args, **named)

    def schema(self) -> dict[str, Any]:
        """Return ``{"name", "description", "parameters"}``; the parameters are a JSON Schema."""
        if self.parameters is not None:
            shown = dict(self.parameters)
            return {"name": self.name, "description": self.description, "parameters": shown}
        parameters = schema_of(self.arguments)
        parameters.pop("description", None)
        for name, text in self.descriptions.items():
            parameters["properties"][name] = {**parameters["properties"][name], "description": text}
        return {"name": self.name, "description": self.description, "parameters": parameters}

    def answer(
        self, arguments: object, context: ToolContext, world: World | None = None
    ) -> dict[str, Any]:
        """Call the tool and return ``{"result": ...}``, or ``{"error": {"type", "message"}}``.

        An async function runs on the event loop of the process, while this thread waits.

        Args:
            arguments: by parameter name; they are checked before the call.
            context: of the call.
            world: for a tool that takes the world.
        """
        try:
            given = self.checked(arguments)
        except InvalidData as error:
            return error_data("InvalidArguments", error.message)
        given |= {KEY_PARAMETER: context.idempotency_key} if self.takes_key else {}
        if self.context_parameter is not None:
            context = attrs.evolve(context, settings=self.settings)
            given[self.context_parameter] = context
        given |= {WORLD_PARAMETER: world} if self.takes_world else {}
        if self.settings_parameter is not None:
            if self.settings is None:
                return error_data(
                    "NoSettings", f"{self.name} needs settings, and the run has none."
                )
            given[self.settings_parameter] = self.settings
        try:
            result = awaited(
                self.fn(**given) if self.parameters is None else self.fn(given, context)
            )
        except (Exception, SystemExit) as error:
            return error_data(type(error).__name__, context.without_secrets(str(error)))
        return self._checked(result, context)

    def checked(self, arguments: object) -> dict[str, Any]:
        """Return the arguments of a call as the function takes them.

        Raises:
            InvalidData: they do not match the schema; the message names each invalid field.
        """
        if not isinstance(arguments, dict):
            msg = f"arguments must be an object, not {type(arguments).__name__}."
            raise InvalidData(msg)
        if self.parameters is not None:
            problems = self.problems(arguments)
            if problems:
                msg = f"{self.name}: {'; '.join(problems[:_MAX_PROBLEMS])}."
                raise InvalidData(msg)
            return arguments
        try:
            made: Any = structure(self.arguments, arguments)
        except InvalidData as error:
            msg = f"{self.name}: {error.message.partition(': ')[2]}"
            raise InvalidData(msg) from error
        return {name: getattr(made, name) for name in arguments}

    def _checked(self, result: Any, context: ToolContext) -> dict[str, Any]:
        try:
            plain = context.without_secrets(exact(_plain(as_content(result)), "result"))
            size = len(encode(plain))
            if size > self.max_result_bytes:
                size -= media_size(plain)
        except (InvalidData, RecursionError, ValueError) as error:
            message = error.message if isinstance(error, InvalidData) else str(error)
            return error_data("InvalidResult", f"{self.name}: {message}")
        if size > self.max_result_bytes:
            message = (
                f"{self.name} returned {size:,} bytes; the limit is {self.max_result_bytes:,}. "
                "Request a smaller result."
            )
            return error_data("ResultTooLarge", message)
        return {"result": plain}

    def timed_out(self) -> dict[str, Any]:
        """Return the data that answers a call which timed out."""
        return error_data("Timeout", f"{self.name} took longer than {self.timeout_seconds:g} s.")


def as_tool(name: str, fn: Callable[..., Any], **limits: Any) -> Tool:
    """Return the tool that calls a function.

    Args:
        name: by which it is called.
        fn: takes JSON by parameter name and returns JSON. The schema comes from the types of its
            parameters, the descriptions from its docstring and its ``Args:`` section.
        limits: ``timeout_seconds``, ``max_parallel``, ``max_result_bytes``, ``effect`` and ``undo``
            of the `Tool`. A tool that takes the world reads, any other writes, unless `effect` says
            something else. ``workspace`` says whether it uses the workspace; if that is None, its
            code does.

    Raises:
        ConfigurationError: a parameter cannot be passed by name, or its type has no JSON Schema.
    """
    settings_class = limits.pop("settings_class", None)
    workspace = limits.pop("workspace", None)
    effect = limits.get("effect")
    if effect is None:
        limits.pop("effect", None)
    elif effect not in EFFECTS:
        msg = f"Tool {name!r} has effect {effect!r:.60}."
        raise ConfigurationError(msg, hint=f"Use one of: {', '.join(EFFECTS)}.")
    if isinstance(fn, Tool):
        return attrs.evolve(fn, name=name, **limits)
    uses_workspace = _uses_workspace(fn) if workspace is None else workspace
    parameters = _parameters(name, fn)
    takes_key = parameters.pop(KEY_PARAMETER, None) is not None
    takes_world = parameters.pop(WORLD_PARAMETER, None) is not None
    context_parameter = _context_parameter(name, parameters)
    if context_parameter is not None:
        del parameters[context_parameter]
    of_settings = [
        each
        for each, (kind, _) in parameters.items()
        if settings_class is not None and kind is settings_class
    ]
    for each in of_settings:
        del parameters[each]
    if of_settings:
        limits["settings_parameter"] = of_settings[0]
    if uses_workspace and context_parameter is None:
        if workspace:
            msg = f"Tool {name!r} uses the workspace, but does not take its context."
            raise ConfigurationError(msg, hint="Give it a parameter ctx: ToolContext.")
        uses_workspace = False
    fields = {each: _field(name, each, *what) for each, what in parameters.items()}
    description, descriptions = _parse_docstring(inspect.getdoc(fn) or "")
    tool = Tool(
        name,
        fn,
        description,
        attrs.make_class(name.replace(".", "_") or "_", fields, frozen=True, kw_only=True),
        {each: text for each, text in descriptions.items() if each in fields},
        takes_key,
        takes_world,
        **{
            "effect": READ if takes_world else WRITE,
            "context_parameter": context_parameter,
            "uses_workspace": uses_workspace,
            **limits,
        },
    )
    check_limits(f"Tool {name!r}", tool.timeout_seconds, tool.max_parallel, tool.max_result_bytes)
    # A signature without a schema is an error now, where it was written, not at the first call.
    tool.schema()
    return tool


def error_data(type: str, message: str) -> dict[str, Any]:
    """Return the data of an answer that reports an error, without secrets."""
    return {"error": {"type": type, "message": redact(message)}}


def _parameters(name: str, fn: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Return type and default of each parameter."""
    try:
        signature, hints = inspect.signature(fn), get_type_hints(fn)
    except (NameError, TypeError, ValueError) as error:
        msg = f"Tool {name!r}: its signature cannot be inspected: {error}."
        raise ConfigurationError(
            msg, hint="Define the types of its parameters in its module."
        ) from error
    found = {}
    for each in signature.parameters.values():
        if each.kind not in _NAMED:
            msg = f"Tool {name!r}: parameter {each} cannot be passed by name."
            raise ConfigurationError(msg, hint="Give each parameter a name of its own.")
        found[each.name] = (hints.get(each.name, Any), each.default)
    return found


def _context_parameter(name: str, parameters: Mapping[str, tuple[Any, Any]]) -> str | None:
    """Return the name of the parameter that gets the context of the call, or None."""
    found = [
        each
        for each, (kind, _) in parameters.items()
        if kind is ToolContext or (each == CONTEXT_PARAMETER and kind is Any)
    ]
    if len(found) > 1:
        msg = f"Tool {name!r} takes its context twice: {' and '.join(found)}."
        raise ConfigurationError(msg, hint="Keep one of the two parameters.")
    return found[0] if found else None


def _uses_workspace(fn: Callable[..., Any]) -> bool:
    """Whether the code of a function names ``ctx.workspace``, or ``ctx.workspace_path``."""
    codes = [getattr(inspect.unwrap(fn), "__code__", None)]
    while codes:
        code = codes.pop()
        if code is None:
            continue
        if not _WORKSPACE_NAMES.isdisjoint(code.co_names):
            return True
        codes += [each for each in code.co_consts if inspect.iscode(each)]
    return False


def _field(tool: str, name: str, kind: Any, default: Any) -> Any:
    given = attrs.NOTHING if default is inspect.Parameter.empty else default
    return attrs.field(type=kind, default=given, alias=name)


def check_limits(
    of: str, timeout: float | None, max_parallel: int | None, max_result_bytes: int
) -> None:
    """Check the limits of a tool or of a tool server.

    Raises:
        ConfigurationError: one of them is out of range.
    """
    if timeout is not None and not timeout > 0:
        msg = f"{of}: timeout must be more than 0 seconds, not {timeout!r}."
        raise ConfigurationError(msg, hint="Use None for no limit.")
    if max_parallel is not None and not max_parallel >= 1:
        msg = f"{of}: max_parallel must be at least 1, not {max_parallel!r}."
        raise ConfigurationError(msg, hint="Use None for no limit.")
    if not 0 < max_result_bytes <= _LARGEST_RESULT_BYTES:
        msg = f"{of}: max_result_bytes is {max_result_bytes!r}."
        raise ConfigurationError(msg, hint=f"Use 1 to {_LARGEST_RESULT_BYTES:,}.")


def _parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the description in a docstring, and those of the parameters by name."""
    about, _, rest = text.partition("\nArgs:\n")
    descriptions: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     "):
            name, _, description = line.strip().partition(":")
            name = name.split(" ")[0]
            descriptions[name] = description.strip()
        elif line.strip() and name:
            descriptions[name] = f"{descriptions[name]} {line.strip()}"
    return " ".join(
        about.partition("\nReturns:")[0].partition("\nRaises:")[0].split()
    ), descriptions


def _plain(value: Any) -> Any:
    """Return the result of a function as JSON, where the conversion is obvious."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _plain(to_json(value)) if is_declarable(type(value)) else value
