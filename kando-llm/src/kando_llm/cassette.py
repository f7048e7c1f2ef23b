"""Cassettes: the answers of a live run, recorded in a JSON Lines file for playback."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from kando.cache.llm import request_key
from kando.providers import open_provider
from kando.settings import RECORD, value_of
from kando_llm.errors import ProviderError
from kando_llm.messages import excerpt
from kando_llm.scrubber import Scrubber, secrets_of

__all__ = ["Cassette", "open_recorded"]

_Complete = Callable[[dict[str, Any]], dict[str, Any]]


def open_recorded(argument: str, environ: Mapping[str, str]) -> Cassette:
    """Return a provider that plays back a cassette and records the answers it lacks.

    Args:
        argument: path of the cassette.
        environ: ``KANDO_RECORD`` names the provider to record missing answers from; without it,
            a request that has no recorded answer is an error.

    Raises:
        ProviderError: the cassette cannot be read or is malformed, or it does not exist and
            nothing is to be recorded.
    """
    if not argument:
        msg = "Provider 'recorded' needs a cassette file."
        raise ProviderError(msg, hint="Name the file: recorded:FILE.")
    path, live = Path(argument).expanduser(), value_of(RECORD, environ)
    if not live and not path.exists():
        msg = f"Cassette {str(path)!r} does not exist."
        raise ProviderError(msg, hint="To record it, set KANDO_RECORD to a provider.")
    answers = _read(path) if path.exists() else {}
    if live and live.partition(":")[0] == "recorded":
        msg = "KANDO_RECORD names the provider 'recorded' itself."
        raise ProviderError(msg, hint="Name the provider to record from, such as anthropic.")
    complete = open_provider(live, environ) if live else None
    return Cassette(path, complete, Scrubber(secrets_of(os.environ) | secrets_of(environ)), answers)


@attrs.frozen
class Cassette:
    """A provider's `complete` that plays back recorded answers from a file.

    Attributes:
        path: of the cassette.
        live: provider that missing answers are recorded from; None for playback only.
        scrubber: removes keys from what is written.
        answers_every_model: requests for every model are answered here.
    """

    path: Path
    live: _Complete | None = attrs.field(repr=False)
    _scrubber: Scrubber = attrs.field(repr=False)
    _answers: dict[str, dict[str, Any]] = attrs.field(factory=dict, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False, init=False)
    answers_every_model: bool = attrs.field(default=True, init=False)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the recorded answer to an equal request, or record one.

        Raises:
            ProviderError: no answer is recorded, and `live` is None.
        """
        key = request_key(request)
        known = self._answers.get(key)
        if known is not None:
            return dict(known)
        if self.live is None:
            msg = f"Cassette {str(self.path)!r} has no answer to {excerpt(request)!r}."
            raise ProviderError(msg, hint="To record one, set KANDO_RECORD to a provider.")
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
        """Return the cost of the recorded answer, or the most that recording one can cost, in USD."""
        known = self._answers.get(request_key(request))
        if known is not None:
            cost: float | None = known.get("cost_usd")
            return cost
        worst = getattr(self.live, "worst_case_usd", None)
        found: float | None = worst(request) if worst is not None else None
        return found if self.live is not None else 0.0

    def close(self) -> None:
        """Close the provider that answers are recorded from."""
        close = getattr(self.live, "close", None)
        if close is not None:
            close()

    def _write(self, line: str) -> None:
        try:
            # Readable by its owner only: a recorded conversation is private.
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                content = file.read()
                # Replace a last line that a crash truncated.
                file.seek(content.rfind(b"\n") + 1)
                file.truncate()
                file.write(line.encode("utf-8", "replace") + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            msg = f"Cassette {str(self.path)!r} cannot be written: {error.strerror}."
            raise ProviderError(
                msg, hint="Name a file in a folder that you can write to."
            ) from None


def _read(path: Path) -> dict[str, dict[str, Any]]:
    hint = "Each line is {key, request, answer}, as KANDO_RECORD writes it."
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"Cassette {str(path)!r} cannot be read: {error.strerror}."
        raise ProviderError(msg, hint="Name a readable file: recorded:FILE.") from None
    answers: dict[str, dict[str, Any]] = {}
    *lines, _truncated = content.split(b"\n")
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
