"""Images and files in messages: the parts that the content of a message may have, and their sizes.

The content of a message is a text, or a list of parts:

- ``{"type": "text", "text": ...}``
- ``{"type": "image", "media_type": ..., "data": ...}``: `data` is the image in base64.
- ``{"type": "file", "media_type": ..., "data": ..., "name": ...}``: the same for a PDF, or any other
  file; the name may be left out.

Instead of `data`, code may give a ``path``, which `kando.schema.attachments` reads. In a ledger every
part has its data. The data of a part is stored once, like any long text (see `kando.schema.parts`), and does not
count towards the limit of an event: each part has a limit of its own, `MAX_PART_BYTES`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

__all__ = [
    "MAX_PART_BYTES",
    "as_content",
    "has_media",
    "has_path",
    "in_words",
    "is_media",
    "media_in",
    "media_problem",
    "media_size",
    "media_tokens",
    "most_pages",
    "parts_in",
    "recorded_content",
    "shown",
    "shown_part",
    "text_of_content",
    "without_data",
]

#: How many bytes one image or file may have.
MAX_PART_BYTES = 20 * 1024 * 1024

_IMAGE, _FILE, _TEXT = "image", "file", "text"
_FIELDS = frozenset({"type", "media_type", "data", "name"})
_MAX_DATA = (MAX_PART_BYTES + 2) // 3 * 4

_NOT_SENT = "[The parts in brackets could not be sent to the model.]"

# No model counts more for an image of any size, but one that counts each 33 times.
_IMAGE_TOKENS, _DEAR_IMAGE_TOKENS = 10_000, 50_000
_PAGE_TOKENS = 4_000
# The most pages of a PDF that a server accepts.
_MAX_PAGES = 600
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")


def media_problem(part: Mapping[str, Any]) -> str | None:
    """Return what is wrong with an image or a file that has to have its data, or None."""
    media_type, data, name = part.get("media_type"), part.get("data"), part.get("name")
    if "path" in part:
        return "has a path, which is not read here"
    if not isinstance(media_type, str) or "/" not in media_type:
        return f"has media type {media_type!r:.60}"
    if not isinstance(data, str) or not data:
        return "has no data"
    if name is not None and not isinstance(name, str):
        return f"has name {name!r:.60}"
    if len(data) > _MAX_DATA:
        return f"has more than {MAX_PART_BYTES:,} bytes"
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        return f"has data that is not base64 ({error})"
    return None


def is_media(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a value is an image or a file with its data."""
    if not isinstance(value, Mapping) or value.get("type") not in (_IMAGE, _FILE):
        return False
    has_data = isinstance(value.get("data"), str) and isinstance(value.get("media_type"), str)
    return has_data and value.keys() <= _FIELDS


def parts_in(content: object) -> list[Mapping[str, Any]] | None:
    """Return content as parts, if it is a list of parts with at least one image or file; else None."""
    if not isinstance(content, list) or not any(map(is_media, content)):
        return None
    is_whole = all(is_media(each) or _is_text_part(each) for each in content)
    return content if is_whole else None


def recorded_content(content: object) -> list[dict[str, Any]] | None:
    """Return content of a recorded event as parts that can be sent, or None if it is not a list of parts.

    It may come from anywhere: text says which part cannot be sent, such as one with a path.
    """
    if not isinstance(content, list) or not content:
        return None
    return [*map(_recorded_part, content)]


def _recorded_part(part: object) -> dict[str, Any]:
    if _is_text_part(part):
        return {"type": _TEXT, "text": part["text"]}
    if not isinstance(part, Mapping) or part.get("type") not in (_IMAGE, _FILE):
        return {"type": _TEXT, "text": "[malformed part]"}
    problem = media_problem(part)
    if problem is None and is_media(part):
        return dict(part)
    return {"type": _TEXT, "text": f"[{part['type']}: it {problem or 'has unknown fields'}]"}


