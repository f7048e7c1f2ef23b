"""The LLM cache: responses by the hash of the normalised request."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Protocol

from kando.schema.events import ECHOED, OBSERVED
from kando.schema.exact_json import decode, encode, exact, sorted_encode

__all__ = ["CacheStore", "LLMCache", "ScopedLLMCache", "request_key"]

# Who asks, and what was measured, is no part of what is asked.
_NOT_ASKED = frozenset({*ECHOED, OBSERVED})


def request_key(request: dict[str, Any]) -> str:
    """Return the SHA-256 (hexadecimal) of a normalised request.

    Normalised means: without ``cause_object_id``, ``conversation`` and ``observed``, without options that are null,
    and with sorted keys, so that equal questions have equal keys.

    Raises:
        InvalidData: the request is not exact JSON.
    """
    asked = {k: v for k, v in request.items() if k not in _NOT_ASKED and v is not None}
    return sha256(sorted_encode(exact(asked, "request"))).hexdigest()


class CacheStore(Protocol):
    """Where a cache keeps its entries: encoded responses by key."""

    def get(self, key: str) -> bytes | None:
        """Return what is stored under `key`, or None."""

    def put(self, key: str, response: bytes) -> None:
        """Store a response; the first one stored under a key stays."""


class _MemoryStore:
    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self._entries.get(key)

    def put(self, key: str, response: bytes) -> None:
        self._entries.setdefault(key, response)


class LLMCache:
    """Responses of language models, served instead of a new call.

    Args:
        store: where the entries are kept; in this process's memory if omitted.
    """

    def __init__(self, store: CacheStore | None = None) -> None:
        self._store: CacheStore = _MemoryStore() if store is None else store

    def get(self, request: dict[str, Any]) -> Any | None:
        """Return the stored response to an equal request, or None.

        Args:
            request: the data of an ``llm.request``.
        """
        return self._get(request_key(request))

    def put(self, request: dict[str, Any], response: Any) -> None:
        """Store a response; the first one stored for equal requests stays.

        Args:
            request: the data of an ``llm.request``.
            response: any JSON value, usually the data of the ``llm.response``.

        Raises:
            InvalidData: the response is not exact JSON.
        """
        self._put(request_key(request), response)

    def scope(self, prefix: str) -> ScopedLLMCache:
        """Return a view of this cache whose entries are its own, such as those of one branch."""
        return ScopedLLMCache(self, prefix)

    def _get(self, key: str) -> Any | None:
        stored = self._store.get(key)
        return None if stored is None else decode(stored)

    def _put(self, key: str, response: Any) -> None:
        self._store.put(key, encode(exact(response, "response"), "response"))


class ScopedLLMCache(LLMCache):
    """The entries of another cache under one prefix.

    Args:
        cache: the cache that keeps the entries.
        prefix: names the scope; scopes with different prefixes share nothing.
    """

    def __init__(self, cache: LLMCache, prefix: str) -> None:
        super().__init__(cache._store)
        # Hashed, so that no prefix can run into a key or into another prefix.
        self._prefix = sha256(prefix.encode()).hexdigest()
        self._outer = cache

    def _get(self, key: str) -> Any | None:
        return self._outer._get(sha256((self._prefix + key).encode()).hexdigest())

    def _put(self, key: str, response: Any) -> None:
        self._outer._put(sha256((self._prefix + key).encode()).hexdigest(), response)
