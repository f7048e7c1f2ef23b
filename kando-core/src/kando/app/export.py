"""Export runs to files, and import them from JSON Lines."""

# long: what an export writes and what an import accepts are the two sides of one format.

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from kando.app.context import Context
from kando.app.demo import DEMO_ID
from kando.app.export_children import children_first, exported_children, require_children
from kando.app.opened import OpenedRun
from kando.app.status import read_status
from kando.errors import (
    ConfigurationError,
    InvalidData,
    KandoError,
    LedgerExists,
    LedgerNotFound,
    StoreError,
)
from kando.ledger.chain import GENESIS, link
from kando.ledger.files import write_whole
from kando.ledger.interface import LedgerStore
from kando.ledger.jsonl import ExportedLedger, Parent, lines_of, read_ledgers
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.substrate import Substrate, check_ledger_id
from kando.ledger.trees import copy_trees
from kando.runtime import Runtime
from kando.runtime.cursor import Cursor
from kando.schema.cloudevents import cloud_event
from kando.schema.events import BOOKKEEPING, BRANCH_CHANGED, KIT_LOADED, RecordedEvent, make_event
from kando.schema.exact_json import encode
from kando.text.figure import Node
from kando.trace.figure import COLOURS, node_of
from kando.views.approvals import Approval, granted_calls
from kando.views.choices import IMPORTED, Choices
from kando.world.graph import World
from kando.world.projection import apply

__all__ = ["FORMATS", "ExportResult", "ImportResult", "export_run", "import_run"]


@attrs.frozen
class ExportResult:
    """The result of an export.

    Attributes:
        run_id: of the run or branch.
        file: that was written; ``-`` for an open stream.
        format: of the file.
        events: number of exported events.
        digest: chained hash of these events, 64 hexadecimal digits.
        children: ids of the child runs that the file holds as well.
    """

    run_id: str
    file: str
    format: str
    events: int
    digest: str
    children: tuple[str, ...] = ()


@attrs.frozen
class ImportResult:
    """The result of an import.

    Attributes:
        run_id: of the run or branch.
        events: number of its events.
        digest: chained hash of these events, 64 hexadecimal digits.
        parent_id: of the branch's parent; None for a run.
        missing_parent_id: of a parent that this store does not have: the branch was imported as a
            run with all its events.
        children: ids of the child runs that the file holds as well.
    """

    run_id: str
    events: int
    digest: str
    parent_id: str | None = None
    missing_parent_id: str | None = None
    children: tuple[str, ...] = ()


def export_run(
    run: OpenedRun,
    end: int,
    file: str | Path | BinaryIO,
    format: str | None = None,
    *,
    with_children: bool = True,
) -> ExportResult:
    """Write a run or branch to a file, as a whole or not at all; or to an open stream.

    A file of JSON Lines also has the child runs of these events, and theirs, each whole.

    Args:
        run: the opened run.
        end: number of events to export.
        file: to write; where it is a link, the file that it leads to. An existing file is replaced.
        format: one of `FORMATS`, or one that a plugin offers; that of the file's extension if None,
            and JSON Lines if it has none.
        with_children: whether its child runs are exported with it.

    Raises:
        ConfigurationError: the format is unknown, or several plugins claim the extension.
        StoreDamaged: the ledger contradicts its hash chain.
        StoreError: the file cannot be written.
    """
    name = str(file) if isinstance(file, str | Path) else "-"
    format = format or _format_of(run.context, name)
    children = exported_children(run, end) if with_children and format == JSONL else []
    writer = FORMATS.get(format) or _offered(run.context, format)
    lines = _jsonl(run, end, children) if format == JSONL else writer(run, end)
    try:
        with run.context.activities.step(f"export {run.id}", unit="lines") as step:
            _write(file, step.over(lines))
    except OSError as error:
        msg = f"{name} cannot be written: {error.strerror or error}."
        raise StoreError(msg, hint="Choose another file.") from error
    digest = run.ledger.digest(end).hex()
    return ExportResult(run.id, name, format, end, digest, tuple(each.id for each, _ in children))


