"""Text that is safe to record: without secrets, of bounded length, valid Unicode."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

__all__ = ["redact", "replace_surrogates"]

_MAX_CHARS = 4000
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_MIN_SECRET_CHARS = 6


def redact(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Return `text` without the values of secret environment variables, truncated to 4,000 characters.

    Args:
        text: the text of an error.
        environ: the environment; variables count as secret by their names. ``os.environ`` if
            omitted.
    """
    for name, value in (os.environ if environ is None else environ).items():
        if len(value) >= _MIN_SECRET_CHARS and _SECRET_NAME.search(name):
            text = text.replace(value, f"[{name}]")
    text = text.encode("utf-8", "replace").decode()
    if len(text) > _MAX_CHARS:
        half = _MAX_CHARS // 2
        text = f"{text[:half]}\n[...]\n{text[-half:]}"
    return text


def replace_surrogates(text: str) -> str:
    """Return `text` with U+FFFD for each lone surrogate, which UTF-8 cannot encode."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
