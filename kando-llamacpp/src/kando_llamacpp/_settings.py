"""Settings of the provider, from environment variables."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kando.errors import ConfigurationError

__all__ = ["CONTEXT", "LOG", "THREADS", "Settings", "read_settings"]

#: Variable with the most tokens of a prompt and its answer.
CONTEXT = "KANDO_LLAMACPP_CONTEXT"
#: Variable with the number of threads that compute an answer.
THREADS = "KANDO_LLAMACPP_THREADS"
#: Variable that has llama.cpp write its log to stderr.
LOG = "KANDO_LLAMACPP_LOG"

_MIN_CONTEXT = 256
_MAX_THREADS = 512


@attrs.frozen
class Settings:
    """Settings of the provider.

    Attributes:
        context: the most tokens of a prompt and its answer; None for the default.
        threads: that compute an answer; None for llama.cpp's default.
        logs: whether llama.cpp writes its log to stderr.
    """

    context: int | None = None
    threads: int | None = None
    logs: bool = False


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in environment variables.

    Raises:
        ConfigurationError: one of them is malformed; the message names it.
    """
    log = environ.get(LOG, "").strip().lower()
    if log not in ("", "0", "1"):
        msg = f"{LOG} must be 0 or 1, not {log!r:.60}."
        raise ConfigurationError(msg, hint=f"Unset {LOG} for 0.")
    context = _number(CONTEXT, environ, _MIN_CONTEXT)
    return Settings(context, _number(THREADS, environ, 1, _MAX_THREADS), log == "1")


def _number(
    name: str, environ: Mapping[str, str], least: int, most: int | None = None
) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else -1
    if value >= least and (most is None or value <= most):
        return value
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"
    msg = f"{name} must be a whole number {limits}, not {text!r:.60}."
    raise ConfigurationError(msg, hint=f"Unset {name} for the default.")