def _format_of(context: Context, name: str) -> str:
    """Return the format that the extension of a file names."""
    extension = Path(name).suffix.removeprefix(".").lower()
    if extension in ("", JSONL):
        return JSONL
    if extension in _EXTENSIONS:
        return _EXTENSIONS[extension]
    offers = [each for each in context.plugins.exporters() if extension in each.spec.extensions]
    if len(offers) > 1:
        named = " or ".join(f"--format {each.qualified_name}" for each in offers)
        msg = f"More than one plugin exports to files with the extension .{extension}."
        raise ConfigurationError(msg, hint=f"Choose one: {named}.")
    if offers:
        return offers[0].qualified_name
    return extension if extension in _OFFERED_BY else JSONL


def _offered(context: Context, format: str) -> Writer:
    """Return the writer of a format that a plugin offers."""
    from kando.app.run import Run
    from kando.plugins import UnknownPlugin

    plugins = context.plugins
    try:
        offered = plugins.exporter(format)
    except UnknownPlugin as error:
        msg = f"Kando has no export format {format!r}."
        known = ", ".join([*FORMATS, *error.known])
        missing = _OFFERED_BY.get(format)
        hint = f"pip install {missing}" if missing else f"Use one of: {known}."
        raise ConfigurationError(msg, hint=hint) from error
    export: Any = plugins.resolve(offered)
    return lambda run, end: iter(export(Run(run.id, context=run.context), end))


def _write(file: str | Path | BinaryIO, lines: Iterable[bytes]) -> None:
    if isinstance(file, str | Path):
        write_whole(file, lines)
    else:
        file.writelines(lines)
        file.flush()


def _jsonl(
    run: OpenedRun, end: int, children: Sequence[tuple[OpenedRun, int]] = ()
) -> Iterator[bytes]:
    yield from lines_of(run.ledger, end, _parent_of(run, end), ledgers=1 + len(children))
    for child, length in children:
        yield from lines_of(child.ledger, length, _parent_of(child, length))


def _parent_of(run: OpenedRun, end: int) -> Parent | None:
    if run.is_demo_run:
        return None
    info = run.context.substrate().info(run.id)
    if info.parent_id is None or info.fork_position is None or end <= info.fork_position:
        return None
    return Parent(info.parent_id, info.fork_position)


def _cloudevents(run: OpenedRun, end: int) -> Iterator[bytes]:
    digest = GENESIS
    for event in islice(run.ledger.read_all(), end):
        digest = link(digest, event)
        yield encode(cloud_event(event, run.ledger.stream_name(), digest)) + b"\n"


def _nodes(ledger: LedgerStore, end: int) -> Iterator[Node]:
    """Yield the events as nodes of a figure, without the runtime's bookkeeping."""
    positions: dict[str, int] = {}
    for event in islice(ledger.read_all(), end):
        if event.type not in BOOKKEEPING:
            positions[event.id] = event.position
            yield node_of(event, [positions[id] for id in event.cause if id in positions])


def _dot(run: OpenedRun, end: int) -> Iterator[bytes]:
    from kando.text.figure import dot

    return _encoded(dot(_nodes(run.ledger, end), run.ledger.stream_name()))


def _mermaid(run: OpenedRun, end: int) -> Iterator[bytes]:
    from kando.text.figure import mermaid

    ledger = run.ledger
    total = sum(1 for _ in ledger.links(0, end, excluding=BOOKKEEPING))
    return _encoded(mermaid(_nodes(ledger, end), ledger.stream_name(), total, more="events"))


def _svg(run: OpenedRun, end: int) -> Iterator[bytes]:
    from kando.text.figure import svg

    ledger = run.ledger
    stream = ledger.stream_name()
    about = {"ledger": stream, "events": str(end), "digest": ledger.digest(end).hex()}
    return _encoded(svg(_nodes(ledger, end), stream, about, COLOURS))


def _encoded(lines: Iterable[str]) -> Iterator[bytes]:
    return (f"{line}\n".encode() for line in lines)


#: The format that can be imported.
JSONL = "jsonl"

#: ``writer(run, end)`` yields the file.
Writer = Callable[[OpenedRun, int], Iterator[bytes]]

#: Extensions of files, other than the names of the formats below.
_EXTENSIONS = {"dot": "dot", "mmd": "mermaid", "svg": "svg"}

#: Formats of packages of Kando that may not be installed.
_OFFERED_BY = {"html": "kando-inspector"}

