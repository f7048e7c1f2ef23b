"""The header of a GGUF file: whether the file is whole, and what its model needs.

llama.cpp only reports that it cannot load a file. Reading the header first gives the cause, and costs
nothing of the memory that the model needs. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from kando.errors import ProviderError

__all__ = ["ModelFile", "read_model_file"]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_HINT = "Name a GGUF file of a model: llamacpp:FILE.gguf."
_DOWNLOAD = "Download the file again; its size must be that of the original."

# Types of values: fixed sizes as in `struct`, a text, and an array.
_FIXED = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TEXT, _ARRAY = 8, 9
# Longer ones are vocabularies; nothing here needs their items.
_MAX_KEPT_ITEMS = 1024
_MAX_ITEMS = 10_000_000
_MAX_ENTRIES = 100_000
_KV_CACHE_BYTES = 2


@attrs.frozen
class ModelFile:
    """A GGUF file that holds a model.

    Attributes:
        path: of the file.
        size: in bytes.
        metadata: by key, without long arrays.
    """

    path: Path
    size: int
    metadata: Mapping[str, Any] = attrs.field(repr=False, hash=False)

    @property
    def architecture(self) -> str:
        """The name of the model's architecture, such as ``llama``."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def context(self) -> int | None:
        """The number of tokens that the model was trained for; None if the file does not say."""
        return self._number("context_length")

    @property
    def knows_tools(self) -> bool:
        """Whether the chat template of the model shows it which tools it may call."""
        return "tools" in str(self.metadata.get("tokenizer.chat_template", ""))

    def memory(self, context: int) -> int:
        """Return about how many bytes the model needs for a context of so many tokens."""
        layers = self._number("block_count") or 0
        heads = self._number("attention.head_count") or 1
        width = (self._number("embedding_length") or 0) // heads
        key = self._number("attention.key_length") or width
        value = self._number("attention.value_length") or width
        shared = self._number("attention.head_count_kv") or heads
        return self.size + context * layers * shared * (key + value) * _KV_CACHE_BYTES

    def _number(self, name: str) -> int | None:
        found = self.metadata.get(f"{self.architecture}.{name}")
        # Some models have another number for each layer.
        numbers = found if isinstance(found, list) else [found]
        known = [each for each in numbers if type(each) is int and each > 0]
        return max(known, default=None)


def read_model_file(path: Path) -> ModelFile:
    """Read the header of a GGUF file.

    Raises:
        ProviderError: the file does not exist, cannot be read, is not a GGUF file, is truncated, or
            holds no language model.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            model = _read(path, file, size)
    except FileNotFoundError:
        msg = f"Model {str(path)!r} does not exist."
        raise ProviderError(msg, hint=_HINT) from None
    except (OSError, ValueError) as error:
        # A path with a null character is a ValueError.
        msg = f"Model {str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}."
        raise ProviderError(msg, hint=_HINT) from None
    if not model.architecture or model.context is None:
        msg = f"GGUF file {str(path)!r} holds no language model."
        raise ProviderError(msg, hint=_HINT)
    return model


class _Truncated(ValueError):
    """The file ends inside its header."""


class _Malformed(ValueError):
    """The header contradicts the format."""


def _read(path: Path, file: BinaryIO, size: int) -> ModelFile:
    if file.read(4) != _MAGIC:
        msg = f"Model {str(path)!r} is not a GGUF file."
        raise ProviderError(msg, hint=_HINT)
    reader = _Reader(file, size)
    try:
        version = reader.fixed("<I")
        if version not in _VERSIONS:
            msg = f"Model {str(path)!r} has version {version} of GGUF, which is not known."
            raise ProviderError(msg, hint="Convert it to version 3 with llama.cpp's scripts.")
        tensors, entries = reader.count(_MAX_ENTRIES), reader.count(_MAX_ENTRIES)
        metadata = {reader.text(): reader.value(reader.fixed("<I")) for _ in range(entries)}
        last = max((_tensor_offset(reader) for _ in range(tensors)), default=0)
        if file.tell() + last >= size:
            raise _Truncated
    except _Truncated:
        msg = f"Model {str(path)!r} is truncated: its {size:,} bytes are not the whole file."
        raise ProviderError(msg, hint=_DOWNLOAD) from None
    except _Malformed as error:
        msg = f"Model {str(path)!r} is damaged: {error}."
        raise ProviderError(msg, hint=_DOWNLOAD) from None
    return ModelFile(path, size, metadata)


def _tensor_offset(reader: _Reader) -> int:
    reader.text()
    for _ in range(reader.fixed("<I") & 0xFF):
        reader.fixed("<Q")
    reader.fixed("<I")
    offset: int = reader.fixed("<Q")
    return offset


@attrs.frozen
class _Reader:
    """Reads values of a header, and never beyond the end of the file."""

    file: BinaryIO
    size: int

    def fixed(self, form: str) -> Any:
        """Return a value of a fixed size."""
        return struct.unpack(form, self.bytes(struct.calcsize(form)))[0]

    def bytes(self, length: int) -> bytes:
        """Return the next bytes."""
        if length > self.size:
            raise _Truncated
        found = self.file.read(length)
        if len(found) < length:
            raise _Truncated
        return found

    def text(self) -> str:
        """Return a text."""
        return self.bytes(self.fixed("<Q")).decode("utf-8", "replace")

    def count(self, limit: int) -> int:
        """Return a number of items."""
        count: int = self.fixed("<Q")
        if count > limit:
            msg = f"its header announces {count:,} items"
            raise _Malformed(msg)
        return count

    def value(self, kind: int) -> Any:
        """Return a value of a type; of a long array, only its length."""
        if kind == _TEXT:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        if kind in _FIXED:
            return self.fixed(_FIXED[kind])
        msg = f"its header has a value of the unknown type {kind}"
        raise _Malformed(msg)

    def _array(self) -> list[Any] | int:
        kind, count = self.fixed("<I"), self.count(_MAX_ITEMS)
        if kind == _ARRAY:
            msg = "its header nests arrays"
            raise _Malformed(msg)
        if count <= _MAX_KEPT_ITEMS:
            return [self.value(kind) for _ in range(count)]
        if kind in _FIXED:
            self.bytes(struct.calcsize(_FIXED[kind]) * count)
        else:
            for _ in range(count):
                self.value(kind)
        return count
