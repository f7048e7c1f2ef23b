"""Attachments: images and files that code gives as paths or bytes, made into parts of a message.

`kando.schema.content` describes the parts.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kando.errors import InvalidData, PayloadTooLarge
from kando.schema.content import MAX_PART_BYTES, has_path, media_problem
from kando.schema.parts import known_prefix

__all__ = ["attachment", "file", "image", "read_content", "with_read_content", "with_read_paths"]

_IMAGE, _FILE, _TEXT = "image", "file", "text"

# How the content of known kinds begins.
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
)
# Python's own table lacks some of these, depending on its version.
_BY_SUFFIX = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webp": "image/webp",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
# Kinds whose names are too short to be sure of, so that another name is accepted.
_UNSURE = ("image/bmp", "image/tiff")

_Source = str | os.PathLike[str] | bytes | bytearray | memoryview


def image(source: _Source, media_type: str | None = None, *, name: str | None = None) -> Any:
    """Return an image as a part of a message, or as a result of a tool.

    Args:
        source: path of the file, or its bytes. A file is read now.
        media_type: such as ``image/png``; recognised by the content and the suffix if omitted.
        name: shown to models that take one.

    Raises:
        InvalidData: the file cannot be read, or is not an image.
        PayloadTooLarge: it has more than `MAX_PART_BYTES`.
    """
    return _part(_IMAGE, source, media_type, name)


def file(source: _Source, media_type: str | None = None, *, name: str | None = None) -> Any:
    """Return a file, such as a PDF, as a part of a message, or as a result of a tool.

    Args:
        source: path of the file, or its bytes. A file is read now.
        media_type: such as ``application/pdf``; recognised by the content and the suffix if omitted.
        name: shown to the model; that of the file if omitted.

    Raises:
        InvalidData: the file cannot be read, or its media type is unknown.
        PayloadTooLarge: it has more than `MAX_PART_BYTES`.
    """
    if name is None and not isinstance(source, bytes | bytearray | memoryview):
        name = Path(source).name
    return _part(_FILE, source, media_type, name)


def attachment(path: str | os.PathLike[str]) -> Any:
    """Return a file as a part of a message: an image if it is one that models take, else a file.

    Raises:
        InvalidData: the file cannot be read, or its media type is unknown.
        PayloadTooLarge: it has more than `MAX_PART_BYTES`.
    """
    made = file(path)
    is_image = made["media_type"].startswith("image/") and made["media_type"] != "image/svg+xml"
    return {**made, "type": _IMAGE} if is_image else made


def _part(kind: str, source: _Source, media_type: str | None, name: str | None) -> dict[str, Any]:
    if isinstance(source, bytes | bytearray | memoryview):
        data, label, suffix = bytes(source), f"The {kind}", ""
    else:
        path = Path(source).expanduser()
        data, suffix = _read(kind, path), path.suffix.lower()
        label = f"The {kind} {str(path)!r:.200}"
    if not data:
        msg = f"{label} is empty."
        raise InvalidData(msg, hint="Give one with content.")
    _check_size(label, len(data))
    found = _media_type(kind, data, suffix, label, media_type)
    named = {"name": name} if name is not None else {}
    return {"type": kind, "media_type": found, "data": b64encode(data).decode(), **named}


def _read(kind: str, path: Path) -> bytes:
    label = f"The {kind} {str(path)!r:.200}"
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            msg = f"{label} {what}."
            raise InvalidData(
                msg, hint="Check the path; a relative one begins at the working directory."
            )
        with path.open("rb") as opened:
            return opened.read(MAX_PART_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        msg = f"{label} cannot be read: {reason}."
        raise InvalidData(msg, hint="Check the path and its permissions.") from error


def _check_size(label: str, size: int) -> None:
    if size > MAX_PART_BYTES:
        msg = f"{label} has more than {MAX_PART_BYTES:,} bytes."
        raise PayloadTooLarge(msg, hint="Make it smaller, or split it.")


def _media_type(kind: str, data: bytes, suffix: str, label: str, given: str | None) -> str:
    found = _by_content(data)
    is_sure = found is not None and found not in _UNSURE
    if given is not None:
        if is_sure and given != found:
            msg = f"{label} is {found} by its content, not {given}."
            raise InvalidData(msg, hint="Leave out the media type.")
        found = given
    elif not is_sure:
        found = _BY_SUFFIX.get(suffix) or _by_suffix(suffix) or found
    if found is None and kind == _FILE and _is_text(data):
        found = "text/plain"
    if found is None:
        msg = f"{label} has an unknown media type."
        raise InvalidData(msg, hint='Name it: media_type="application/pdf" for example.')
    if kind == _IMAGE and not found.startswith("image/"):
        msg = f"{label} is {found}, not an image."
        raise InvalidData(msg, hint="Send it as a file.")
    return found


def _by_content(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for begin, kind in _BEGINNINGS if data.startswith(begin)), None)


def _by_suffix(suffix: str) -> str | None:
    # Not needed by most processes, and costly to import.
    from mimetypes import MimeTypes

    found = MimeTypes().guess_type(f"x{suffix}")[0]
    # It only says that the type is unknown.
    return found if found != "application/octet-stream" else None


def _is_text(data: bytes) -> bool:
    try:
        return "\x00" not in data.decode()
    except UnicodeDecodeError:
        return False


def read_content(content: Any) -> Any:
    """Return the content of a message with its images and files checked, and their paths read.

    Only for content that the code of a kit or the person at the terminal gives: a path in content of
    another origin must not be read.

    Raises:
        InvalidData: an image or a file is malformed or cannot be read.
        PayloadTooLarge: it has more than `MAX_PART_BYTES`.
    """
    if not isinstance(content, list | tuple):
        return content
    return [_read_part(each) for each in content]


def with_read_content(messages: Any) -> Any:
    """Return messages with the images and files in their content as `read_content` returns them.

    Messages of texts are returned as they are.

    Raises:
        InvalidData: an image or a file is malformed or cannot be read.
        PayloadTooLarge: it has more than `MAX_PART_BYTES`.
    """
    if not isinstance(messages, list) or not any(map(_has_parts, _unrecorded(messages))):
        return messages
    return [
        {**each, "content": read_content(each["content"])} if _has_parts(each) else each
        for each in messages
    ]


def _unrecorded(messages: list[Any]) -> list[Any]:
    """Return messages without those at the beginning that are recorded, which are complete."""
    # Most requests of a conversation add a few messages to a long recorded list.
    recorded = known_prefix(messages)
    return messages if recorded is None else messages[recorded.count :]


def _has_parts(message: Any) -> bool:
    # A recorded message is of another class: what it names is not read.
    return type(message) is dict and isinstance(message.get("content"), list | tuple)


def with_read_paths(messages: Any) -> Any:
    """Return messages as `with_read_content` does, if one names a file by its path.

    Raises:
        InvalidData: an image or a file is malformed or cannot be read.
        PayloadTooLarge: it has more than `MAX_PART_BYTES`.
    """
    if not isinstance(messages, list):
        return messages
    new = [each for each in _unrecorded(messages) if _has_parts(each)]
    return with_read_content(messages) if new and has_path(new) else messages


def _read_part(part: Any) -> Any:
    if isinstance(part, str):
        return {"type": _TEXT, "text": part}
    if not isinstance(part, Mapping) or part.get("type") not in (_IMAGE, _FILE):
        return part
    kind = part["type"]
    given = {name: value for name, value in part.items() if value is not None}
    if "data" in given and "path" not in given:
        problem = media_problem(given)
        if problem is not None:
            raise InvalidData(f"The {kind} {problem}.", hint=_SHAPE.format(kind=kind))
        return part
    path = given.get("path")
    if unknown := sorted(set(given) - {"type", "path", "media_type", "name"}):
        msg = f"The {kind} has {', '.join(map(str, unknown))} next to a path."
        raise InvalidData(msg, hint="Give a path, or data.")
    if not isinstance(path, str | os.PathLike):
        msg = f"The {kind} has no data and no path."
        raise InvalidData(msg, hint=_SHAPE.format(kind=kind))
    read = image if kind == _IMAGE else file
    return read(path, given.get("media_type"), name=given.get("name"))


_SHAPE = 'Write it as {{"type": "{kind}", "media_type": "...", "data": "..."}}, the data in base64.'
