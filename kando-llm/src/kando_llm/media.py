"""Images and files of a request: which a model takes, and how each API has them."""

from __future__ import annotations

import re
from typing import Any

import attrs

from kando_llm.endpoints import Server
from kando_llm.errors import UnsupportedContent
from kando_llm.request import Part, Request, Turn, shown_of, text_of

__all__ = ["PDF", "chat_part", "message_block", "responses_part", "with_media_taken"]

PDF = "application/pdf"
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_TEXTS = (
    "image/svg+xml",
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-ndjson",
)
# Models of these servers that take text only; others that do so refuse the request themselves.
_TEXT_ONLY = re.compile(
    r"(^|/)(gpt-3\.5|gpt-4(-0314|-0613|-32k)?$|o1-(mini|preview)|o3-mini|claude-(1|2|instant)"
    r"|deepseek-(chat|reasoner|coder|r1|v\d))"
)


def with_media_taken(request: Request, server: Server) -> tuple[Request, tuple[str, ...]]:
    """Return a request with the images and files that its model and its server take.

    A result of a tool says in words which part the model does not see: a tool cannot know the model.

    Args:
        request: to send.
        server: its kind.

    Returns:
        The request, and ``image`` and ``file`` if a result has lost one.

    Raises:
        UnsupportedContent: a message of the user has another part; the message names it.
    """
    if not request.media:
        return request, ()
    dropped: dict[str, None] = {}

    def taken(part: Part) -> Part:
        refusal = None if part.kind == "text" else _refusal(part, request.model, server)
        if refusal is None:
            return part
        dropped[part.kind] = None
        return Part("text", f"{shown_of(part)} This part is not sent: {refusal}.")

    turns = []
    for turn in request.turns:
        if turn.role == "tool" and turn.media:
            parts = tuple(map(taken, turn.parts))
            turn = attrs.evolve(turn, parts=parts, text=text_of(parts))
        else:
            _require(turn, request.model, server)
        turns.append(turn)
    return attrs.evolve(request, turns=tuple(turns)), tuple(dropped)


def _require(turn: Turn, model: str, server: Server) -> None:
    for part in turn.media:
        refusal = _refusal(part, model, server)
        if refusal is not None:
            msg = f"The request has {_named(part)}, and {refusal}."
            raise UnsupportedContent(
                msg, hint="Convert it, send its text, or choose another model."
            )


def _refusal(part: Part, model: str, server: Server) -> str | None:
    """Return why a part is not sent, or None if it is."""
    where, is_pdf = f"provider {server.provider!r}", part.media_type == PDF
    if is_text(part):
        return None if _is_utf8(part) else "it is not UTF-8"
    if is_pdf and not server.files:
        return f"{where} takes no PDFs"
    if not is_pdf and not server.images:
        return f"{where} takes no images"
    if not is_pdf and not _is_image(part):
        return f"{where} takes only PDFs, files of text, and images of type {', '.join(_IMAGES)}"
    # OpenRouter reads PDFs for such models.
    is_read = is_pdf and server.has_usage_option
    return (
        f"model {model!r:.100} takes only text"
        if _TEXT_ONLY.search(model) and not is_read
        else None
    )


def _named(part: Part) -> str:
    name = f" {part.name!r:.60}" if part.name else ""
    return f"the {part.kind}{name} of type {part.media_type}"


def is_text(part: Part) -> bool:
    """Whether a file is text, which is sent as such."""
    kind = part.media_type.partition(";")[0]
    return part.kind == "file" and (kind.startswith("text/") or kind in _TEXTS)


def _is_utf8(part: Part) -> bool:
    try:
        part.content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text_of(part: Part) -> str:
    """Return a file of text, with its name, for an API that has no such files."""
    name = part.name or "file"
    return f"--- {name} ---\n{part.content.decode()}\n--- end of {name} ---"


def _is_image(part: Part) -> bool:
    return part.media_type in _IMAGES


def message_block(part: Part) -> dict[str, Any] | None:
    """Return a part as Anthropic's Messages API has it; None for an empty text, which it refuses."""
    if part.kind == "text":
        return {"type": "text", "text": part.text} if part.text else None
    if _is_image(part):
        source = {"type": "base64", "media_type": part.media_type, "data": part.data}
        return {"type": "image", "source": source}
    if part.media_type == PDF:
        source = {"type": "base64", "media_type": PDF, "data": part.data}
    else:
        source = {"type": "text", "media_type": "text/plain", "data": part.content.decode()}
    return {"type": "document", "source": source, **({"title": part.name} if part.name else {})}


def chat_part(part: Part) -> dict[str, Any]:
    """Return a part as OpenAI's Chat Completions API has it."""
    if part.kind == "text":
        return {"type": "text", "text": part.text}
    if _is_image(part):
        return {"type": "image_url", "image_url": {"url": part.url}}
    if is_text(part):
        return {"type": "text", "text": _text_of(part)}
    return {"type": "file", "file": {"filename": _filename(part), "file_data": part.url}}


def responses_part(part: Part) -> dict[str, Any]:
    """Return a part as OpenAI's Responses API has it."""
    if part.kind == "text":
        return {"type": "input_text", "text": part.text}
    if _is_image(part):
        return {"type": "input_image", "image_url": part.url, "detail": "auto"}
    if is_text(part):
        return {"type": "input_text", "text": _text_of(part)}
    return {"type": "input_file", "filename": _filename(part), "file_data": part.url}


def _filename(part: Part) -> str:
    return part.name or "document.pdf"
