"""References: how the encoding of an event stands for its long texts and lists of messages.

`kando.schema.parts` describes the encoding, and offers the names of this module that others need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kando.schema.exact_json import decode, encode

if TYPE_CHECKING:
    from kando.schema._chains import Node

__all__ = [
    "LONG",
    "MARK",
    "MESSAGES",
    "REFERENCE",
    "REPEATED",
    "bytes_of",
    "has_references",
    "message_reference",
    "references_in",
    "resolved",
    "size_of",
    "top_with_references",
    "walk",
    "whole_size",
    "with_references",
]


#: A text, or a list of messages, of this many bytes or more is stored as a part.
LONG = 1024

#: The single key of a reference.
REFERENCE = "$kando"

#: Begins an encoding with references.
MARK = b"\x01"

#: Kinds of references.
_TEXT, _JSON, MESSAGES, _OBJECT = "text", "json", "messages", "object"

#: Fields of an event that are equal in every request of a conversation.
REPEATED = ("tools", "output_schema")


def has_references(encoded: bytes) -> bool:
    """Whether the encoded data of an event has references."""
    return encoded[:1] == MARK


def bytes_of(text: str) -> int:
    """Return the size of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def with_references(value: Any, texts: dict[bytes, str]) -> Any:
    """Return plain JSON with references in place of its long texts, which are put into `texts`."""
    kind = type(value)
    if kind is str:
        if len(value) * 4 < LONG or (size := bytes_of(value)) < LONG:
            return value
        digest = sha256(value.encode()).digest()
        texts[digest] = value
        return {REFERENCE: [_TEXT, digest.hex(), size]}
    if isinstance(value, dict):
        made = {name: with_references(each, texts) for name, each in value.items()}
        return {REFERENCE: [_OBJECT, made[REFERENCE]]} if [*made] == [REFERENCE] else made
    if isinstance(value, list):
        return [with_references(each, texts) for each in value]
    return value


def top_with_references(data: dict[str, Any], texts: dict[bytes, str]) -> dict[str, Any]:
    """Return the data of an event with references, as `with_references` does for a value."""
    made: dict[str, Any] = {}
    for name, each in data.items():
        if name == "id" and type(each) is str:
            # Stores search for the ids of objects in what is stored.
            made[name] = each
        elif name in REPEATED and len(encoded := encode(each)) >= LONG:
            digest = sha256(encoded).digest()
            texts[digest] = encoded.decode()
            made[name] = {REFERENCE: [_JSON, digest.hex(), len(encoded)]}
        else:
            made[name] = with_references(each, texts)
    return {REFERENCE: [_OBJECT, made[REFERENCE]]} if [*made] == [REFERENCE] else made


def whole_size(encoded: bytes, texts: Mapping[bytes, str]) -> int:
    """Return the bytes that an encoding takes with its long texts."""
    return len(encoded) + sum(map(bytes_of, texts.values()))


def message_reference(node: Node) -> dict[str, Any]:
    """Return the reference to a list of messages."""
    return {REFERENCE: [MESSAGES, node.digest.hex(), node.size]}


def references_in(encoded: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the digests of the texts and of the lists of messages that an encoding refers to.

    Raises:
        ValueError: it has a malformed reference.
    """
    texts: list[bytes] = []
    lists: list[bytes] = []
    if has_references(encoded):
        for kind, digest, _ in walk(decode(encoded[1:])):
            (lists if kind == MESSAGES else texts).append(digest)
    return texts, lists


def size_of(encoded: bytes) -> int:
    """Return the size in bytes of the whole content of an event, without resolving it."""
    if not has_references(encoded):
        return len(encoded)
    return len(encoded) + sum(size for _, _, size in walk(decode(encoded[1:])))


def walk(value: Any) -> Iterator[tuple[str, bytes, int]]:
    """Yield the kind, digest and size of each reference in decoded JSON.

    Raises:
        ValueError: a reference is malformed.
    """
    if isinstance(value, dict):
        if len(value) == 1 and REFERENCE in value:
            kind, content = _reference(value[REFERENCE])
            if kind == _OBJECT:
                yield from walk(content[0])
            else:
                yield kind, bytes.fromhex(content[0]), content[1]
            return
        for each in value.values():
            if type(each) in (dict, list):
                yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            if type(each) in (dict, list):
                yield from walk(each)


def _reference(value: Any) -> tuple[str, list[Any]]:
    match value:
        case ["object", _]:
            return _OBJECT, value[1:]
        case [("text" | "json" | "messages") as kind, str(digest), int()] if len(digest) == 64:
            return kind, value[1:]
    msg = f"malformed reference {value!r:.80}"
    raise ValueError(msg)


def resolved(value: Any, texts: Mapping[bytes, str], nodes: Mapping[bytes, Node]) -> Any:
    """Return decoded JSON with its references replaced by these texts and lists of messages."""
    if isinstance(value, dict):
        if len(value) == 1 and REFERENCE in value:
            kind, content = _reference(value[REFERENCE])
            if kind == _OBJECT:
                return {REFERENCE: resolved(content[0], texts, nodes)}
            digest = bytes.fromhex(content[0])
            if kind == MESSAGES:
                return nodes[digest].messages()
            return texts[digest] if kind == _TEXT else decode(texts[digest])
        return {name: resolved(each, texts, nodes) for name, each in value.items()}
    return [resolved(each, texts, nodes) for each in value] if isinstance(value, list) else value
