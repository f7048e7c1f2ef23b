"""Parts: long texts and growing lists of messages, which a store keeps once and events refer to.

``encoded`` of an event (what is stored and hashed) is plain JSON, or it has references: the byte
0x01, then JSON in which an object with the single key ``$kando`` stands for

- ``["text", digest, bytes]``: a text of `LONG` bytes or more. Its blob is its UTF-8.
- ``["messages", digest, bytes]``: a list of messages. Its blob is its last *node*: the digest of the
  node before it (32 zero bytes before the first), then the encoding of one message, which may have
  references in turn. So a list that grows costs what is new, and a list has the same digest however
  it grew.
- ``["json", digest, bytes]``: the tools or the schema that a request repeats, if they take as much. Its
  blob is their JSON.
- ``["object", value]``: an object of the author's own with that single key.

A digest is the SHA-256 of a blob, in hexadecimal. ``bytes`` is the size of the whole content.
"""

# long: splitting and resolving, which must agree, side by side.

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import attrs
import msgspec

from kando.errors import InvalidData, StoreDamaged
from kando.schema._chains import START, Chains, Hash, Message, Node, copied, known_prefix, read_only
from kando.schema._references import (
    LONG,
    MARK,
    MESSAGES,
    REFERENCE,
    REPEATED,
    has_references,
    message_reference,
    references_in,
    resolved,
    size_of,
    top_with_references,
    walk,
    whole_size,
)
from kando.schema.content import media_size
from kando.schema.exact_json import decode, encode, exact_and_encoded

__all__ = [
    "LONG",
    "MARK",
    "REFERENCE",
    "Blobs",
    "Chains",
    "Hash",
    "Message",
    "Node",
    "Parts",
    "Split",
    "blob_problem",
    "blobs_of",
    "copied",
    "has_references",
    "known_prefix",
    "references_in",
    "size_of",
    "split",
    "whole_encoded",
]

# Marks a digest as that of a node, among those of other blobs.
_NODE = b"node "

# Texts and messages kept in memory by their digest, in bytes.
_CACHE_BYTES = 64 * 1024 * 1024

#: Returns the bodies of those blobs that exist, by digest.
Blobs = Callable[[Sequence[bytes]], Mapping[bytes, bytes]]

#: ``line(digest, limit)`` returns up to `limit` nodes of a chain, the last first: digest and body.
Line = Callable[[bytes, int], Sequence[tuple[bytes, bytes]]]


@attrs.frozen
class Split:
    """The parts of an event that was recorded here.

    Attributes:
        texts: its long texts, by digest.
        nodes: the last nodes of its lists of messages.
        largest: bytes of the largest piece that the limit of an event holds for: one message, or the
            rest of the event, each with its long texts, but without images and files.
    """

    texts: dict[bytes, str]
    nodes: tuple[Node, ...]
    largest: int

    def missing(
        self,
        is_stored: Callable[[bytes], bool],
        is_whole: Callable[[bytes], bool] = lambda digest: False,
    ) -> dict[bytes, bytes]:
        """Return the blobs of the event that a store lacks, by digest: each after those it names.

        Args:
            is_stored: whether the store has a blob.
            is_whole: whether the store is known to have a node, and all that the node names: it was
                recorded there, or read from there. Without it, each chain is looked up to its start.
        """
        found: dict[bytes, bytes] = {}
        for node in self.unproven(is_whole):
            _add_texts(found, node.texts, is_stored)
            if node.digest not in found and not is_stored(node.digest):
                found[node.digest] = node.body
        _add_texts(found, self.texts, is_stored)
        return found

    def unproven(self, is_whole: Callable[[bytes], bool]) -> list[Node]:
        """Return the nodes of the event that a store is not known to have as a whole, in order.

        That a store has the blob of a node proves nothing: a file of a workspace, or a text, may have
        the same bytes, and what a node names is stored with the node only. Once the event is
        recorded, the store has these nodes as a whole.

        Args:
            is_whole: as for `missing`.
        """
        found: dict[bytes, Node] = {}
        for last in self.nodes:
            new: list[Node] = []
            node: Node | None = last
            while node is not None and node.digest not in found and not is_whole(node.digest):
                new.append(node)
                node = node.previous
            found |= {each.digest: each for each in reversed(new)}
        return [*found.values()]

    def resolve(self, encoded: bytes) -> dict[str, Any]:
        """Return the whole data of the event."""
        nodes = {node.digest: node for node in self.nodes}
        whole: dict[str, Any] = resolved(decode(encoded[1:]), self.texts, nodes)
        return whole


