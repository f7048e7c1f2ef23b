"""Tools: offered through the chat template of the model, or through a JSON Schema of its answer.

Small models often have a chat template without tools. Then the tools are described in the prompt, and
llama.cpp keeps the answer to one of two forms: a call with arguments that match the tool's schema, or
the answer itself. So a call can be read whatever the model is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any

import attrs

from kando.errors import RequestRejected

__all__ = ["Tools", "tools_in"]

_TOOL, _ARGUMENTS, _ANSWER = "tool", "arguments", "answer"
_PROMPT = (
    "You can call these tools:\n{tools}\n"
    'To call one, answer with JSON: {{"tool": NAME, "arguments": {{...}}}}.'
)
_OR_ANSWER = ' If you need no tool, answer with JSON: {"answer": ...}.'
_CUT_CALL = re.compile(r'\s*\{\s*"tool"\s*:\s*"(?P<name>[^"]*)')
_CUT_ANSWER = re.compile(r'\s*\{\s*"answer"\s*:\s*"?(?P<text>.*)', re.DOTALL)
_RESULT = "Result of the tool {name}:\n{content}"


@attrs.frozen
class Tools:
    """The tools of a request, and the form in which a model is offered them.

    Attributes:
        offered: name, description and schema of each.
        is_native: whether the chat template shows the model its tools.
        must_call: whether the answer has to be a call.
        output_schema: JSON Schema of the answer, or None for text.
    """

    offered: tuple[dict[str, Any], ...] = ()
    is_native: bool = False
    must_call: bool = False
    output_schema: dict[str, Any] | None = None

    @property
    def is_constrained(self) -> bool:
        """Whether the answer is JSON that is a call, or holds the answer."""
        return bool(self.offered) and not self.is_native

    def fields(self) -> dict[str, Any]:
        """Return the fields of the body that offer the tools."""
        if not self.offered or not self.is_native:
            return {}
        functions = [
            {"name": t["name"], "description": t["description"], "parameters": t["schema"]}
            for t in self.offered
        ]
        return {"tools": [{"type": "function", "function": each} for each in functions]}

    def schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of an answer that may be a call; None if it needs none."""
        if not self.is_constrained:
            return None
        parts: dict[str, Any] = {}
        forms = [
            _object({_TOOL: {"const": t["name"]}, _ARGUMENTS: _moved(t["schema"], f"t{n}", parts)})
            for n, t in enumerate(self.offered)
        ]
        if not self.must_call:
            answer = self.output_schema or {"type": "string"}
            forms.append(_object({_ANSWER: _moved(answer, "answer", parts)}))
        form = forms[0] if len(forms) == 1 else {"anyOf": forms}
        return {**form, "$defs": parts} if parts else form

    def shown_in(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return messages in the form of llama.cpp, which show the model its tools."""
        if self.is_native:
            return [_native(each) for each in messages]
        names: dict[str, str] = {}
        shown = [_as_text(each, names) for each in messages]
        if not self.offered:
            return shown
        tools = "\n".join(json.dumps(each, ensure_ascii=False) for each in self.offered)
        prompt = _PROMPT.format(tools=tools) + ("" if self.must_call else _OR_ANSWER)
        first = shown[0]
        if first["role"] != "system":
            return [{"role": "system", "content": prompt}, *shown]
        return [{**first, "content": f"{first['content']}\n\n{prompt}"}, *shown[1:]]

    def read(self, text: str, *, is_cut: bool) -> tuple[str, list[dict[str, Any]]]:
        """Return the text of an answer, and the calls in it.

        Args:
            text: as the model wrote it.
            is_cut: whether it was cut off. Then a call in it is not whole, and has no arguments.
        """
        if not self.is_constrained:
            return text, []
        if is_cut:
            return _read_cut(text)
        try:
            found = json.loads(text)
        except ValueError:
            return text, []
        if not isinstance(found, dict):
            return text, []
        if isinstance(found.get(_TOOL), str):
            id = f"call-{sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"
            return "", [{"id": id, "name": found[_TOOL], "arguments": found.get(_ARGUMENTS)}]
        answer = found.get(_ANSWER, found)
        return (answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)), []


def _read_cut(text: str) -> tuple[str, list[dict[str, Any]]]:
    call, answer = _CUT_CALL.match(text), _CUT_ANSWER.match(text)
    if call is not None:
        return "", [{"id": "call-cut", "name": call["name"], "arguments": None}]
    if answer is None:
        return "", []
    # The cut may be inside an escape sequence, which has at most twelve characters.
    for end in range(len(answer["text"]), max(-1, len(answer["text"]) - 13), -1):
        with suppress(ValueError):
            return str(json.loads(f'"{answer["text"][:end]}"')), []
    return answer["text"], []


def _moved(schema: dict[str, Any], name: str, parts: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that can be a part of another one.

    Its references are to its own root, so that its definitions move to `parts`, under a name.
    """
    if "#/" not in json.dumps(schema):
        return schema
    moved = _with_references(schema, f"#/$defs/{name}/")
    parts[name] = moved
    return {each: value for each, value in moved.items() if each not in ("$defs", "definitions")}


def _with_references(value: Any, root: str) -> Any:
    if isinstance(value, list):
        return [_with_references(each, root) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: root + each[2:]
        if name == "$ref" and isinstance(each, str) and each.startswith("#/")
        else _with_references(each, root)
        for name, each in value.items()
    }


def tools_in(request: Mapping[str, Any], knows_tools: bool) -> Tools:
    """Return the tools of a request.

    Args:
        request: the data of an ``llm.request``.
        knows_tools: whether the chat template of the model shows it tools.

    Raises:
        RequestRejected: a tool is malformed, or the request asks for one that it does not have.
    """
    given = request.get("tools") or []
    if not isinstance(given, list):
        msg = f"tools of the request must be a list, not {given!r:.60}."
        raise RequestRejected(msg, hint="Leave it out for no tools.")
    offered = [_tool(each) for each in given]
    choice, schema = _choice_in(request), request.get("output_schema")
    if choice == "none":
        offered = []
    elif choice not in ("auto", "required"):
        offered = [each for each in offered if each["name"] == choice] or _missing(choice, offered)
    must_call = bool(offered) and choice != "auto"
    # A template neither makes a model call a tool, nor knows the schema of the answer.
    is_native = knows_tools and not must_call and not (offered and schema is not None)
    return Tools(tuple(offered), is_native, must_call, schema)


def _choice_in(request: Mapping[str, Any]) -> str:
    choice = request.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        function = choice.get("function")
        named = function if isinstance(function, dict) else choice
        choice = named.get("name") or "auto"
    return "required" if choice == "any" else str(choice)


def _missing(choice: str, offered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not offered:
        return []
    names = ", ".join(each["name"] for each in offered)
    msg = f"tool_choice of the request names {choice!r:.60}, which is not one of its tools."
    raise RequestRejected(msg, hint=f"Its tools: {names:.200}.")


def _tool(tool: object) -> dict[str, Any]:
    if isinstance(tool, dict) and isinstance(tool.get("name"), str):
        names = ("schema", "parameters", "input_schema")
        schemas: Iterator[Any] = (tool[n] for n in names if isinstance(tool.get(n), dict))
        schema = next(schemas, {"type": "object", "properties": {}})
        about = str(tool.get("description") or "")
        return {"name": tool["name"], "description": about, "schema": schema}
    msg = f"A tool of the request is malformed: {tool!r:.60}."
    raise RequestRejected(
        msg, hint='Write it as {"name": "...", "description": "...", "schema": {...}}.'
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _native(message: dict[str, Any]) -> dict[str, Any]:
    if "tool_calls" not in message:
        return message
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call.get("arguments", {}))},
        }
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _as_text(message: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return a message whose calls and results are text; `names` holds the tools by call."""
    if message["role"] == "tool":
        name = names.get(message["tool_call_id"], message["tool_call_id"])
        return {"role": "user", "content": _RESULT.format(name=name, content=message["content"])}
    calls = message.get("tool_calls", ())
    names |= {call["id"]: call["name"] for call in calls}
    written = [
        json.dumps({_TOOL: c["name"], _ARGUMENTS: c.get("arguments", {})}, ensure_ascii=False)
        for c in calls
    ]
    text = "\n".join(filter(None, (message["content"], *written)))
    return {"role": message["role"], "content": text}