#: Writers of the formats, by name.
FORMATS: dict[str, Writer] = {
    JSONL: _jsonl,
    "cloudevents": _cloudevents,
    "dot": _dot,
    "mermaid": _mermaid,
    "svg": _svg,
}


def import_run(
    context: Context,
    lines: Iterable[bytes],
    *,
    accepts_approvals: bool = False,
    accepts_choices: bool = False,
) -> ImportResult:
    """Import a run or branch that was exported as JSON Lines, exactly as it was, with its child runs.

    The whole file is verified before anything is written. A branch becomes a branch again if this
    store has its parent, else a run with all its events. A child that this store has already with
    these events stays as it is.

    Args:
        context: whose substrate receives the run.
        lines: of the file.
        accepts_approvals: whether to accept approvals of calls that are not made yet. Any person
            can write an approval into a file.
        accepts_choices: whether the file's branch chooses the provider and the model that are asked, and
            whether tools write without asking. Otherwise the run notes that it was imported, and a
            person names the provider when it is resumed.

    Raises:
        InvalidData: the file is malformed, and the message names the line; or it contains
            approvals that are not accepted.
        LedgerExists: a run or branch of this id already exists.
        StoreError: the substrate cannot be used.
    """
    with context.activities.step("import", unit="lines") as step:
        return _imported(context, step.over(lines), accepts_approvals, accepts_choices)


def _imported(
    context: Context, lines: Iterable[bytes], accepts_approvals: bool, accepts_choices: bool
) -> ImportResult:
    ledgers = read_ledgers(lines)
    for each in ledgers:
        _check_ledger(each)
    require_children(ledgers)
    if not accepts_approvals:
        _refuse_approvals(ledgers)
    substrate = context.substrate(read_only=False)
    main, *children = ledgers
    if _length_of(substrate, main.header.ledger_id):
        msg = f"A run or branch {main.header.ledger_id!r} already exists; nothing was imported."
        raise LedgerExists(msg, hint="Import it into another store, with --ledger.")
    ids = tuple(each.header.ledger_id for each in children)
    known = {each.header.ledger_id for each in children if _is_known(substrate, each)}
    results = {
        each.header.ledger_id: _written(substrate, each, accepts_choices)
        for each in children_first(ledgers)
        if each.header.ledger_id not in known
    }
    return attrs.evolve(results[main.header.ledger_id], children=ids)


def _check_ledger(exported: ExportedLedger) -> None:
    """Refuse a ledger that cannot be imported, before anything is written."""
    name = exported.header.ledger
    kind, _, id = name.partition(":")
    if kind not in ("run", "branch") or id == DEMO_ID:
        msg = f"Line {exported.line} names the ledger {name!r:.80}, which cannot be imported."
        raise InvalidData(msg, hint="Export a run or a branch.")
    check_ledger_id(id)
    _check(id, exported)
    copy_trees(exported.events, partial(_known, exported.files), MemoryLedgerStore(id))


def _refuse_approvals(ledgers: Sequence[ExportedLedger]) -> None:
    approved = [call for each in ledgers for call in granted_calls(each.events)]
    if approved:
        named = ", ".join(map(_approved, approved[:3]))
        more = f" and {len(approved) - 3} more" if len(approved) > 3 else ""
        msg = f"The file contains approvals of calls that are not made yet: {named}{more}."
        hint = "If you approve these calls, import it with --accept-approvals."
        raise InvalidData(msg, hint=hint)


def _is_known(substrate: Substrate, child: ExportedLedger) -> bool:
    """Whether this store has a child run of the file already, with its events.

    Raises:
        LedgerExists: it has a run of this id with other events.
    """
    header = child.header
    length = _length_of(substrate, header.ledger_id)
    if not length:
        return False
    ledger = substrate.open(header.ledger_id)
    if length >= header.events and ledger.digest(header.events).hex() == header.digest:
        return True
    msg = f"A run {header.ledger_id!r} with other events already exists; nothing was imported."
    raise LedgerExists(msg, hint="Import the file into another store, with --ledger.")