def _add_texts(
    found: dict[bytes, bytes], texts: Mapping[bytes, str], is_stored: Callable[[bytes], bool]
) -> None:
    for digest, text in texts.items():
        if digest not in found and not is_stored(digest):
            found[digest] = text.encode()


def split(data: Any, chains: Chains) -> tuple[Any, bytes, Split | None]:
    """Return data as `exact_and_encoded` does, its encoding with references, and its parts.

    Args:
        data: as the author of an event wrote it.
        chains: what was recorded before, which costs nothing again.

    Returns:
        The data as plain JSON values, in which recorded messages are read-only; what is stored of
        it; and its parts, or None without references.

    Raises:
        InvalidData: a value in it has no exact JSON form; the message names its path.
    """
    # Most events have no list, and most runs no list of messages.
    found = _grown(data, chains) if chains and _may_have_list(data) else None
    if found is None:
        whole, encoded = exact_and_encoded(data)
        if len(encoded) < LONG:
            return whole, encoded, None
        found = _lists_of(whole, chains)
        if found is None:
            # Without lists of messages.
            texts: dict[bytes, str] = {}
            stored = top_with_references(whole, texts)
            if not texts:
                return whole, encoded, None
            encoded_parts = MARK + encode(stored)
            limited = whole_size(encoded_parts, texts) - media_size(whole, once=True)
            return whole, encoded_parts, Split(texts, (), limited)
    rest, nodes = found
    texts, encoded = {}, encode(rest)
    if len(encoded) < LONG and _REFERENCE not in encoded:
        # No text in it is long, and no object looks like a reference.
        stored = {k: {**v} if type(v) is dict else v for k, v in rest.items()}
        rest_size = len(encoded)
    else:
        stored = top_with_references(rest, texts)
        rest_size = whole_size(encode(stored), texts)
        rest_size -= media_size(rest, once=True) if texts else 0
    for (outer, name), node in nodes.items():
        chains.remember(node)
        reference = message_reference(node)
        _put(rest, outer, name, node.messages())
        _put(stored, outer, name, reference)
    last = tuple(nodes.values())
    largest = max(rest_size, *(node.largest for node in last))
    return rest, MARK + encode(stored), Split(texts, last, largest)


_REFERENCE = REFERENCE.encode()


def _may_have_list(data: Any) -> bool:
    for value in data.values() if isinstance(data, dict) else ():
        kind = type(value)
        if kind is list or (kind is dict and list in map(type, value.values())):
            return True
    return False


#: Where a list of messages is in the data: in the object of this name (None for the data itself),
#: under this name.
_Place = tuple[str | None, str]


def _put(data: dict[str, Any], outer: str | None, name: str, value: Any) -> None:
    if outer is None:
        data[name] = value
    else:
        data[outer][name] = value


def _grown(data: Any, chains: Chains) -> tuple[dict[str, Any], dict[_Place, Node]] | None:
    """Return the rest of the data and its lists of messages, if one begins with a recorded list."""
    lists = [*_candidates(data)]
    starts = [chains.prefix(messages) for _, messages in lists]
    if not any(starts):
        return None
    rest = {**data}
    nodes: dict[_Place, Node] = {}
    for (place, messages), start in zip(lists, starts, strict=True):
        node = start
        try:
            for message in messages[0 if start is None else start.count :]:
                if not _is_message(message, place):
                    return None
                node = chains.extended(node, message)
        except InvalidData:
            # The whole is checked, for an error that names the path.
            return None
        if node is None or node.size < LONG:
            # A short list stays in the event.
            continue
        nodes[place] = node
        outer, name = place
        if outer is not None and rest[outer] is data[outer]:
            rest[outer] = {**data[outer]}
        _put(rest, outer, name, None)
    if not nodes:
        return None
    try:
        plain, _ = exact_and_encoded(rest)
    except InvalidData:
        return None
    return plain, nodes


