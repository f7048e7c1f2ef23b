"""The engine: llama.cpp with one model, loaded on first use and shared by all threads."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from kando.errors import ProviderError
from kando_llamacpp._gguf import ModelFile
from kando_llamacpp._settings import CONTEXT, LOG, Settings

__all__ = ["DEFAULT_CONTEXT", "Engine", "require_llamacpp"]

#: The most tokens of a prompt and its answer, unless the model was trained for fewer.
DEFAULT_CONTEXT = 8192

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_MEMINFO = Path("/proc/meminfo")
# Levels of llama.cpp's log: none, and information.
_SILENT, _INFO = -1, 3
# For llguidance, which most builds of llama.cpp have; others ignore it, and have a rule for space.
_ON_ONE_LINE = {
    "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
}
_SPACE = re.compile(r"^space ::= .*$", re.MULTILINE)
_HINT_INSTALL = "Install it: pip install 'kando-llamacpp[xllamacpp]'."


def require_llamacpp() -> None:
    """Check that llama.cpp is installed, without importing it.

    Raises:
        ProviderError: it is not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        msg = "Provider 'llamacpp' needs llama.cpp, and the package xllamacpp is not installed."
        raise ProviderError(msg, hint=_HINT_INSTALL)


@attrs.define
class Engine:
    """A model that is loaded on first use.

    Attributes:
        model: its file.
        settings: of the provider.
    """

    model: ModelFile
    settings: Settings
    _server: Any = attrs.field(default=None, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    @property
    def context(self) -> int:
        """The most tokens of a prompt and its answer."""
        trained = self.model.context or DEFAULT_CONTEXT
        return min(trained, self.settings.context or DEFAULT_CONTEXT)

    def chat(self, body: dict[str, Any], on_chunk: Callable[[Any], bool]) -> None:
        """Compute an answer in the form of Chat Completions, as a stream.

        Args:
            body: of the request.
            on_chunk: receives each part of the answer, or an object with an ``error``; it returns
                whether the rest is not needed.

        Raises:
            ProviderError: the model cannot be loaded.
            ValueError: the request has a JSON Schema that llama.cpp cannot enforce.
        """
        self._loaded().handle_chat_completions(body, on_chunk)

    def grammar_of(self, schema: Mapping[str, Any]) -> str | None:
        """Return a grammar of the JSON on one line that matches a schema.

        Returns:
            The grammar; None if this version of llama.cpp makes none for the schema.
        """
        import xllamacpp

        made = getattr(xllamacpp, "json_schema_to_grammar", None)
        if made is None:
            return None
        try:
            grammar = str(made({**schema, **_ON_ONE_LINE}))
        except Exception:
            return None
        return _SPACE.sub('space ::= " "?', grammar)

    def close(self) -> None:
        """Release the memory of the model; another call loads it again."""
        with self._lock:
            self._server = None

    def _loaded(self) -> Any:
        with self._lock:
            if self._server is None:
                self._server = self._load()
            return self._server

    def _load(self) -> Any:
        require_llamacpp()
        import xllamacpp

        spare = self._spare_memory(xllamacpp.get_device_info())
        params = xllamacpp.CommonParams()
        params.model.path = str(self.model.path)
        params.n_ctx = self.context
        # Requests wait for each other: several at once would share the context.
        params.n_parallel = 1
        # Earlier prompts, kept for requests that begin like them. The library keeps 8 GiB by default.
        kept = self.model.memory(self.context) - self.model.size
        params.cache_ram_mib = max(min(kept, spare), 0) >> 20
        params.warmup = False
        params.use_jinja = True
        params.verbosity = _INFO if self.settings.logs else _SILENT
        # The library also listens on loopback. A key that nothing else knows keeps others out.
        params.hostnames = ["127.0.0.1"]
        params.api_keys = [secrets.token_urlsafe(32)]
        params.ui = False
        params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
        if self.settings.threads is not None:
            params.cpuparams.n_threads = self.settings.threads
            params.cpuparams_batch.n_threads = self.settings.threads
        try:
            return xllamacpp.Server(params)
        except Exception as error:
            reason = str(error) or type(error).__name__
        name = self.model.path.name
        msg = f"llama.cpp cannot load the model {name!r} ({self.model.architecture}): {reason}"
        hint = f"Set {LOG}=1 to see its log. A newer xllamacpp knows more kinds of models."
        raise ProviderError(msg, hint=hint)

    def _spare_memory(self, devices: list[dict[str, Any]]) -> int:
        """Return how many bytes of memory the model leaves; 0 if that is unknown.

        Raises:
            ProviderError: it does not fit: on a system that runs out of memory, the process is killed.
        """
        available, needed = available_memory(), self.model.memory(self.context)
        if available is None:
            return 0
        # A GPU takes as much of the model as it can hold.
        available += sum(each["memory_free"] for each in devices if each["name"] != "CPU")
        spare: int = available - needed
        if spare >= 0:
            return spare
        msg = (
            f"Model {self.model.path.name!r} needs about {needed / 1e9:,.1f} GB of memory for a "
            f"context of {self.context:,} tokens, and {available / 1e9:,.1f} GB are available."
        )
        raise ProviderError(msg, hint=f"Set {CONTEXT} to fewer tokens, or use a smaller model.")


def available_memory() -> int | None:
    """Return how many bytes of memory this process can still use; None if it is unknown."""
    found = [each for each in (_of_the_machine(), _of_the_container()) if each is not None]
    return min(found, default=None)


def _of_the_machine() -> int | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_the_container() -> int | None:
    try:
        # The memory in use is not subtracted: it includes files that can be dropped.
        return int(_CGROUP_LIMIT.read_text())
    except (OSError, ValueError):
        return None
