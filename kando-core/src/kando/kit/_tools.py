"""Tools of a kit: what its decorator is given, and the schemas that a model reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kando.errors import ConfigurationError, NotFoundError
from kando.kit._types import is_function
from kando.responders.tools import Tool
from kando.schema.names import suggestion

__all__ = ["decorated", "schemas_of"]


def decorated(kit: str, given: Any) -> Callable[..., Any] | None:
    """Return the function that ``@kit.tool`` without parentheses is given; None if it has a name.

    Args:
        kit: name of the kit.
        given: the function, the name of the tool, or None.

    Raises:
        ConfigurationError: it is something else.
    """
    if is_function(given):
        function: Callable[..., Any] = given
        return function
    if given is not None and not isinstance(given, str):
        msg = f"The name of a tool of kit {kit!r} is {given!r:.60}."
        raise ConfigurationError(msg, hint='Pass a text: @kit.tool("look_up").')
    return None


def schemas_of(
    kit: str, tools: Mapping[str, Tool], names: Iterable[str] | None
) -> list[dict[str, Any]]:
    """Return ``{"name", "description", "parameters"}`` of each tool, as requests hold them.

    Args:
        kit: name of the kit.
        tools: that it declares.
        names: of the tools; all tools of the kit if None.

    Raises:
        NotFoundError: the kit has no such tool.
    """
    wanted = list(tools) if names is None else list(names)
    for name in wanted:
        if name not in tools:
            msg = f"Kit {kit!r} has no tool {name!r}."
            raise NotFoundError(msg, hint=suggestion(name, tools))
    return [tools[name].schema() for name in wanted]
