"""Options of requests to a model: which there are, and which layer of settings takes precedence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kando.errors import ConfigurationError
from kando.schema.events import ECHOED, OBSERVED

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "KNOWN_OPTIONS",
    "check_options",
    "check_settings",
    "merge_options",
    "model_options_in",
    "option_names",
    "options_in",
    "without_unset",
]

#: Limit of an answer where one is needed and none is set: for a price, a budget, or the server.
DEFAULT_MAX_TOKENS = 8192

#: Fields of a request that are not options.
_NOT_OPTIONS = frozenset({"messages", "model", "tools", "output_schema", OBSERVED, *ECHOED})
#: Kando sets these itself. To honour them, it would have to answer in another form.
_REFUSED = {
    "stream": "an answer is recorded as a whole, and --stream shows it as it arrives",
    "stream_options": "an answer is recorded as a whole",
    "n": "a request has one answer",
    "extra_headers": "headers are settings of the server: ..._ENDPOINT_HEADERS",
    "extra_query": "the URL is a setting of the server: ..._BASE_URL",
    "api_key": "a key belongs in the environment",
    "base_url": "the server is a setting: ..._BASE_URL",
    "timeout": "it is a setting: KANDO_LLM_TIMEOUT",
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_limit(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_stops(value: object) -> bool:
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, list | tuple) and all(isinstance(e, str) and e for e in value)


def _is_thinking(value: object) -> bool:
    return isinstance(value, bool | dict) or _is_limit(value)


_TYPES = {
    "max_tokens": (_is_limit, "a whole number of at least 1"),
    "temperature": (_is_number, "a number"),
    "top_p": (_is_number, "a number"),
    "top_k": (_is_count, "a whole number"),
    "seed": (_is_count, "a whole number"),
    "presence_penalty": (_is_number, "a number"),
    "frequency_penalty": (_is_number, "a number"),
    "stop": (_are_stops, "a string or a list of strings"),
    "effort": (lambda value: isinstance(value, str) and bool(value), "a word such as high"),
    "reasoning_effort": (
        lambda value: isinstance(value, str) and bool(value),
        "a word such as high",
    ),
    "thinking": (_is_thinking, "true, false, a number of tokens or an object"),
    "tool_choice": (lambda value: isinstance(value, str | dict), "auto, none, required or a tool"),
    "parallel_tool_calls": (lambda value: isinstance(value, bool), "true or false"),
    "prompt_cache": (lambda value: isinstance(value, bool), "true or false"),
    "extra_body": (lambda value: isinstance(value, dict), "an object"),
}


#: Options that Kando knows; it sends others as they are.
KNOWN_OPTIONS = frozenset(_TYPES)


def check_options(options: Mapping[str, Any], where: str = "the request") -> None:
    """Check options of a request.

    Options that Kando does not know are sent as they are.

    Args:
        options: by name; an option that is None is not set.
        where: names what has the options, in messages.

    Raises:
        ConfigurationError: an option cannot be honoured, or has a value of another type.
    """
    for name, value in options.items():
        if name in _REFUSED:
            msg = f"The option {name} of {where} cannot be honoured: {_REFUSED[name]}."
            raise ConfigurationError(msg, hint="Leave it out.")
        if value is None or name not in _TYPES:
            continue
        is_valid, expected = _TYPES[name]
        if not is_valid(value):
            msg = f"{name} of {where} must be {expected}, not {value!r:.60}."
            raise ConfigurationError(msg, hint="Leave it out for the default.")


def option_names(request: Mapping[str, Any]) -> list[str]:
    """Return the names of the options that a request sets."""
    return [
        name for name, value in request.items() if name not in _NOT_OPTIONS and value is not None
    ]


def without_unset(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request without its fields that are None, which are not set."""
    return {name: value for name, value in request.items() if value is not None}


def merge_options(*layers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of several layers of settings; a later layer takes precedence.

    The order is: a kit, the file of settings, the environment, the command line. An option that is
    None in a later layer is unset.

    Args:
        layers: options by name; None for a layer without any.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer or {})
    return merged


def options_in(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the options in ``KANDO_LLM_OPTIONS``, which override those of a kit.

    Raises:
        ConfigurationError: the variable is malformed, or holds an option that cannot be honoured.
    """
    # Not at the top: a runtime needs no setting.
    from kando.settings import LLM_OPTIONS, value_of

    found = value_of(LLM_OPTIONS, environ)
    check_settings(found, LLM_OPTIONS.variable)
    return found


def model_options_in(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the options in ``KANDO_LLM_MODEL_OPTIONS``, by the name or the pattern of a model.

    Raises:
        ConfigurationError: as for `options_in`.
    """
    from kando.settings import LLM_MODEL_OPTIONS, value_of

    found = value_of(LLM_MODEL_OPTIONS, environ)
    for model, options in found.items():
        check_settings(options, f"{LLM_MODEL_OPTIONS.variable} for {model}")
    return found


def check_settings(options: Mapping[str, Any], where: str) -> None:
    """Check options that hold for all requests of a process.

    Args:
        options: by name.
        where: they are set, for messages.

    Raises:
        ConfigurationError: as `check_options`; or an option belongs to a single request.
    """
    single = sorted(_NOT_OPTIONS & set(options))
    if single:
        msg = f"{where} sets {', '.join(single)}, which belongs to a single request."
        raise ConfigurationError(msg, hint="Leave it out; --llm chooses the model.")
    check_options(options, where)