def _lists_of(
    whole: dict[str, Any], chains: Chains
) -> tuple[dict[str, Any], dict[_Place, Node]] | None:
    """Return checked data without its long lists of messages, and these; None if it has none."""
    nodes: dict[_Place, Node] = {}
    for place, messages in _candidates(whole):
        node: Node | None = None
        if not all(_is_message(each, place) for each in messages):
            continue
        for message in messages:
            node = chains.extended(node, message)
        if node is not None and node.size >= LONG:
            nodes[place] = node
    for outer, name in nodes:
        _put(whole, outer, name, None)
    return (whole, nodes) if nodes else None


def _candidates(data: Any) -> Iterator[tuple[_Place, list[Any]]]:
    """Yield the lists that may be lists of messages: in the data, or in an object in it."""
    if not isinstance(data, dict):
        return
    for outer, value in data.items():
        kind = type(value)
        if kind is list:
            if value and _is_message(value[0], (None, outer)) and outer not in REPEATED:
                yield (None, outer), value
        elif kind is dict and outer not in REPEATED:
            for name, each in value.items():
                if type(each) is list and each and _is_message(each[0], (outer, name)):
                    yield (outer, name), each


def _is_message(value: Any, place: _Place) -> bool:
    if REFERENCE in place or not isinstance(value, dict):
        return False
    return place[1] == "messages" or "role" in value


