"""The LLM cache: responses by the hash of the normalised request."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sized
from hashlib import sha256
from typing import Any, Protocol

import attrs

from kando.errors import ConfigurationError
from kando.schema.events import ECHOED, OBSERVED
from kando.schema.exact_json import decode, encode, exact, exact_and_encoded, sorted_encode
from kando.schema.parts import Hash, Node, known_prefix

__all__ = [
    "DEFAULT_MAX_ENTRIES",
    "CacheStore",
    "LLMCache",
    "ScopedLLMCache",
    "ScopedStore",
    "request_key",
]

#: How many entries a cache in memory keeps.
DEFAULT_MAX_ENTRIES = 2048

# The asking object and measurements are not part of the question.
_NOT_ASKED = frozenset({*ECHOED, OBSERVED})

_MESSAGES = "messages"

# How many keys a cache remembers. Each request is looked for several times until it is answered.
_MAX_KEYS = 64


def request_key(request: dict[str, Any]) -> str:
    """Return the SHA-256 (hexadecimal) of a normalised request.

    The hash covers the sorted JSON of the request. Its state after each recorded list of messages is
    kept with the list, so that the key of a longer list costs what is new.

    Normalised means: without ``cause_object_id``, ``conversation`` and ``observed``, without options that are null,
    and with sorted keys, so that equal questions have equal keys.

    Raises:
        InvalidData: the request is not exact JSON.
    """
    asked = {k: v for k, v in request.items() if k not in _NOT_ASKED and v is not None}
    messages = asked.get(_MESSAGES)
    node = known_prefix(messages) if isinstance(messages, list) else None
    if node is None or messages is None:
        return sha256(sorted_encode(exact(asked, "request"))).hexdigest()
    del asked[_MESSAGES]
    fields, _ = exact_and_encoded(asked, "request")
    before = sorted_encode({k: v for k, v in fields.items() if k < _MESSAGES})[1:-1]
    after = sorted_encode({k: v for k, v in fields.items() if k > _MESSAGES})[1:-1]
    start = b"{" + before + (b"," if before else b"") + b'"messages":['
    hashed = _hash_over(node, start).copy()
    for index, message in enumerate(messages[node.count :], node.count):
        hashed.update(b"," + sorted_encode(exact(message, f"request.{_MESSAGES}[{index}]")))
    hashed.update(b"]" + (b"," if after else b"") + after + b"}")
    return hashed.hexdigest()


def _hash_over(node: Node, start: bytes) -> Hash:
    """Return the state of the hash of a request after some recorded messages; costs what is new.

    Args:
        node: of the messages.
        start: of the encoded request, before them.
    """
    new: list[Node] = []
    found: Node | None = node
    while found is not None and start not in found.key_states:
        new.append(found)
        found = found.previous
    state = sha256(start) if found is None else found.key_states[start].copy()
    for each in reversed(new):
        state.update((b"," if each.previous is not None else b"") + sorted_encode(each.message))
    node.key_states[start] = state
    return state


class CacheStore(Protocol):
    """Where a cache keeps its entries: encoded responses by key.

    A store with a ``__len__`` gives its cache a length. One whose entries outlive the process has an
    attribute ``is_durable`` that is true: no answer that it was given is given to it again on resume.
    """

    def get(self, key: str) -> bytes | None:
        """Return what is stored under `key`, or None."""

    def put(self, key: str, response: bytes) -> None:
        """Store a response; the first one stored under a key stays."""


class _MemoryStore:
    """The most recently used entries, in this process's memory."""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        # Least recently used first.
        self._entries: dict[str, bytes] = {}
        self._scopes: dict[str, _MemoryStore] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            response = self._entries.pop(key, None)
            if response is not None:
                self._entries[key] = response
            return response

    def put(self, key: str, response: bytes) -> None:
        with self._lock:
            self._entries[key] = self._entries.pop(key, response)
            if len(self._entries) > self.max_entries:
                del self._entries[next(iter(self._entries))]

    def scope(self, prefix: str) -> _MemoryStore:
        with self._lock:
            return self._scopes.setdefault(prefix, _MemoryStore(self.max_entries))

    def __len__(self) -> int:
        return len(self._entries)


def _hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@attrs.frozen
class ScopedStore:
    """The entries of another store under one prefix; no other prefix shares them.

    Args:
        store: keeps the entries.
        prefix: names the scope.
    """

    _store: CacheStore
    # Hashed, so that no prefix can run into a key or into another prefix.
    _prefix: str = attrs.field(converter=_hashed)

    def get(self, key: str) -> bytes | None:
        """Return what is stored under `key`, or None."""
        return self._store.get(_hashed(self._prefix + key))

    def put(self, key: str, response: bytes) -> None:
        """Store a response; the first one stored under a key stays."""
        self._store.put(_hashed(self._prefix + key), response)

    @property
    def is_durable(self) -> bool:
        """Whether the entries outlive the process."""
        return getattr(self._store, "is_durable", False) is True


