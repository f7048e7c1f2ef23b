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

# long: splitting, resolving, and the read-only values that they share, side by side.

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from operator import is_
from typing import Any, NoReturn, Protocol

import attrs
import msgspec

from kando.errors import InvalidData, StoreDamaged
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

#: A text, or a list of messages, of this many bytes or more is stored as a part.
LONG = 1024

#: The single key of a reference.
REFERENCE = "$kando"

#: Begins an encoding with references.
MARK = b"\x01"
_TEXT, _JSON, _MESSAGES, _OBJECT = "text", "json", "messages", "object"

# Fields of an event that are equal in every request of a conversation.
_REPEATED = ("tools", "output_schema")
_START = bytes(32)

# Texts and messages kept in memory by their digest, in bytes.
_CACHE_BYTES = 64 * 1024 * 1024

# Lists whose equal, but not identical, beginning is recognised.
_RECENT = 32


class Hash(Protocol):
    """The state of a SHA-256."""

    def update(self, data: bytes, /) -> None:
        """Continue with more bytes."""

    def copy(self) -> Hash:
        """Return an independent copy."""

    def hexdigest(self) -> str:
        """Return the hash so far."""


#: Returns the bodies of those blobs that exist, by digest.
Blobs = Callable[[Sequence[bytes]], Mapping[bytes, bytes]]

#: ``line(digest, limit)`` returns up to `limit` nodes of a chain, the last first: digest and body.
Line = Callable[[bytes, int], Sequence[tuple[bytes, bytes]]]


def has_references(encoded: bytes) -> bool:
    """Whether the encoded data of an event has references."""
    return encoded[:1] == MARK


# Values that events share are read-only.


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    msg = "A recorded message cannot be changed: other events share it. Change a copy: {**message}."
    raise TypeError(msg)


class ReadOnlyDict(dict[str, Any]):
    """A dict that several events share. Copies of it are plain: ``{**m}``, ``m | {}``, ``m.copy()``."""

    __slots__ = ()
    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = _refuse

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        return {**self} | other

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, ({**self},)


class ReadOnlyList(list[Any]):
    """A list that several events share. Copies of it are plain: ``[*l]``, ``l + []``, ``l.copy()``."""

    __slots__ = ()
    __setitem__ = __delitem__ = append = clear = extend = insert = pop = _refuse
    remove = reverse = sort = __imul__ = _refuse

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return [*self, *other]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, ([*self],)


class Message(ReadOnlyDict):
    """A message of a recorded list, with its node in the chain."""

    __slots__ = ("node",)

    node: Node


def _read_only(value: Any) -> Any:
    if isinstance(value, dict):
        return ReadOnlyDict({name: _read_only(each) for name, each in value.items()})
    return ReadOnlyList(map(_read_only, value)) if isinstance(value, list) else value


