"""Chains: lists of messages that grow, and the read-only values that events share.

`kando.schema.parts` describes what is stored, and offers the names of this module that others need.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from hashlib import sha256
from operator import is_
from typing import Any, NoReturn, Protocol

from kando.schema._references import LONG, MARK, bytes_of, with_references
from kando.schema.content import media_size
from kando.schema.exact_json import encode, exact_and_encoded

__all__ = [
    "START",
    "Chains",
    "Hash",
    "Message",
    "Node",
    "ReadOnlyDict",
    "ReadOnlyList",
    "copied",
    "known_prefix",
    "read_only",
]

#: Stands for the node before the first one.
START = bytes(32)

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


def read_only(value: Any) -> Any:
    """Return JSON values that several events can share."""
    if isinstance(value, dict):
        return ReadOnlyDict({name: read_only(each) for name, each in value.items()})
    return ReadOnlyList(map(read_only, value)) if isinstance(value, list) else value


def copied(data: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of plain JSON data that shares only what cannot be changed."""
    copy: dict[str, Any] = _copied(data)
    return copy


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if kind is list else value


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
        largest: bytes of the largest of them, without its images and files.
        has_media: whether one of them has an image or a file.
        key_states: states of hashes over these messages, by what comes before them.
    """

    __slots__ = (
        "_line",
        "body",
        "count",
        "digest",
        "has_media",
        "key_states",
        "largest",
        "message",
        "previous",
        "size",
        "texts",
    )

    digest: bytes
    has_media: bool

    def __init__(
        self,
        previous: Node | None,
        encoded: bytes,
        content: Mapping[str, Any],
        texts: dict[bytes, str],
    ) -> None:
        self.previous = previous
        self.body = (START if previous is None else previous.digest) + encoded
        self.digest = sha256(self.body).digest()
        self.texts = texts
        self.message = message = Message(content)
        message.node = self
        own = len(encoded) + sum(map(bytes_of, texts.values()))
        may_have_media = texts or isinstance(content.get("content"), list)
        media = media_size(content, once=True) if may_have_media else 0
        limited = own - media
        self.key_states: dict[bytes, Hash] = {}
        self.has_media = media > 0 or (previous is not None and previous.has_media)
        if previous is None:
            self.count, self.size, self.largest = 1, own, limited
            self._line = [message]
            return
        self.count = previous.count + 1
        self.size = previous.size + own
        self.largest = max(previous.largest, limited)
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

    def __len__(self) -> int:
        """Return the number of lists that are remembered."""
        return len(self._tails)

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
            stored = with_references(plain, texts)
            encoded = MARK + encode(stored) if texts else encoded
        content = {name: read_only(each) for name, each in plain.items()}
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