def in_words(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message in which words stand for its images and files."""
    if parts_in(message.get("content")) is None:
        return dict(message)
    return {**message, "content": f"{text_of_content(message['content'])}\n{_NOT_SENT}"}


def as_content(result: Any) -> Any:
    """Return the result of a tool as ``{"content": [parts]}``, if it is an image or a file.

    The same holds for a list of images, files and texts. Any other result is returned as it is.
    """
    parts = [*result] if isinstance(result, list | tuple) else [result]
    if not any(map(is_media, parts)):
        return result
    parts = [{"type": _TEXT, "text": each} if isinstance(each, str) else each for each in parts]
    return {"content": parts} if parts_in(parts) is not None else result


def _is_text_part(value: object) -> TypeGuard[Mapping[str, Any]]:
    return (
        isinstance(value, Mapping)
        and value.get("type") == _TEXT
        and isinstance(value.get("text"), str)
    )


def has_path(data: object) -> bool:
    """Whether the content of a message in JSON, at any depth, has an image or a file by its path."""
    if isinstance(data, dict):
        content = data.get("content")
        if isinstance(content, list) and any(map(_is_by_path, content)):
            return True
        return any(map(has_path, data.values()))
    return isinstance(data, list) and any(map(has_path, data))


def _is_by_path(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") in (_IMAGE, _FILE) and "path" in part


def media_in(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield the images and files in JSON, at any depth."""
    if isinstance(value, dict):
        if is_media(value):
            yield value
            return
        for each in value.values():
            if isinstance(each, dict | list):
                yield from media_in(each)
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, dict | list):
                yield from media_in(each)


def has_media(value: object) -> bool:
    """Whether JSON has an image or a file, at any depth."""
    return next(media_in(value), None) is not None


def media_size(value: object, *, once: bool = False) -> int:
    """Return how many bytes of JSON the limit of an event leaves out: those of images and files.

    One that is larger than `MAX_PART_BYTES` counts like any other value.

    Args:
        value: the JSON.
        once: whether equal data is stored once.
    """
    found = (data for part in media_in(value) if len(data := part["data"]) <= _MAX_DATA)
    return sum(map(len, {*found} if once else found))


def media_tokens(value: object, model: object = None) -> int:
    """Return the most tokens that the images and files in JSON may take as input of a model.

    An image takes what the largest one does. A PDF takes as much for each page, and its text; if its
    pages cannot be counted, no more than its bytes and no more than a server accepts. Any other file
    takes its bytes.

    Args:
        value: the JSON.
        model: its name, if it is known; some count an image several times.
    """
    is_dear = isinstance(model, str) and "gpt-4o-mini" in model
    per_image = _DEAR_IMAGE_TOKENS if is_dear else _IMAGE_TOKENS
    return sum(_tokens(part, per_image) for part in media_in(value))


def _tokens(part: Mapping[str, Any], per_image: int) -> int:
    size = len(part["data"]) * 3 // 4
    if part["media_type"] != "application/pdf":
        return per_image if part["type"] == _IMAGE else size
    per_page, pages = per_image + _PAGE_TOKENS, _pages_in(part)
    return pages * per_page if pages else min(size, _MAX_PAGES * per_page) + per_page


def _pages_in(pdf: Mapping[str, Any]) -> int:
    """Return the pages of a PDF that can be counted without unpacking it; 0 if none can."""
    try:
        return len(_PAGE.findall(binascii.a2b_base64(pdf["data"])))
    except ValueError:
        return 0


def most_pages(value: object) -> int:
    """Return the most pages that the PDFs in JSON may have."""
    pdfs = [each for each in media_in(value) if each["media_type"] == "application/pdf"]
    return sum(_pages_in(each) or _MAX_PAGES for each in pdfs)


def without_data(value: Any) -> Any:
    """Return JSON with the data of its images and files replaced by empty text."""
    if is_media(value):
        return {**value, "data": ""}
    if isinstance(value, dict):
        return {name: without_data(each) for name, each in value.items()}
    return [without_data(each) for each in value] if isinstance(value, list) else value


def shown(value: Any) -> Any:
    """Return JSON for people, with ``[image image/png 12,345 bytes]`` for each image or file."""
    if is_media(value):
        return shown_part(value)
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items()}
    return [shown(each) for each in value] if isinstance(value, list) else value


def shown_part(part: Mapping[str, Any]) -> str:
    """Return an image or a file as text for people: ``[image image/png 12,345 bytes]``."""
    data = part["data"]
    size = len(data) * 3 // 4 - data[-2:].count("=")
    name = f": {part['name']}" if part.get("name") else ""
    return f"[{part['type']} {part['media_type']} {size:,} bytes{name}]"


def text_of_content(content: object) -> str:
    """Return the content of a message as one text, with images and files as `shown_part` does."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = (shown_part(each) if is_media(each) else _text_in(each) for each in content)
    return "\n".join(filter(None, texts))


def _text_in(part: object) -> str:
    text = part.get("text") if isinstance(part, Mapping) else part
    return text if isinstance(text, str) else ""