def _written(substrate: Substrate, exported: ExportedLedger, accepts_choices: bool) -> ImportResult:
    """Write one ledger of a file to the store."""
    header, events = exported.header, exported.events
    run_id, parent = header.ledger_id, header.parent
    blobs = partial(_known, exported.files)
    if parent is not None and _shares(substrate, parent, exported):
        position = parent.fork_position
        own = events if accepts_choices else _with_note(f"branch:{run_id}", events, position)
        copy_trees(own[position:], blobs, substrate.open(parent.id))
        substrate.fork_with(parent.id, position, run_id, own[position:])
        return ImportResult(run_id, len(events), header.digest, parent.id)
    # An import that is killed here leaves an empty run, which the next import completes.
    is_new = _length_of(substrate, run_id) is None
    ledger = substrate.create(run_id) if is_new else substrate.open(run_id)
    own = events if accepts_choices else _with_note(ledger.stream_name(), events)
    copy_trees(own, blobs, ledger)
    ledger.append([*own], expected_length=0)
    missing = parent.id if parent is not None else None
    return ImportResult(run_id, len(events), header.digest, None, missing)


def _known(files: dict[bytes, bytes], digests: Sequence[bytes]) -> dict[bytes, bytes]:
    return {digest: files[digest] for digest in digests if digest in files}


def _approved(each: Approval) -> str:
    changed = each.decision.arguments if each.decision is not None else None
    sent = f" with {encode(changed).decode():.80}" if changed is not None else ""
    return f"{each.intent}{sent} ({each.reason:.80})"


def _check(run_id: str, exported: ExportedLedger) -> None:
    """Refuse events that the readers of a ledger could not read."""
    events = exported.events
    world = World()
    known: set[str] = set()
    for number, event in zip(exported.lines, events, strict=True):
        try:
            apply(world, event)
            unknown = [id for id in event.cause if id not in known]
            problem = f"its cause {unknown[0]!r:.80} does not exist" if unknown else None
        except KandoError as error:
            problem = error.message
        if event.id in known:
            problem = f"its id {event.id!r:.80} is a duplicate"
        if problem is not None:
            msg = f"Line {number} cannot be imported: {problem}."
            raise InvalidData(msg, hint="Nothing was imported.")
        known.add(event.id)
    try:
        _read_as_run(run_id, events)
    except Exception as error:
        msg = f"The file does not contain the events of a run: {type(error).__name__}: {error}."
        raise InvalidData(msg, hint="Nothing was imported.") from error


def _read_as_run(run_id: str, events: Sequence[RecordedEvent]) -> None:
    copy = MemoryLedgerStore(run_id)
    copy.append([*events])
    read_status(copy)
    for kit in (event.data for event in events if event.type == KIT_LOADED):
        if not (isinstance(kit["name"], str) and isinstance(kit["version"], str)):
            msg = "the name and the version of a kit must be strings"
            raise TypeError(msg)
    cursor = Cursor()
    for event in events:
        cursor.observe(event)


def _with_note(
    stream_name: str, events: list[RecordedEvent], trusted: int = 0
) -> list[RecordedEvent]:
    """Return the events, and after them a note if the file chooses who is asked, or what is allowed.

    Args:
        stream_name: of the new ledger.
        events: of the file.
        trusted: how many of them this store holds already.
    """
    known = Choices()
    for event in events[:trusted]:
        known = known.apply(event)
    chosen = known
    for event in events[trusted:]:
        chosen = chosen.apply(event)
    if chosen.is_imported or chosen.authority in (known.authority, Choices().authority):
        return events
    copy = MemoryLedgerStore(stream_name)
    copy.append([*events])
    note = make_event(BRANCH_CHANGED, "", "import", [], {IMPORTED: True})
    return [*events, *Runtime(copy, [], edge_logic=()).record([note], is_own=True)]


def _length_of(substrate: Substrate, run_id: str) -> int | None:
    try:
        return substrate.info(run_id).length
    except LedgerNotFound:
        return None


def _shares(substrate: Substrate, parent: Parent, exported: ExportedLedger) -> bool:
    """Whether this store has the parent, and its events are those that the branch shares."""
    events, position = exported.events, parent.fork_position
    length = _length_of(substrate, parent.id)
    if length is None or not 0 <= position <= min(length, len(events)):
        return False
    digest = GENESIS
    for event in events[:position]:
        digest = link(digest, event)
    return exported.header.ledger.startswith("branch:") and (
        substrate.open(parent.id).digest(position) == digest
    )
