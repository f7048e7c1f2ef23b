"""Tools: functions that a kit offers, with a JSON Schema made from their signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import attrs

from kando.errors import ConfigurationError, InvalidData
from kando.responders.redaction import scrubbed, unicode_of
from kando.responders.structured import schema_of, structure
from kando.schema.exact_json import encode, exact
from kando.world.graph import World

__all__ = [
    "DEFAULT_MAX_RESULT_BYTES",
    "DEFAULT_TIMEOUT",
    "KEY_PARAMETER",
    "Tool",
    "as_tool",
    "error_data",
]

#: Seconds that a call of a tool may take, if its author does not say.
DEFAULT_TIMEOUT = 60.0

#: Bytes of JSON that a tool may return, if its author does not say.
DEFAULT_MAX_RESULT_BYTES = 256 * 1024

# An event takes 1 MiB, and what a tool returned is not all that is in it.
_LARGEST_RESULT_BYTES = 1_000_000

#: A parameter of this name is not the caller's: it gets the key of the call.
KEY_PARAMETER = "idempotency_key"

#: A parameter of this name gets the world, and makes the tool one that reaches nothing outside.
WORLD_PARAMETER = "world"

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@attrs.frozen
class Tool:
    """A function that can be called through ``tool.called``.

    Attributes:
        name: by which it is called.
        fn: the function; its arguments are given by name.
        description: what it does, for whoever chooses among tools.
        arguments: an attrs class with a field for each parameter.
        descriptions: of the parameters, by name.
        takes_key: whether it wants the call's ``idempotency_key``.
        takes_world: whether it looks something up in the ``world``.
        timeout_seconds: after which a call is answered with an error; None for never.
        max_parallel: how many calls of it may be in flight at once; None for as many as the
            runtime allows.
        max_result_bytes: limit of what it returns, as JSON.
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

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the function itself, unchecked."""
        return self.fn(*args, **named)

    def schema(self) -> dict[str, Any]:
        """Return ``{"name", "description", "parameters"}``, the last a JSON Schema."""
        parameters = schema_of(self.arguments)
        parameters.pop("description", None)
        for name, text in self.descriptions.items():
            parameters["properties"][name] = {**parameters["properties"][name], "description": text}
        return {"name": self.name, "description": self.description, "parameters": parameters}

    def answer(self, arguments: object, key: str, world: World | None = None) -> dict[str, Any]:
        """Call the tool and return ``{"result": ...}``, or ``{"error": {"type", "message"}}``.

        Args:
            arguments: by parameter name; they are checked before the call.
            key: names this call; it is the same when the call is made again.
            world: for a tool that takes it.
        """
        if not isinstance(arguments, dict):
            found = type(arguments).__name__
            return error_data("InvalidArguments", f"arguments must be an object, not {found}.")
        try:
            checked: Any = structure(self.arguments, arguments)
        except InvalidData as error:
            problems = error.message.partition(": ")[2]
            return error_data("InvalidArguments", f"{self.name}: {problems}")
        given = {name: getattr(checked, name) for name in arguments}
        given |= {KEY_PARAMETER: key} if self.takes_key else {}
        given |= {WORLD_PARAMETER: world} if self.takes_world else {}
        try:
            result = self.fn(**given)
        except (Exception, SystemExit) as error:
            return error_data(type(error).__name__, str(error))
        return self._checked(result)

    def _checked(self, result: Any) -> dict[str, Any]:
        try:
            plain = exact(_plain(result), "result")
            size = len(encode(plain))
        except (InvalidData, RecursionError, ValueError) as error:
            message = error.message if isinstance(error, InvalidData) else str(error)
            return error_data("InvalidResult", f"{self.name}: {message}")
        if size > self.max_result_bytes:
            message = (
                f"{self.name} returned {size:,} bytes; the limit is {self.max_result_bytes:,}. "
                "Ask it for less."
            )
            return error_data("ResultTooLarge", message)
        return {"result": plain}

    def timed_out(self) -> dict[str, Any]:
        """Return what answers a call that took too long."""
        return error_data("Timeout", f"{self.name} took longer than {self.timeout_seconds:g} s.")


def as_tool(name: str, fn: Callable[..., Any], **limits: Any) -> Tool:
    """Make a tool of a function.

    Args:
        name: by which it is called.
        fn: takes JSON by parameter name and returns JSON. The types of its parameters say what is
            accepted, and its docstring what it does; ``Args:`` describes the parameters.
        limits: ``timeout_seconds``, ``max_parallel`` and ``max_result_bytes`` of the `Tool`.

    Raises:
        ConfigurationError: it cannot be called by name, or a type of it has no JSON Schema.
    """
    if isinstance(fn, Tool):
        return attrs.evolve(fn, name=name, **limits)
    if inspect.iscoroutinefunction(fn):
        msg = f"Tool {name!r} is an async function."
        raise ConfigurationError(msg, hint="Make it a plain one: calls run side by side anyway.")
    parameters = _parameters(name, fn)
    takes_key = parameters.pop(KEY_PARAMETER, None) is not None
    takes_world = parameters.pop(WORLD_PARAMETER, None) is not None
    fields = {each: _field(name, each, *what) for each, what in parameters.items()}
    description, descriptions = _documented(inspect.getdoc(fn) or "")
    tool = Tool(
        name,
        fn,
        description,
        attrs.make_class(name.replace(".", "_") or "_", fields, frozen=True, kw_only=True),
        {each: text for each, text in descriptions.items() if each in fields},
        takes_key,
        takes_world,
        **limits,
    )
    _check_limits(tool)
    # Now, not at the first call: what no caller could be told is refused where it was written.
    tool.schema()
    return tool


def error_data(type: str, message: str) -> dict[str, Any]:
    """Return the data of an answer that says what went wrong, free of secrets."""
    return {"error": {"type": type, "message": scrubbed(message)}}


def _parameters(name: str, fn: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Return type and default of each parameter."""
    try:
        signature, hints = inspect.signature(fn), get_type_hints(fn)
    except (NameError, TypeError, ValueError) as error:
        msg = f"Tool {name!r}: its signature cannot be read: {error}."
        raise ConfigurationError(msg, hint="Define the types it names in its module.") from error
    found = {}
    for each in signature.parameters.values():
        if each.kind not in _NAMED:
            msg = f"Tool {name!r}: parameter {each} cannot be given by name."
            raise ConfigurationError(msg, hint="Spell out its parameters.")
        found[each.name] = (hints.get(each.name, Any), each.default)
    return found


