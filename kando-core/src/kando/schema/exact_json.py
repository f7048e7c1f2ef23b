"""Exact JSON: a value that cannot be encoded without loss is refused, with the path to it."""

from __future__ import annotations

import re
from datetime import date, datetime
from math import isfinite
from typing import Any

import msgspec

from kando.errors import InvalidData

__all__ = ["decode", "encode", "exact", "exact_and_encoded", "is_too_deep", "sorted_encode"]

# Python converts integers of up to 4,300 digits to text.
_MAX_INT_BITS = 14_000

_MAX_DEPTH = 100

# A level takes an opening and a closing bracket.
_SHALLOW_BYTES = 2 * (_MAX_DEPTH + 1)

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))

_encoder = msgspec.json.Encoder()
_sorting_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()


def exact_and_encoded(value: Any, path: str = "data") -> tuple[Any, bytes]:
    """Return `value` as `exact` does, and its encoding.

    Raises:
        InvalidData: a value in it has no exact JSON form; the message names its path.
    """
    try:
        encoded = _encoder.encode(value)
        decoded = _decoder.decode(encoded)
        # Plain JSON survives the round trip. Other values (NaN, sets, bytes, tuples, dates, keys
        # that are not strings) come back changed.
        if decoded == value and (len(encoded) <= _SHALLOW_BYTES or not is_too_deep(encoded)):
            return decoded, encoded
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        pass
    copy = exact(value, path)
    return copy, encode(copy, path)


def is_too_deep(encoded: bytes) -> bool:
    """Whether JSON as `encode` wrote it nests deeper than `exact` accepts."""
    if encoded.count(b"{") + encoded.count(b"[") <= _MAX_DEPTH + 1:
        return False
    brackets = _STRING.sub(b"", encoded).translate(_AS_SQUARE, _NO_BRACKETS)
    for _ in range(_MAX_DEPTH + 1):
        # Each pass removes the innermost level.
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


def exact(value: Any, path: str = "data") -> Any:
    """Return `value` as plain JSON values, sharing nothing mutable with it.

    Tuples become lists; dates and datetimes become ISO 8601 strings.

    Args:
        value: data as the author of an event wrote it.
        path: of `value`, for the error message.

    Raises:
        InvalidData: a value in it has no exact JSON form; the message names its path.
    """
    return _exact(value, path, 0)


def _exact(value: Any, path: str, depth: int) -> Any:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        if value.bit_length() <= _MAX_INT_BITS:
            return value
        raise _refused(path, "an integer of thousands of digits", "Store it as a string")
    if kind is float:
        if isfinite(value):
            return value
        raise _refused(path, f"{value!r}, which is not a JSON number", "Use null or a string")
    if depth > _MAX_DEPTH:
        raise _refused(path, f"nested deeper than {_MAX_DEPTH} levels", "Flatten it")
    if isinstance(value, dict):
        return _exact_object(value, path, depth)
    if isinstance(value, list | tuple):
        return [_exact(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | float):
        return _exact(int(value) if isinstance(value, int) else float(value), path, depth)
    raise _refused(
        path,
        f"{kind.__module__}.{kind.__qualname__}",
        "Use strings, numbers, booleans, null, lists and objects",
    )


def _exact_object(value: dict[Any, Any], path: str, depth: int) -> dict[str, Any]:
    copy = {}
    for key, item in value.items():
        if type(key) is not str:
            raise _refused(path, f"the key {key!r}, which is not a string", "Use string keys")
        copy[key] = _exact(item, f"{path}.{key}", depth + 1)
    return copy


def encode(value: Any, path: str = "data") -> bytes:
    """Encode plain JSON values, as `exact` returns them, to UTF-8 bytes.

    Raises:
        InvalidData: a string contains a lone surrogate, which UTF-8 cannot encode.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError as error:
        raise _refused(
            path, f"text that is not Unicode ({error.reason})", "Decode it with errors='replace'"
        ) from error


def sorted_encode(value: Any) -> bytes:
    """Encode plain JSON values with sorted keys, so that equal values give equal bytes."""
    return _sorting_encoder.encode(value)


def decode(encoded: bytes | str) -> Any:
    """Decode JSON that `encode` wrote.

    Raises:
        msgspec.DecodeError: it is not JSON, or nests so deeply that reading it needs too much stack.
    """
    try:
        return _decoder.decode(encoded)
    except RecursionError:
        msg = "it nests too deeply"
        raise msgspec.DecodeError(msg) from None


def _refused(path: str, what: str, cure: str) -> InvalidData:
    return InvalidData(f"{path} holds {what}: event data is JSON.", hint=f"{cure}.")