class LLMCache:
    """Responses of language models, served instead of a new call; its length is their number.

    Args:
        max_entries: how many entries are kept in memory; the least recently used are removed
            first. With 0 none is kept.
        store: keeps the entries instead, and limits them itself.

    Raises:
        ConfigurationError: `max_entries` is not a whole number of at least 0, or is given together
            with a store.
    """

    def __init__(
        self, max_entries: int = DEFAULT_MAX_ENTRIES, *, store: CacheStore | None = None
    ) -> None:
        if not isinstance(max_entries, int) or isinstance(max_entries, bool) or max_entries < 0:
            msg = f"max_entries must be a whole number of at least 0, not {max_entries!r}."
            raise ConfigurationError(msg, hint="Pass a store by name: LLMCache(store=...).")
        if store is not None and max_entries != DEFAULT_MAX_ENTRIES:
            msg = f"max_entries={max_entries} does not limit a store."
            raise ConfigurationError(msg, hint="Leave out max_entries; let the store limit itself.")
        self._store: CacheStore = _MemoryStore(max_entries) if store is None else store
        self._keys: dict[tuple[int, str], tuple[Mapping[str, Any], str]] = {}
        self._lock = threading.Lock()

    def get(self, request: dict[str, Any]) -> Any | None:
        """Return the stored response to an equal request, or None.

        Args:
            request: the data of an ``llm.request``.
        """
        return self.get_at(request_key(request))

    def get_at(self, key: str) -> Any | None:
        """Return the stored response to a request with a key, or None."""
        stored = self._stored(key)
        return None if stored is None else decode(stored)

    def put(self, request: dict[str, Any], response: Any) -> str:
        """Store a response; the first one stored for equal requests stays.

        Args:
            request: the data of an ``llm.request``.
            response: any JSON value, usually the data of the ``llm.response``.

        Returns:
            The key of the request, as `request_key` returns it.

        Raises:
            InvalidData: the response is not exact JSON.
        """
        key = request_key(request)
        self.put_at([key], response)
        return key

    def put_at(self, keys: Iterable[str], response: Any) -> None:
        """Store a response to the requests with some keys; the first one stored under each stays.

        Raises:
            InvalidData: the response is not exact JSON.
        """
        encoded = encode(exact(response, "response"), "response")
        for key in keys:
            self._store.put(key, encoded)

    def key_of(self, request: Mapping[str, Any], replaced: Mapping[str, Any]) -> str:
        """Return the key of a recorded request; that of one of the last requests is not computed again.

        Args:
            request: the data of an ``llm.request``, which never changes.
            replaced: fields that were sent instead of its own.
        """
        place = (id(request), repr(replaced) if replaced else "")
        known, key = self._keys.get(place, (None, ""))
        if known is not request:
            key = request_key({**request, **replaced})
            with self._lock:
                # The request is kept, too: no other one gets its id meanwhile.
                self._keys[place] = request, key
                if len(self._keys) > _MAX_KEYS:
                    del self._keys[next(iter(self._keys))]
        return key

    @property
    def is_durable(self) -> bool:
        """Whether its entries outlive the process."""
        return getattr(self._store, "is_durable", False) is True

    @property
    def max_entries(self) -> int | None:
        """How many entries it keeps in memory; None if its store limits itself."""
        return self._store.max_entries if isinstance(self._store, _MemoryStore) else None

    def scope(self, prefix: str) -> ScopedLLMCache:
        """Return a cache with its own entries, such as a branch's, that falls back to this one."""
        return ScopedLLMCache(self, prefix)

    def __len__(self) -> int:
        if isinstance(self._store, Sized):
            return len(self._store)
        msg = f"{type(self._store).__name__} does not count its entries."
        raise TypeError(msg)

    def __bool__(self) -> bool:
        # `cache or LLMCache()` must not replace a cache that has no entries yet.
        return True

    def _stored(self, key: str) -> bytes | None:
        return self._store.get(key)


class ScopedLLMCache(LLMCache):
    """A cache that reads its own entries, then its parent's, and writes and counts only its own.

    Args:
        parent: the cache that it falls back to.
        prefix: names the scope; scopes of one parent share entries if their prefixes are equal.
    """

    def __init__(self, parent: LLMCache, prefix: str) -> None:
        of_parent = parent._store
        if isinstance(of_parent, _MemoryStore):
            super().__init__(store=of_parent.scope(prefix))
        else:
            super().__init__(store=ScopedStore(of_parent, prefix))
        self._parent = parent

    def _stored(self, key: str) -> bytes | None:
        own = super()._stored(key)
        return self._parent._stored(key) if own is None else own
