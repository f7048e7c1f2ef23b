"""Thoughts: what a model gives with its reasoning, kept as it came and returned to it alone.

Some servers refuse the next turn of a conversation unless it returns what they gave with the turn
before, unchanged: signed or redacted thinking, signatures of tool calls, reasoning fields. Only the
server and the model that gave it can read it, so no other gets it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from kando_llm.request import Turn

__all__ = [
    "giver",
    "kept_blocks",
    "kept_fields",
    "kept_items",
    "merge_fields",
    "message_blocks",
    "message_items",
    "returned_fields",
    "thoughts_in",
]

#: Fields of a message, or of a tool call, that belong to the thoughts of a model.
_FIELD = re.compile(r"reason|think|thought|signature|^extra_content$", re.IGNORECASE)
_KNOWN = frozenset({"role", "content", "refusal", "tool_calls", "function_call", "audio", "index"})


def giver(provider: str, base_url: str, model: str) -> str:
    """Return the name under which a server and a model keep thoughts.

    Args:
        provider: name of the provider.
        base_url: of the server; only its hash is kept.
        model: as it was asked for.
    """
    return f"{provider}:{model}@{sha256(base_url.encode()).hexdigest()[:12]}"


def thoughts_in(turn: Turn, by: str) -> dict[str, Any]:
    """Return the thoughts of a turn, if the same server and model gave them; else an empty dict."""
    thoughts = turn.thoughts
    return thoughts if thoughts is not None and thoughts.get("by") == by else {}


def kept_blocks(content: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the order of the blocks of an answer, with those that are neither text nor a tool call.

    Text and tool calls are in the answer itself: a block of text is kept as its length, and a call
    as its number. Empty if the answer has nothing else.
    """
    kept: list[dict[str, Any]] = []
    for block in content:
        kind = block.get("type")
        if kind == "text" and not block.get("citations"):
            kept.append({"text": len(str(block.get("text") or ""))})
        elif kind == "tool_use":
            kept.append({"call": sum("call" in each for each in kept)})
        else:
            kept.append({"block": {k: v for k, v in block.items() if v is not None}})
    return kept if any("block" in each for each in kept) else []


def message_blocks(
    turn: Turn, calls: Sequence[dict[str, Any]], thoughts: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the blocks of an assistant's turn, in the order in which they came.

    Args:
        turn: of the assistant.
        calls: its tool calls, as blocks.
        thoughts: as `thoughts_in` returns them.
    """
    return _in_order(turn, calls, thoughts, lambda text, _: {"type": "text", "text": text})


def kept_items(output: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the order of the items of an answer of the Responses API; as `kept_blocks`.

    Reasoning that is neither encrypted nor written out is left out: a server that stores nothing
    does not find it again. The phase of a message is kept with its length.

    Args:
        output: the items: those of type ``message`` with their ``text``, calls as ``call``, and
            others as the server sent them.
    """
    kept: list[dict[str, Any]] = []
    for item in output:
        kind = item.get("type")
        if kind == "message":
            phase = {"phase": item["phase"]} if item.get("phase") else {}
            kept.append({"text": len(item["text"]), **phase})
        elif kind == "call":
            kept.append({"call": sum("call" in each for each in kept)})
        elif kind != "reasoning" or item.get("encrypted_content") or item.get("content"):
            kept.append({"block": {k: v for k, v in item.items() if v is not None}})
    return kept if any("block" in each or "phase" in each for each in kept) else []


def message_items(
    turn: Turn, calls: Sequence[dict[str, Any]], thoughts: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the items of an assistant's turn for the Responses API; arguments as `message_blocks`."""

    def written(text: str, kept: Mapping[str, Any]) -> dict[str, Any]:
        phase = {"phase": kept["phase"]} if "phase" in kept else {}
        return {"role": "assistant", "content": text, **phase}

    return _in_order(turn, calls, thoughts, written)


def _in_order(
    turn: Turn,
    calls: Sequence[dict[str, Any]],
    thoughts: Mapping[str, Any],
    written: Callable[[str, Mapping[str, Any]], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return text, calls and thoughts of a turn in the order in which they came.

    Args:
        turn: of the assistant.
        calls: its tool calls, in the form of the server.
        thoughts: as `thoughts_in` returns them.
        written: returns text in the form of the server.
    """
    order = thoughts.get("blocks") or []
    lengths = [each["text"] for each in order if "text" in each]
    numbers = [each["call"] for each in order if "call" in each]
    if sum(lengths) != len(turn.text) or numbers != [*range(len(calls))]:
        # The turn was changed since: thoughts come first.
        text = [written(turn.text, {})] if turn.text else []
        return [*(each["block"] for each in order if "block" in each), *text, *calls]
    found, at = [], 0
    for each in order:
        if "block" in each:
            found.append(each["block"])
        elif "call" in each:
            found.append(calls[each["call"]])
        elif each["text"]:
            found.append(written(turn.text[at : at + each["text"]], each))
            at += each["text"]
    return found


def kept_fields(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a message or a tool call that belong to the thoughts of a model."""
    return {
        name: value
        for name, value in message.items()
        if name not in _KNOWN and value not in (None, "", []) and _FIELD.search(name)
    }


def returned_fields(thoughts: Mapping[str, Any], number: int | None = None) -> dict[str, Any]:
    """Return the fields to send again with a message, or with its tool call of that number."""
    if number is None:
        found = thoughts.get("message")
    else:
        found = (thoughts.get("calls") or {}).get(str(number))
    return dict(found) if isinstance(found, dict) else {}


def merge_fields(so_far: dict[str, Any], pieces: Mapping[str, Any]) -> None:
    """Add pieces of fields to those of a streamed message.

    Text is joined; entries of lists that have the same ``index`` and ``type`` are one entry.
    """
    for name, piece in pieces.items():
        so_far[name] = _merged(so_far.get(name), piece)


def _merged(so_far: Any, piece: Any) -> Any:
    if so_far is None or piece is None:
        return piece if so_far is None else so_far
    if isinstance(so_far, str) and isinstance(piece, str):
        return so_far + piece
    if isinstance(so_far, list) and isinstance(piece, list):
        merged = list(so_far)
        for entry in piece:
            at = _place_of(merged, entry)
            if at is None:
                merged.append(entry)
            else:
                merged[at] = _merge_entries(merged[at], entry)
        return merged
    if isinstance(so_far, dict) and isinstance(piece, dict):
        return {**so_far, **{n: v for n, v in piece.items() if v is not None}}
    return piece


def _place_of(entries: list[Any], entry: Any) -> int | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("index"), int):
        return None
    for at, each in enumerate(entries):
        if isinstance(each, dict) and all(each.get(n) == entry.get(n) for n in ("index", "type")):
            return at
    return None


#: Fields of an entry that arrive in pieces; others are said once, or again unchanged.
_PIECEMEAL = ("text", "summary", "data")


def _merge_entries(so_far: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    merged = dict(so_far)
    for name, value in piece.items():
        joins = name in _PIECEMEAL and isinstance(merged.get(name), str) and isinstance(value, str)
        if joins:
            merged[name] += value
        elif value is not None:
            merged[name] = value
    return merged
