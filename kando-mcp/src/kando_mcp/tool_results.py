"""The results of MCP tools as JSON: text, structured content, and parts such as images."""

from __future__ import annotations

import json
from typing import Any

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

__all__ = ["error_text", "result_of"]

# Of an error, the model needs no more.
_MAX_ERROR_CHARS = 4_000

_UNKNOWN_TYPE = "application/octet-stream"


def result_of(result: CallToolResult) -> Any:
    """Return the result of a tool as the ledger keeps it.

    A text if it has only texts; its structured content if it has nothing else, apart from a text with
    the same JSON; else ``{"content": [parts]}``, with ``structured`` if it has structured content.

    Args:
        result: without an error.
    """
    parts = [_part(each) for each in result.content]
    texts = [each["text"] for each in parts if each["type"] == "text"]
    structured = result.structured_content
    if structured is None and len(texts) == len(parts):
        return "\n".join(texts)
    if structured is None:
        return {"content": parts}
    if len(texts) == len(parts) and all(_says(text, structured) for text in texts):
        return structured
    return {"content": parts, "structured": structured}


def error_text(result: CallToolResult) -> str:
    """Return the message of a result that is an error."""
    parts = [_part(each) for each in result.content]
    text = "\n".join(each["text"] for each in parts if each["type"] == "text")
    if not text and result.structured_content is not None:
        text = json.dumps(result.structured_content, ensure_ascii=False)
    if len(text) > _MAX_ERROR_CHARS:
        text = f"{text[:_MAX_ERROR_CHARS]}\n[{_MAX_ERROR_CHARS:,} of {len(text):,} characters]"
    return text or "The tool failed without a message."


def _part(block: ContentBlock) -> dict[str, Any]:
    if isinstance(block, TextContent):
        return {"type": "text", "text": block.text}
    if isinstance(block, ImageContent):
        return {"type": "image", "media_type": block.mime_type, "data": block.data}
    if isinstance(block, AudioContent):
        return {"type": "file", "media_type": block.mime_type, "data": block.data}
    if isinstance(block, EmbeddedResource):
        return _resource(block.resource)
    if isinstance(block, ResourceLink):
        about = [block.name, block.uri, block.mime_type or "", block.description or ""]
        return {"type": "text", "text": f"[resource: {' '.join(each for each in about if each)}]"}
    return {"type": "text", "text": f"[{block.type}]"}


def _resource(resource: TextResourceContents | BlobResourceContents) -> dict[str, Any]:
    if isinstance(resource, TextResourceContents):
        return {"type": "text", "text": f"[resource: {resource.uri}]\n{resource.text}"}
    kind = resource.mime_type or _UNKNOWN_TYPE
    is_image = kind.startswith("image/")
    return {"type": "image" if is_image else "file", "media_type": kind, "data": resource.blob}


def _says(text: str, structured: Any) -> bool:
    """Whether a text is the JSON of structured content, which servers send to older clients."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return isinstance(structured, dict) and structured == {"result": text}
    return bool(found == structured or structured == {"result": found})