class Parts:
    """The parts of the events of a store: fetched when they are needed, and shared in memory.

    It may be used from several threads.

    Args:
        blobs: returns blobs of the store.
        line: returns nodes of a chain; one after the other by `blobs` if None.
        max_bytes: that are kept in memory for the next event.
    """

    def __init__(
        self, blobs: Blobs, line: Line | None = None, max_bytes: int = _CACHE_BYTES
    ) -> None:
        self._blobs = blobs
        self._line = line or self._line_by_line
        self._lock = threading.RLock()
        self._cache: OrderedDict[bytes, str | Node] = OrderedDict()
        self._bytes = 0
        # How often everything was forgotten: what was read before is not kept afterwards.
        self._forgotten = 0
        self._max_bytes = max_bytes

    def resolve(self, encoded: bytes) -> dict[str, Any]:
        """Return the whole data of an event with references.

        Raises:
            StoreDamaged: a blob is missing or damaged, or a reference is malformed.
        """
        try:
            value = decode(encoded[1:])
            found = [*walk(value)]
            nodes = {digest: self._node(digest) for kind, digest, _ in found if kind == MESSAGES}
            texts = self._texts([digest for kind, digest, _ in found if kind != MESSAGES])
            whole = resolved(value, texts, nodes)
            if not isinstance(whole, dict):
                msg = "its data is not an object"
                raise ValueError(msg)
        except (ValueError, msgspec.DecodeError) as error:
            msg = f"An event cannot be read: {error}."
            raise StoreDamaged(msg, hint="Restore the store from a copy.") from error
        return whole

    def split(self, encoded: bytes) -> Split:
        """Return the parts of an event with references."""
        texts, lists = references_in(encoded)
        nodes = tuple(map(self._node, lists))
        known = self._texts(texts)
        return Split(known, nodes, whole_size(encoded, known))

    def has_read(self, digest: bytes) -> bool:
        """Whether a node was read from the store, and is still in memory: with all that it names."""
        return isinstance(self._cached(digest), Node)

    def forget(self) -> None:
        """Forget what is in memory: the store may have lost some of it."""
        with self._lock:
            self._cache.clear()
            self._bytes = 0
            self._forgotten += 1

    def _texts(self, digests: Sequence[bytes]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        forgotten = self._forgotten
        for digest in digests:
            known = self._cached(digest)
            if isinstance(known, str):
                found[digest] = known
        missing = [digest for digest in dict.fromkeys(digests) if digest not in found]
        bodies = self._blobs(missing) if missing else {}
        for digest in missing:
            text = _checked(digest, bodies.get(digest)).decode()
            found[digest] = text
            self._keep(digest, text, len(text), forgotten)
        return found

    def _node(self, digest: bytes) -> Node:
        known = self._cached(digest)
        if isinstance(known, Node):
            return known
        forgotten = self._forgotten
        bodies: list[tuple[bytes, bytes]] = []
        node: Node | None = None
        following, limit = digest, 8
        while following != START and node is None:
            page = self._line(following, limit)
            limit = min(limit * 8, 4096)
            if not page:
                _checked(following, None)
            for each, body in page:
                known = self._cached(each)
                if isinstance(known, Node):
                    node = known
                    break
                if each != following:
                    _checked(following, None)
                bodies.append((each, _checked(each, body)))
                following = body[:32]
        return self._built(node, bodies, forgotten)

    def _built(self, node: Node | None, bodies: list[tuple[bytes, bytes]], forgotten: int) -> Node:
        named = {each: references_in(body[32:])[0] for each, body in bodies}
        texts = self._texts([text for found in named.values() for text in found])
        for digest, body in reversed(bodies):
            encoded = body[32:]
            own = {each: texts[each] for each in named[digest]}
            value = decode(encoded[1:] if has_references(encoded) else encoded)
            content = resolved(value, own, {}) if has_references(encoded) else value
            if not isinstance(content, dict):
                msg = f"the message of blob {digest.hex()} is not an object"
                raise ValueError(msg)
            shared = {name: read_only(each) for name, each in content.items()}
            node = Node(node, encoded, shared, own)
            self._keep(digest, node, len(body), forgotten)
        assert node is not None
        return node

    def _line_by_line(self, digest: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        body = self._blobs([digest]).get(digest)
        return [] if body is None else [(digest, body)]

    def _cached(self, digest: bytes) -> str | Node | None:
        with self._lock:
            found = self._cache.get(digest)
            if found is not None:
                self._cache.move_to_end(digest)
            return found

    def _keep(self, digest: bytes, part: str | Node, size: int, forgotten: int) -> None:
        with self._lock:
            if digest in self._cache or forgotten != self._forgotten:
                return
            self._cache[digest] = part
            self._bytes += size
            while self._bytes > self._max_bytes and len(self._cache) > 1:
                _, dropped = self._cache.popitem(last=False)
                self._bytes -= len(dropped if isinstance(dropped, str) else dropped.body)


def _checked(digest: bytes, body: bytes | None) -> bytes:
    problem = blob_problem(digest, body)
    if problem is not None or body is None:
        msg = f"An event cannot be read: {problem}."
        raise StoreDamaged(msg, hint="Restore the store from a copy.")
    return body


def blob_problem(digest: bytes, body: bytes | None) -> str | None:
    """Return what is wrong with a stored blob, or None."""
    if body is None:
        return f"the blob {digest.hex()} is missing"
    if sha256(body).digest() != digest:
        return f"the blob {digest.hex()} does not match its digest"
    return None


def blobs_of(
    encoded: bytes, blobs: Blobs, seen: set[bytes]
) -> Iterator[tuple[bytes, bytes | None, bool]]:
    """Yield the blobs that an event needs, each after those that it names.

    Args:
        encoded: data of the event.
        blobs: returns stored blobs.
        seen: those to leave out; updated. It is meant for this function and `blobs_of_tree`.

    Yields:
        The digest, the body, which is None if it is missing, and whether it is a node of a chain.

    Raises:
        ValueError: a reference is malformed.
    """
    texts, lists = references_in(encoded)
    nodes: list[tuple[bytes, bytes | None]] = []
    for digest in lists:
        chain: list[tuple[bytes, bytes | None]] = []
        # A text or a file may have the bytes of a node; it does not name what the node names.
        while digest != START and (node := _NODE + digest) not in seen:
            seen.add(node)
            body = blobs([digest]).get(digest)
            chain.append((digest, body))
            if blob_problem(digest, body) is not None or body is None:
                break
            texts += references_in(body[32:])[0]
            digest = body[:32]
        nodes += reversed(chain)
    wanted = [digest for digest in dict.fromkeys(texts) if digest not in seen]
    seen.update(wanted)
    bodies = blobs(wanted) if wanted else {}
    for digest in wanted:
        yield digest, bodies.get(digest), False
    for digest, body in nodes:
        yield digest, body, True


def whole_encoded(data: dict[str, Any], encoded: bytes) -> bytes:
    """Return the encoding of an event without references.

    Args:
        data: of the event.
        encoded: of the event.
    """
    return encode(data) if has_references(encoded) else encoded
