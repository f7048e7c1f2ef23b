"""GGUF files without a model: a header as llama.cpp writes it, and a few bytes of data."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

__all__ = ["METADATA", "gguf_bytes", "write_gguf"]

#: Metadata of a small model.
METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.context_length": 2048,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": [f"token {number}" for number in range(2000)],
    "tokenizer.ggml.scores": [0.5, 1.5],
    "tokenizer.chat_template": "{{ messages }}",
    "tokenizer.ggml.add_bos_token": False,
}


def write_gguf(path: Path, **more: Any) -> Path:
    """Write a GGUF file and return its path; `more` are entries of its metadata, with _ for a dot."""
    entries = {name.replace("__", "."): value for name, value in more.items()}
    path.write_bytes(gguf_bytes({**METADATA, **entries}))
    return path


def gguf_bytes(metadata: dict[str, Any], version: int = 3) -> bytes:
    """Return a GGUF file with one tensor; an entry whose value is None is left out."""
    entries = {name: value for name, value in metadata.items() if value is not None}
    header = b"GGUF" + struct.pack("<IQQ", version, 1, len(entries))
    for name, value in entries.items():
        kind, content = _value(value)
        header += _text(name) + struct.pack("<I", kind) + content
    tensor = _text("output.weight") + struct.pack("<IQIQ", 1, 16, 0, 32)
    return header + tensor + bytes(200)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _value(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _text(value)
    parts = [_value(each) for each in value]
    return 9, struct.pack("<IQ", parts[0][0], len(parts)) + b"".join(each for _, each in parts)
