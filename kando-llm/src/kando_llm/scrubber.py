"""Removes keys from everything that a server sends."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["Scrubber", "secrets_of"]

#: Names of variables that hold keys of providers.
_KEY_NAME = re.compile(
    r"(_API_KEY|_ENDPOINT_KEY|_AUTH_TOKEN|_ADMIN_KEY|_ACCESS_TOKEN|_SECRET_ACCESS_KEY|_SESSION_TOKEN"
    r"|_BEARER_TOKEN_BEDROCK)$"
)
# Shorter values are words such as "none", which local servers accept as keys.
_MIN_CHARS = 8


def secrets_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the keys among environment variables, by name."""
    return {
        name: value.strip()
        for name, value in environ.items()
        if _KEY_NAME.search(name) and len(value.strip()) >= _MIN_CHARS
    }


@attrs.frozen(repr=False, init=False)
class Scrubber:
    """Replaces keys in text and in JSON by their names.

    A key is found in plain text, URL-encoded, with JSON or HTML escapes, and in Base64.

    Args:
        secrets: keys by name.
    """

    _patterns: tuple[tuple[str, re.Pattern[str]], ...]

    def __init__(self, secrets: Mapping[str, str]) -> None:
        # The longest first: one key may begin with another.
        found = sorted(secrets.items(), key=lambda item: -len(item[1]))
        patterns = tuple((name, _pattern(s)) for name, s in found if len(s) >= _MIN_CHARS)
        self.__attrs_init__(patterns)

    def text(self, text: str) -> str:
        """Return a text without the keys."""
        for name, pattern in self._patterns:
            text = pattern.sub(f"[{name}]", text)
        return text

    def data(self, value: Any) -> Any:
        """Return JSON without the keys, in its values and in its names."""
        if isinstance(value, str):
            # JSON can hold a lone surrogate, which is not valid text.
            return self.text(value.encode("utf-8", "replace").decode())
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        if isinstance(value, dict):
            return {self.data(name): self.data(item) for name, item in value.items()}
        return value

    def finds(self, text: str) -> bool:
        """Whether a text contains a key."""
        return any(pattern.search(text) for _, pattern in self._patterns)


def _pattern(secret: str) -> re.Pattern[str]:
    plain = "".join(_character(each) for each in secret)
    return re.compile("|".join([plain, *map(re.escape, _in_base64(secret))]))


def _character(character: str) -> str:
    code = ord(character)
    percent = "".join(f"%{_any_case(f'{byte:02x}')}" for byte in character.encode())
    forms = [
        re.escape(character),
        percent,
        r"\\u" + _any_case(f"{code:04x}"),
        f"&#{code};",
        "&#x" + _any_case(f"{code:x}") + ";",
    ]
    return f"(?:{'|'.join(forms)})"


def _any_case(digits: str) -> str:
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)


def _in_base64(secret: str) -> list[str]:
    """Return the Base64 of a secret inside a longer text, at each of the three alignments."""
    found = []
    for before in range(3):
        padded = b"\0" * before + secret.encode()
        encoded = b64encode(padded).decode().rstrip("=")
        # The characters at either end also depend on the text around the secret.
        start = (0, 2, 3)[before]
        end = len(encoded) - (1 if len(padded) % 3 else 0)
        found += [encoded[start:end], encoded[start:end].replace("+", "-").replace("/", "_")]
    return found