def copied(data: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of plain JSON data that shares only what cannot be changed."""
    copy: dict[str, Any] = _copied(data)
    return copy


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if kind is list else value


# Chains of messages.


class Node:
    """A message in a chain: the list of messages up to and including it.

    Attributes:
        digest: SHA-256 of `body`.
        previous: the node before it; None for the first message.
        body: what is stored.
        message: whole.
        texts: the long texts of the message, by digest.
        count: number of messages up to this one.
        size: bytes that they take as a whole.
        largest: bytes of the largest of them.
        key_states: states of hashes over these messages, by what comes before them.
    """

    __slots__ = (
        "_line",
        "body",
        "count",
        "digest",
        "key_states",
        "largest",
        "message",
        "previous",
        "size",
        "texts",
    )

    digest: bytes

    def __init__(
        self,
        previous: Node | None,
        encoded: bytes,
        content: Mapping[str, Any],
        texts: dict[bytes, str],
    ) -> None:
        self.previous = previous
        self.body = (_START if previous is None else previous.digest) + encoded
        self.digest = sha256(self.body).digest()
        self.texts = texts
        self.message = message = Message(content)
        message.node = self
        own = len(encoded) + sum(map(_bytes_of, texts.values()))
        self.key_states: dict[bytes, Hash] = {}
        if previous is None:
            self.count, self.size, self.largest = 1, own, own
            self._line = [message]
            return
        self.count = previous.count + 1
        self.size = previous.size + own
        self.largest = max(previous.largest, own)
        # The nodes of a chain share one list, of which each uses its beginning.
        line = previous._line
        if len(line) == previous.count:
            line.append(message)
        if line[previous.count] is not message:
            # Another list continues the same beginning.
            line = [*line[: previous.count], message]
        self._line = line

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages up to this one, as a new list."""
        return [*self._line[: self.count]]

    def is_of(self, messages: Sequence[Any]) -> bool:
        """Whether these messages begin with this node's, as the same objects."""
        return len(messages) >= self.count and all(map(is_, messages, self._line[: self.count]))


def known_prefix(messages: Sequence[Any]) -> Node | None:
    """Return the node of the longest beginning of a list that consists of recorded messages."""
    count = len(messages)
    while count and not isinstance(messages[count - 1], Message):
        count -= 1
    if count:
        node: Node = messages[count - 1].node
        if node.count == count and node.is_of(messages):
            return node
    return None


class Chains:
    """The lists of messages that were recorded last, for recording longer ones.

    A list that begins with one of them costs what follows: only that is checked, encoded and hashed.
    """

    def __init__(self) -> None:
        self._tails: deque[Node] = deque(maxlen=_RECENT)
        self._nodes: OrderedDict[bytes, Node] = OrderedDict()

    def prefix(self, messages: Sequence[Any]) -> Node | None:
        """Return the node of a beginning of the list that was recorded, or None."""
        node = known_prefix(messages)
        if node is None and messages:
            for tail in reversed(self._tails):
                if tail.count <= len(messages) and _begins_with(messages, tail):
                    return tail
        return node

    def extended(self, node: Node | None, message: dict[str, Any]) -> Node:
        """Return the node of a message, a JSON object, after another node.

        Raises:
            InvalidData: the message is not exact JSON.
        """
        if isinstance(message, Message):
            old = message.node
            if old.previous is node:
                return old
            return self._shared(Node(node, old.body[32:], message, old.texts))
        plain, encoded = exact_and_encoded(message)
        texts: dict[bytes, str] = {}
        if len(encoded) >= LONG:
            stored = _with_references(plain, texts)
            encoded = MARK + encode(stored) if texts else encoded
        content = {name: _read_only(each) for name, each in plain.items()}
        return self._shared(Node(node, encoded, content, texts))

    def remember(self, node: Node) -> None:
        """Remember a list that was recorded, in place of the one that it continues."""
        if node in self._tails:
            self._tails.remove(node)
        for tail in self._tails:
            if node._line is tail._line and tail.count < node.count:
                self._tails.remove(tail)
                break
        self._tails.append(node)

    def _shared(self, node: Node) -> Node:
        known = self._nodes.setdefault(node.digest, node)
        if known.previous is not node.previous:
            self._nodes[node.digest] = known = node
        if len(self._nodes) > _RECENT * 8:
            self._nodes.popitem(last=False)
        return known


def _begins_with(messages: Sequence[Any], tail: Node) -> bool:
    # The last message is the most likely one to differ.
    if not _is_same(messages[tail.count - 1], tail.message):
        return False
    return all(map(_is_same, messages, tail._line[: tail.count]))


def _is_same(value: Any, known: Any) -> bool:
    """Whether a value has the same encoding as a recorded one."""
    if value is known:
        return True
    if isinstance(known, dict):
        if not isinstance(value, dict) or [*value] != [*known]:
            return False
        return all(map(_is_same, value.values(), known.values()))
    if isinstance(known, list):
        is_list = isinstance(value, list) and len(value) == len(known)
        return is_list and all(map(_is_same, value, known))
    if type(value) is not type(known):
        return False
    # 0.0 and -0.0 are equal, but not the same.
    return bool(value == known) and (type(value) is not float or repr(value) == repr(known))


# From data to what is stored.


@attrs.frozen
class Split:
    """The parts of an event that was recorded here.

    Attributes:
        texts: its long texts, by digest.
        nodes: the last nodes of its lists of messages.
        largest: bytes of the largest piece that the limit of an event holds for: one message, or the
            rest of the event, each with its long texts.
    """

    texts: dict[bytes, str]
    nodes: tuple[Node, ...]
    largest: int

    def missing(self, is_stored: Callable[[bytes], bool]) -> dict[bytes, bytes]:
        """Return the blobs of the event that a store lacks, by digest: each after those it names.

        Args:
            is_stored: whether the store has a blob, and thus those that it names.
        """
        found: dict[bytes, bytes] = {}
        for last in self.nodes:
            new: list[Node] = []
            node: Node | None = last
            while node is not None and node.digest not in found and not is_stored(node.digest):
                new.append(node)
                node = node.previous
            for node in reversed(new):
                _add_texts(found, node.texts, is_stored)
                found[node.digest] = node.body
        _add_texts(found, self.texts, is_stored)
        return found

    def resolve(self, encoded: bytes) -> dict[str, Any]:
        """Return the whole data of the event."""
        nodes = {node.digest: node for node in self.nodes}
        whole: dict[str, Any] = _resolved(decode(encoded[1:]), self.texts, nodes)
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
    found = _grown(data, chains)
    if found is None:
        whole, encoded = exact_and_encoded(data)
        if len(encoded) < LONG:
            return whole, encoded, None
        found = _lists_of(whole, chains)
        if found is None:
            # Without lists of messages.
            texts: dict[bytes, str] = {}
            stored = _top_with_references(whole, texts)
            if not texts:
                return whole, encoded, None
            encoded_parts = MARK + encode(stored)
            return whole, encoded_parts, Split(texts, (), _whole_size(encoded_parts, texts))
    rest, nodes = found
    texts = {}
    stored = _top_with_references(rest, texts)
    rest_size = len(encode(stored)) + sum(map(_bytes_of, texts.values()))
    for (outer, name), node in nodes.items():
        chains.remember(node)
        reference = {REFERENCE: [_MESSAGES, node.digest.hex(), node.size]}
        _put(rest, outer, name, node.messages())
        _put(stored, outer, name, reference)
    last = tuple(nodes.values())
    largest = max(rest_size, *(node.largest for node in last))
    return rest, MARK + encode(stored), Split(texts, last, largest)


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
            if value and _is_message(value[0], (None, outer)) and outer not in _REPEATED:
                yield (None, outer), value
        elif kind is dict and outer not in _REPEATED:
            for name, each in value.items():
                if type(each) is list and each and _is_message(each[0], (outer, name)):
                    yield (outer, name), each


def _is_message(value: Any, place: _Place) -> bool:
    if REFERENCE in place or not isinstance(value, dict):
        return False
    return place[1] == "messages" or "role" in value


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _with_references(value: Any, texts: dict[bytes, str]) -> Any:
    """Return plain JSON with references in place of its long texts, which are put into `texts`."""
    kind = type(value)
    if kind is str:
        if len(value) * 4 < LONG or (size := _bytes_of(value)) < LONG:
            return value
        digest = sha256(value.encode()).digest()
        texts[digest] = value
        return {REFERENCE: [_TEXT, digest.hex(), size]}
    if isinstance(value, dict):
        made = {name: _with_references(each, texts) for name, each in value.items()}
        return {REFERENCE: [_OBJECT, made[REFERENCE]]} if [*made] == [REFERENCE] else made
    if isinstance(value, list):
        return [_with_references(each, texts) for each in value]
    return value


def _top_with_references(data: dict[str, Any], texts: dict[bytes, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, each in data.items():
        if name == "id" and type(each) is str:
            # Stores search for the ids of objects in what is stored.
            made[name] = each
        elif name in _REPEATED and len(encoded := encode(each)) >= LONG:
            digest = sha256(encoded).digest()
            texts[digest] = encoded.decode()
            made[name] = {REFERENCE: [_JSON, digest.hex(), len(encoded)]}
        else:
            made[name] = _with_references(each, texts)
    return {REFERENCE: [_OBJECT, made[REFERENCE]]} if [*made] == [REFERENCE] else made


def _whole_size(encoded: bytes, texts: Mapping[bytes, str]) -> int:
    return len(encoded) + sum(map(_bytes_of, texts.values()))


# From what is stored to data.


def references_in(encoded: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the digests of the texts and of the lists of messages that an encoding refers to.

    Raises:
        ValueError: it has a malformed reference.
    """
    texts: list[bytes] = []
    lists: list[bytes] = []
    if has_references(encoded):
        for kind, digest, _ in _walk(decode(encoded[1:])):
            (lists if kind == _MESSAGES else texts).append(digest)
    return texts, lists


def size_of(encoded: bytes) -> int:
    """Return the size in bytes of the whole content of an event, without resolving it."""
    if not has_references(encoded):
        return len(encoded)
    return len(encoded) + sum(size for _, _, size in _walk(decode(encoded[1:])))


def _walk(value: Any) -> Iterator[tuple[str, bytes, int]]:
    if isinstance(value, dict):
        if len(value) == 1 and REFERENCE in value:
            kind, content = _reference(value[REFERENCE])
            if kind == _OBJECT:
                yield from _walk(content[0])
            else:
                yield kind, bytes.fromhex(content[0]), content[1]
            return
        for each in value.values():
            if type(each) in (dict, list):
                yield from _walk(each)
    elif isinstance(value, list):
        for each in value:
            if type(each) in (dict, list):
                yield from _walk(each)


def _reference(value: Any) -> tuple[str, list[Any]]:
    match value:
        case ["object", _]:
            return _OBJECT, value[1:]
        case [("text" | "json" | "messages") as kind, str(digest), int()] if len(digest) == 64:
            return kind, value[1:]
    msg = f"malformed reference {value!r:.80}"
    raise ValueError(msg)


def _resolved(value: Any, texts: Mapping[bytes, str], nodes: Mapping[bytes, Node]) -> Any:
    if isinstance(value, dict):
        if len(value) == 1 and REFERENCE in value:
            kind, content = _reference(value[REFERENCE])
            if kind == _OBJECT:
                return {REFERENCE: _resolved(content[0], texts, nodes)}
            digest = bytes.fromhex(content[0])
            if kind == _MESSAGES:
                return nodes[digest].messages()
            return texts[digest] if kind == _TEXT else decode(texts[digest])
        return {name: _resolved(each, texts, nodes) for name, each in value.items()}
    return [_resolved(each, texts, nodes) for each in value] if isinstance(value, list) else value


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
        self._max_bytes = max_bytes

    def resolve(self, encoded: bytes) -> dict[str, Any]:
        """Return the whole data of an event with references.

        Raises:
            StoreDamaged: a blob is missing or damaged, or a reference is malformed.
        """
        try:
            value = decode(encoded[1:])
            found = [*_walk(value)]
            nodes = {digest: self._node(digest) for kind, digest, _ in found if kind == _MESSAGES}
            texts = self._texts([digest for kind, digest, _ in found if kind != _MESSAGES])
            whole = _resolved(value, texts, nodes)
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
        return Split(known, nodes, _whole_size(encoded, known))

    def _texts(self, digests: Sequence[bytes]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for digest in digests:
            known = self._cached(digest)
            if isinstance(known, str):
                found[digest] = known
        missing = [digest for digest in dict.fromkeys(digests) if digest not in found]
        bodies = self._blobs(missing) if missing else {}
        for digest in missing:
            text = _checked(digest, bodies.get(digest)).decode()
            found[digest] = text
            self._keep(digest, text, len(text))
        return found

    def _node(self, digest: bytes) -> Node:
        known = self._cached(digest)
        if isinstance(known, Node):
            return known
        bodies: list[tuple[bytes, bytes]] = []
        node: Node | None = None
        following, limit = digest, 8
        while following != _START and node is None:
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
        return self._built(node, bodies)

    def _built(self, node: Node | None, bodies: list[tuple[bytes, bytes]]) -> Node:
        named = {each: references_in(body[32:])[0] for each, body in bodies}
        texts = self._texts([text for found in named.values() for text in found])
        for digest, body in reversed(bodies):
            encoded = body[32:]
            own = {each: texts[each] for each in named[digest]}
            value = decode(encoded[1:] if has_references(encoded) else encoded)
            content = _resolved(value, own, {}) if has_references(encoded) else value
            if not isinstance(content, dict):
                msg = f"the message of blob {digest.hex()} is not an object"
                raise ValueError(msg)
            read_only = {name: _read_only(each) for name, each in content.items()}
            node = Node(node, encoded, read_only, own)
            self._keep(digest, node, len(body))
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

    def _keep(self, digest: bytes, part: str | Node, size: int) -> None:
        with self._lock:
            if digest in self._cache:
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
        seen: digests of those to leave out; updated.

    Yields:
        The digest, the body, which is None if it is missing, and whether it is a node of a chain.

    Raises:
        ValueError: a reference is malformed.
    """
    texts, lists = references_in(encoded)
    nodes: list[tuple[bytes, bytes | None]] = []
    for digest in lists:
        chain: list[tuple[bytes, bytes | None]] = []
        while digest != _START and digest not in seen:
            seen.add(digest)
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
