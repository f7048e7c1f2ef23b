"""The script of the provider `scripted`: answers, and the requests that they match."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any, Literal, NoReturn

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from kando_llm.errors import ProviderError

__all__ = ["Script", "ScriptedAnswer", "load_script"]

_SHAPE = (
    'Write {"answers": [{"contains": "words" or ["all", "of", "these"], "text": "...", '
    '"cost_usd": 0.0}], "default": "..."}; instead of "text", "data": JSON or "tool_calls": '
    '[{"name": "...", "arguments": {...}}].'
)

# An answer needs one of these.
_CONTENT = {"text", "data", "tool_calls"}


@attrs.frozen
class ScriptedCall:
    """A tool call in an answer.

    Attributes:
        name: of the tool.
        arguments: by name.
    """

    name: str
    arguments: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class ScriptedAnswer:
    """An answer, and the requests that it matches.

    Attributes:
        contains: text that the request must contain; if it is a list, all of its items.
        text: the answer.
        cost_usd: the cost to report, in US dollars.
        data: the answer as JSON, instead of `text`.
        tool_calls: that the answer requests.
        stop: why it ends: ``end``, ``length``, ``refusal``, ``filtered``, or ``error``, which is not
            an answer.
    """

    contains: str | list[str]
    text: str = ""
    cost_usd: float = 0.0
    data: Any = None
    tool_calls: list[ScriptedCall] = attrs.field(factory=list)
    stop: Literal["end", "length", "refusal", "filtered", "error", "other"] = "end"

    @property
    def as_text(self) -> str:
        """The answer as text."""
        return json.dumps(self.data, ensure_ascii=False) if self.data is not None else self.text

    def calls_for(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return the tool calls, with ids that no other request has.

        Args:
            texts: of the request's messages.
        """
        request = sha256(repr(list(texts)).encode()).hexdigest()[:8]
        return [
            {"id": f"call-{request}-{number}", "name": call.name, "arguments": call.arguments}
            for number, call in enumerate(self.tool_calls)
        ]


@attrs.frozen
class Script:
    """Scripted answers.

    Attributes:
        answers: the first that matches a request is given.
        default: given if no answer matches; None to reject the request.
    """

    answers: list[ScriptedAnswer] = attrs.field(factory=list)
    default: str | None = None

    def answer_to(self, texts: Sequence[str]) -> ScriptedAnswer | None:
        """Return the answer to a request, or None if none matches.

        Args:
            texts: of the request's messages.
        """
        joined = "\n".join(texts)
        for answer in self.answers:
            parts = [answer.contains] if isinstance(answer.contains, str) else answer.contains
            if all(part in joined for part in parts):
                return answer
        return None if self.default is None else ScriptedAnswer([], self.default)


def load_script(path: Path) -> Script:
    """Read and check a script.

    Raises:
        ProviderError: the file cannot be read, is not JSON, or is malformed; the message names
            the field.
    """
    try:
        content = json.loads(path.read_bytes().decode(), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        msg = f"Script {str(path)!r} does not exist."
        raise ProviderError(msg, hint="Name an existing file: scripted:FILE.") from error
    except OSError as error:
        msg = f"Script {str(path)!r} cannot be read: {error.strerror or error}."
        raise ProviderError(msg, hint="Name a readable file: scripted:FILE.") from error
    except (ValueError, RecursionError) as error:
        msg = f"Script {str(path)!r} is not JSON: {error}."
        raise ProviderError(msg, hint=_SHAPE) from error
    try:
        return _converter().structure(content, Script)
    except cattrs.BaseValidationError as error:
        problems = "; ".join(cattrs.transform_error(error, "script", _describe))
    except _Wrong as error:
        problems = str(error)
    msg = f"Script {str(path)!r} is malformed: {problems}."
    raise ProviderError(msg, hint=_SHAPE)


class _Wrong(ValueError):
    """A value that its field does not accept."""


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)


def _converter() -> cattrs.Converter:
    """Return a converter that takes JSON as it is: no coercion, no unknown fields."""
    converter = cattrs.Converter()
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(float, _cost)
    converter.register_structure_hook(str | list[str], _contains)

    def of_object(cls: type) -> Any:
        structure: Callable[[Any, Any], Any] = make_dict_structure_fn(
            cls, converter, _cattrs_forbid_extra_keys=True
        )

        def made(value: Any, kind: Any) -> Any:
            if cls is ScriptedAnswer and not _CONTENT & _object(value).keys():
                raise KeyError("text")
            return structure(_object(value), kind)

        return made

    converter.register_structure_hook_factory(attrs.has, of_object)
    return converter


def _text(value: Any, kind: Any) -> str:
    if isinstance(value, str):
        return value
    raise _wrong("a string", value)


def _cost(value: Any, kind: Any) -> float:
    # A bool is an int to Python, but not to JSON; a float may overflow to infinity.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf:
        return float(value)
    raise _wrong("a number of at least 0", value)


def _contains(value: Any, kind: Any) -> str | list[str]:
    parts = [value] if isinstance(value, str) else value
    if isinstance(parts, list) and parts and all(isinstance(p, str) and p for p in parts):
        return parts
    raise _wrong("a non-empty string, or a list of them", value)


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise _wrong("an object", value)


def _wrong(expected: str, value: object) -> _Wrong:
    return _Wrong(f"expected {expected}, not {type(value).__name__} {value!r:.60}")


def _describe(error: BaseException, kind: type | None) -> str:
    if isinstance(error, _Wrong):
        return str(error)
    if isinstance(error, KeyError):
        return f"required field {error.args[0]!r} is missing"
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"unknown field {', '.join(map(repr, sorted(error.extra_fields)))}"
    return str(error)
