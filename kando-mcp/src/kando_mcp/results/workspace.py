"""The files of a workspace as pages, and one of them as text or Base64."""

from __future__ import annotations

from base64 import b64encode

from kando.app.addresses import parse_address
from kando.app.store import Store
from kando.errors import NotFoundError
from kando.schema.trees import Entry
from kando_mcp.results.paging import format_cursor, page, parse_cursor, to_json
from kando_mcp.results.shapes import FileResult, FileShape, WorkspaceResult

__all__ = ["file_page", "file_shape", "workspace_page"]

#: Reserved for the fields of a file other than its content, which include its path.
_ENVELOPE_CHARS = 6_000

_MIN_CHARS = 1_000


def file_shape(entry: Entry) -> FileShape:
    """Return the shape of a file, as `kando workspace --json` has it."""
    return {
        "path": entry.path,
        "kind": entry.kind,
        "digest": entry.digest,
        "size": entry.size,
    }


def workspace_page(
    store: Store, run: str, at: int | None, cursor: str | None, limit: int, chars: int
) -> WorkspaceResult:
    """Return a page of the files in the workspace of a run, sorted by path.

    Args:
        store: the store of the run.
        run: ``RUN`` or ``RUN@N``.
        at: the same as N.
        cursor: cursor of the page; None for the first page. All pages show the same position.
        limit: maximum number of files.
        chars: maximum length of the page, in characters of its JSON.

    Raises:
        LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
        PositionOutOfRange: the run has fewer events.
        ConfigurationError: the cursor is malformed.
        StoreDamaged: the tree is missing or damaged.
    """
    run, at, start = _at_cursor(run, at, cursor)
    named, end = store.run_at(run, at)
    tree = named.files(at=end)
    items, stop = page(tree.entries, start, limit, chars, file_shape)
    more = ", more on the next page" if stop is not None else ""
    return {
        "summary": f"{len(tree)} files, {tree.size} bytes after {end} events{more}",
        "run_id": named.id,
        "position": end,
        "items": items,
        "next_cursor": format_cursor(end, stop) if stop is not None else None,
    }


def file_page(
    store: Store, run: str, path: str, at: int | None, cursor: str | None, chars: int
) -> FileResult:
    """Return a file in the workspace of a run, or the part of it that fits on a page.

    Args:
        store: the store of the run.
        run: ``RUN`` or ``RUN@N``.
        path: of the file, as the list of files has it.
        at: the same as N.
        cursor: cursor of the page; None for the first page.
        chars: maximum length of the page, in characters of its JSON.

    Raises:
        LedgerNotFound, AmbiguousName: no run, or more than one, has this id.
        PositionOutOfRange: the run has fewer events.
        NotFoundError: the workspace has no such file.
        ConfigurationError: the cursor is malformed.
        StoreDamaged: the file is missing or damaged.
    """
    run, at, start = _at_cursor(run, at, cursor)
    named, end = store.run_at(run, at)
    entry = named.files(at=end).by_path().get(path)
    if entry is None:
        msg = f"{named.source} has no file {path!r:.120} at {end}."
        raise NotFoundError(msg, hint="list_workspace lists them.")
    content = named.file(path, at=end)
    room = max(_MIN_CHARS, chars - _ENVELOPE_CHARS)
    text = _text_of(content)
    part = _text_part(text, start, room) if text is not None else None
    data = content[start : start + room // 4 * 3] if part is None else None
    stop = start + len(part if part is not None else data or b"")
    whole = len(text) if text is not None else len(content)
    unit = "characters" if text is not None else "bytes"
    shown = f", {unit} {start} to {stop} of {whole}" if start or stop < whole else ""
    return {
        "summary": f"{entry.path[:200]}: {entry.size} bytes{shown}",
        "run_id": named.id,
        "position": end,
        **file_shape(entry),
        "text": part,
        "data": None if data is None else b64encode(data).decode(),
        "next_cursor": format_cursor(end, stop) if stop < whole else None,
    }


def _at_cursor(run: str, at: int | None, cursor: str | None) -> tuple[str, int | None, int]:
    if cursor is None:
        return run, at, 0
    end, start = parse_cursor(cursor, 2)
    return parse_address(run).ledger, end, start


def _text_of(content: bytes) -> str | None:
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def _text_part(text: str, start: int, room: int) -> str:
    """Return as much of a text as fits; JSON writes some characters as more than one."""
    length = room
    while len(to_json(part := text[start : start + length])) > room:
        length = max(1, length * 3 // 4)
    return part