def _field(tool: str, name: str, kind: Any, default: Any) -> Any:
    given = attrs.NOTHING if default is inspect.Parameter.empty else default
    return attrs.field(type=kind, default=given, alias=name)


def _check_limits(tool: Tool) -> None:
    timeout, parallel = tool.timeout_seconds, tool.max_parallel
    if timeout is not None and not timeout > 0:
        msg = f"Tool {tool.name!r}: timeout must be more than 0 seconds, not {timeout!r}."
        raise ConfigurationError(msg, hint="Use None for no limit.")
    if parallel is not None and not parallel >= 1:
        msg = f"Tool {tool.name!r}: max_parallel must be at least 1, not {parallel!r}."
        raise ConfigurationError(msg, hint="Use None for no limit.")
    if not 0 < tool.max_result_bytes <= _LARGEST_RESULT_BYTES:
        msg = f"Tool {tool.name!r}: max_result_bytes is {tool.max_result_bytes!r}."
        raise ConfigurationError(msg, hint=f"Use 1 to {_LARGEST_RESULT_BYTES:,}.")


def _documented(text: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of a function, and of its parameters by name."""
    about, _, rest = text.partition("\nArgs:\n")
    descriptions: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     "):
            name, _, said = line.strip().partition(":")
            name = name.split(" ")[0]
            descriptions[name] = said.strip()
        elif line.strip() and name:
            descriptions[name] = f"{descriptions[name]} {line.strip()}"
    return " ".join(
        about.partition("\nReturns:")[0].partition("\nRaises:")[0].split()
    ), descriptions


def _plain(value: Any) -> Any:
    """Return what a function returned as JSON, as far as it is obvious which."""
    if isinstance(value, str):
        return unicode_of(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if attrs.has(type(value)):
        return _plain(attrs.asdict(value))
    return value
