"""Keys come from the environment, or from a file that only its owner can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from kando_llm.errors import MissingKey

__all__ = ["read_key"]

_MAX_BYTES = 10_000


def read_key(name: str, environ: Mapping[str, str]) -> str | None:
    """Return a key, or None if there is none.

    Args:
        name: of the variable that holds it, such as ``OPENAI_API_KEY``; the variable named
            ``{name}_FILE`` may hold the path of a file with the key instead.
        environ: the variables.

    Raises:
        MissingKey: the file cannot be used, or what it or the variable holds is no key.
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
                msg = f"Key file {str(path)!r} ({name}_FILE) is open to others: its mode is {mode & 0o777:o}."
                raise MissingKey(msg, hint=f"Close it with: chmod 600 {path}")
            return file.read(_MAX_BYTES).decode().strip()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        msg = f"Key file {str(path)!r} ({name}_FILE) cannot be read: {reason}."
        raise MissingKey(msg, hint=f"Name a readable file, or set {name}.") from None
    except UnicodeDecodeError:
        return ""


def _checked(value: str, name: str) -> str:
    # It goes into an HTTP header; the message must not show it.
    if value and value.isascii() and value.isprintable() and " " not in value:
        return value
    msg = f"{name} holds no key: a key is one line of ASCII, without spaces."
    raise MissingKey(msg, hint="Copy it again from where you got it.")
