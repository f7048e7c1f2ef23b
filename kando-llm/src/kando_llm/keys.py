"""Reads keys from the environment, or from files that only their owner can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from kando_llm.errors import MissingKey

__all__ = ["read_key"]

_MAX_BYTES = 10_000


def read_key(name: str, environ: Mapping[str, str]) -> str | None:
    """Return a key, or None if none is set.

    Args:
        name: of the variable that holds the key, such as ``OPENAI_API_KEY``; the variable
            ``{name}_FILE`` may hold the path of a key file instead.
        environ: the environment variables.

    Raises:
        MissingKey: the file is unreadable or open to other users, or the key is malformed.
    """
    value = environ.get(name, "").strip()
    if value:
        return _checked(value, name)
    path = environ.get(f"{name}_FILE", "").strip()
    return _checked(_content(name, Path(path).expanduser()), f"{name}_FILE") if path else None


def _content(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                msg = f"Key file {str(path)!r} ({name}_FILE) is open to other users: its mode is {mode & 0o777:o}."
                raise MissingKey(msg, hint=f"Restrict it: chmod 600 {path}")
            return file.read(_MAX_BYTES).decode().strip()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        msg = f"Key file {str(path)!r} ({name}_FILE) cannot be read: {reason}."
        raise MissingKey(msg, hint=f"Name a readable file, or set {name}.") from None
    except UnicodeDecodeError:
        return ""


def _checked(value: str, name: str) -> str:
    # The key goes into an HTTP header; the message must not show it.
    if value and value.isascii() and value.isprintable() and " " not in value:
        return value
    msg = f"{name} does not hold a key: a key is one line of ASCII without spaces."
    raise MissingKey(msg, hint="Copy the key from the provider again.")
