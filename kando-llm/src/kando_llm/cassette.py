"""Cassettes: answers of a live run in a file of JSON Lines, to be given again."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from kando.app.builtin import installed_plugins
from kando.app.providers import open_provider
from kando.cache.llm import request_key
from kando_llm.errors import ProviderError
from kando_llm.messages import first_line
from kando_llm.scrubber import Scrubber, secrets_of

__all__ = ["Cassette", "open_recorded"]

_Complete = Callable[[dict[str, Any]], dict[str, Any]]


def open_recorded(argument: str, environ: Mapping[str, str]) -> Cassette:
    """Return a provider that plays a cassette back, and records what is not on it.

    Args:
        argument: path of the cassette.
        environ: ``KANDO_RECORD`` names the provider that is asked what is not on the cassette;
            without it, such a request is an error.

    Raises:
        ProviderError: the cassette cannot be read or is malformed, or there is none to play.
    """
    if not argument:
        msg = "Provider 'recorded' needs a cassette, but was given none."
        raise ProviderError(msg, hint="Name its file: recorded:FILE.")
    path, live = Path(argument).expanduser(), environ.get("KANDO_RECORD", "").strip()
    if not live and not path.exists():
        msg = f"There is no cassette {str(path)!r}."
        raise ProviderError(msg, hint="Record one: set KANDO_RECORD to a provider, as for --llm.")
    answers = _read(path) if path.exists() else {}
    if live.partition(":")[0] == "recorded":
        msg = "KANDO_RECORD names the provider 'recorded' itself."
        raise ProviderError(msg, hint="Name the one to record from, such as anthropic.")
    complete = open_provider(live, installed_plugins(environ), environ) if live else None
    return Cassette(path, complete, Scrubber(secrets_of(os.environ) | secrets_of(environ)), answers)


@attrs.frozen
class Cassette:
    """A provider's `complete` that answers from a file.

    Attributes:
        path: of the file.
        live: is asked what is not in it; None if nobody is.
        scrubber: takes keys out of what is written.
        answers_every_model: it stands in for every model.
    """

    path: Path
    live: _Complete | None = attrs.field(repr=False)
    _scrubber: Scrubber = attrs.field(repr=False)
    _answers: dict[str, dict[str, Any]] = attrs.field(factory=dict, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False, init=False)
    answers_every_model: bool = attrs.field(default=True, init=False)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the recorded answer to an equal request, else record one.

        Raises:
            ProviderError: there is none, and nobody to ask.
        """
        key = request_key(request)
        known = self._answers.get(key)
        if known is not None:
            return dict(known)
        if self.live is None:
            msg = f"Cassette {str(self.path)!r} has no answer to {first_line(request)!r:.120}."
            raise ProviderError(msg, hint="Record it: set KANDO_RECORD to a provider.")
        answer: dict[str, Any] = self._scrubber.data(self.live(request))
        answer.pop("cause_object_id", None)
        line = {"key": key, "request": self._scrubber.data(request), "answer": answer}
        with self._lock:
            if key in self._answers:
                return dict(self._answers[key])
            self._write(json.dumps(line, ensure_ascii=False))
            self._answers[key] = answer
        return dict(answer)

    def worst_case_usd(self, request: dict[str, Any]) -> float | None:
        """Return what the recorded answer cost, or what recording one may cost, in US dollars."""
        known = self._answers.get(request_key(request))
        if known is not None:
            cost: float | None = known.get("cost_usd")
            return cost
        worst = getattr(self.live, "worst_case_usd", None)
        found: float | None = worst(request) if worst is not None else None
        return found if self.live is not None else 0.0

    def close(self) -> None:
        """Close the provider that is recorded."""
        close = getattr(self.live, "close", None)
        if close is not None:
            close()

    def _write(self, line: str) -> None:
        try:
            # For its owner only: a recorded conversation is nobody else's business.
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                content = file.read()
                # A line that a crash cut off is not continued, but replaced.
                file.seek(content.rfind(b"\n") + 1)
                file.truncate()
                file.write(line.encode("utf-8", "replace") + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            msg = f"Cassette {str(self.path)!r} cannot be written: {error.strerror}."
            raise ProviderError(
                msg, hint="Name a file in a folder that you may write to."
            ) from None


def _read(path: Path) -> dict[str, dict[str, Any]]:
    hint = "Each line is {key, request, answer}, as KANDO_RECORD writes it."
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"Cassette {str(path)!r} cannot be read: {error.strerror}."
        raise ProviderError(msg, hint="Name a readable file: recorded:FILE.") from None
    answers: dict[str, dict[str, Any]] = {}
    *lines, _cut_off = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            key, answer = entry["key"], entry["answer"]
            is_entry = isinstance(key, str) and isinstance(answer, dict)
        except (ValueError, KeyError, TypeError, RecursionError):
            is_entry = False
        if not is_entry:
            msg = f"Line {number} of cassette {str(path)!r} is malformed."
            raise ProviderError(msg, hint=hint)
        answers.setdefault(key, answer)
    return answers
