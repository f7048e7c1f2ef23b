"""Trees in a ledger: the files of a workspace, read from the blobs of its store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kando.errors import InvalidData, StoreDamaged
from kando.ledger.interface import LedgerStore
from kando.schema.events import KandoEvent
from kando.schema.parts import Blobs, blob_problem
from kando.schema.trees import LINK, Entry, Tree, decode_tree, link_problem, tree_named_by

__all__ = ["blobs_of_tree", "contents_of", "copy_trees", "read_content", "read_tree"]

# Marks a digest as that of a tree, among those of other blobs.
_TREE = b"tree "

# Blobs that are read at a time.
_AT_ONCE = 50


def read_tree(ledger: LedgerStore, digest: bytes) -> Tree:
    """Return a tree of a ledger.

    Raises:
        StoreDamaged: its blob is missing or damaged.
        InvalidData: it is malformed, or leaves its folder: it comes from a stranger.
    """
    return decode_tree(_whole(ledger, digest, ledger.blobs([digest]).get(digest)))


def read_content(ledger: LedgerStore, entry: Entry) -> bytes:
    """Return the content of one entry of a tree.

    Raises:
        StoreDamaged: its blob is missing or damaged.
    """
    return next(contents_of(ledger, [entry]))[1]


def contents_of(ledger: LedgerStore, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """Yield the entries of a tree, each with its content.

    Raises:
        StoreDamaged: a blob is missing or damaged.
        InvalidData: a link leads out of the folder.
    """
    for first in range(0, len(entries), _AT_ONCE):
        some = entries[first : first + _AT_ONCE]
        bodies = ledger.blobs(Tree(tuple(some)).digests())
        for each in some:
            digest = bytes.fromhex(each.digest)
            body = _whole(ledger, digest, bodies.get(digest)) if each.size else b""
            if (problem := _content_problem(each, body)) is not None:
                raise InvalidData(f"A tree of files is refused: {problem}.")
            yield each, body


def _content_problem(entry: Entry, body: bytes) -> str | None:
    if len(body) != entry.size:
        return f"{entry.path!r:.120} has {len(body):,} bytes instead of {entry.size:,}"
    if entry.kind != LINK:
        return None
    try:
        problem = link_problem(entry.path, body.decode())
    except UnicodeDecodeError:
        problem = "has a target that is not UTF-8"
    return None if problem is None else f"{entry.path!r:.120} {problem}"


def _whole(ledger: LedgerStore, digest: bytes, body: bytes | None) -> bytes:
    problem = blob_problem(digest, body)
    if problem is not None or body is None:
        msg = f"The files of {ledger.stream_name()} cannot be read: {problem}."
        raise StoreDamaged(msg, hint="Restore the store from a copy.")
    return body


def copy_trees(events: Iterable[KandoEvent], blobs: Blobs, ledger: LedgerStore) -> None:
    """Store the trees that events name in the store of a ledger, before they are appended to it.

    Args:
        events: to be appended.
        blobs: returns the blobs that they need.
        ledger: to which they will be appended.

    Raises:
        InvalidData: a blob is missing or damaged, or a tree is malformed or leaves its folder.
        StoreError: the store of the ledger keeps no blobs.
    """
    seen: set[bytes] = set()
    for event in events:
        bodies: list[bytes] = []
        for digest, body in blobs_of_tree(event, blobs, seen):
            problem = blob_problem(digest, body)
            if problem is not None or body is None:
                msg = f"The files that {event.type} names are not whole: {problem}."
                raise InvalidData(msg, hint="Export the run again.")
            bodies.append(body)
        if bodies:
            ledger.store_blobs(bodies)


def blobs_of_tree(
    event: KandoEvent, blobs: Blobs, seen: set[bytes]
) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the blobs of the tree that an event names: that of the tree, and its contents.

    Args:
        event: of a ledger.
        blobs: returns stored blobs.
        seen: those to leave out; updated. It is meant for this function and `blobs_of`.

    Yields:
        The digest, and the body, which is None if it is missing.

    Raises:
        InvalidData: the tree is malformed, or leaves its folder.
    """
    named = tree_named_by(event)
    # A text or a file may have the bytes of a tree; it does not name what the tree names.
    if named is None or _TREE + named in seen:
        return
    seen.add(_TREE + named)
    body = blobs([named]).get(named)
    yield named, body
    if blob_problem(named, body) is not None or body is None:
        return
    tree = decode_tree(body)
    links = {each.digest: each for each in tree.entries if each.kind == LINK}
    wanted = [digest for digest in tree.digests() if digest not in seen]
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        found = blobs(some)
        for digest in some:
            seen.add(digest)
            content = found.get(digest)
            link = links.get(digest.hex())
            problem = _content_problem(link, content) if link and content else None
            if problem is not None:
                raise InvalidData(f"A tree of files is refused: {problem}.")
            yield digest, content
