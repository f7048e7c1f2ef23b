"""The bodies of responses, as JSON."""

from __future__ import annotations

import json
from typing import Any

from kando.app.shapes import json_default

__all__ = ["encoded"]


def encoded(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; a lone surrogate is escaped."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=json_default)
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), default=json_default).encode()
