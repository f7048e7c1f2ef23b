"""`kando status`, `runs`, `events` and `world`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import attrs
import click

from kando.app.shapes import event_dict, moment, status_dict, world_dict
from kando.app.status import DAMAGED, RunStatus
from kando.cli.arguments import ANY_RUN
from kando.cli.label import label_option, label_text
from kando.cli.output import (
    clean,
    columns,
    print_json,
    print_line,
    print_list,
    reminded,
    truncate,
    warn,
)
from kando.cli.shared import command_for, open_command_store, page_options, shared_options
from kando.schema.content import shown
from kando.schema.events import (
    BOOKKEEPING,
    OBSERVED,
    RESPONDER_FAILED,
    KandoEvent,
    RecordedEvent,
    error_line,
)

__all__ = ["events", "runs", "status", "summary", "world"]

_FOLLOW_SECONDS = 0.2
_SUMMARY_CHARS = 100
_REASONS = 3

# A reader of events looks for failures: the whole reason is shown, unless it is very long.
_FAILURE_CHARS = 1000
_DAMAGED_CODE = 4


@click.command()
@click.argument("run", type=ANY_RUN, metavar="[RUN]", default="@last")
@shared_options
def status(run: str, as_json: bool) -> None:
    """Show the state of a run.

    Without RUN it is the newest one. The run `demo` always exists.
    """
    with open_command_store(shows_progress=True) as store:
        found = store.run(run).status()
        if as_json:
            print_json(status_dict(found))
            return
        for name, text in _status_lines(found):
            print_line(
                f"{name:<10} {text}".rstrip() if len(name) > 9 else f"{name:<10}{text}".rstrip()
            )


def _status_lines(found: RunStatus) -> list[tuple[str, str]]:
    kit = f"{found.kit} {found.kit_version}" if found.kit else "none"
    lines = [("run", found.run_id), ("state", found.state)]
    if found.claim is not None:
        lines.append(
            ("claim", f"{clean(str(found.claim.worker))} since {moment(found.claim.since)}")
        )
    if found.problem:
        lines.append(("problem", clean(found.problem)))
    if found.unread:
        what = "message waits in the inbox" if found.unread == 1 else "messages wait in the inbox"
        lines.append(("unread", f"{found.unread} {what}"))
    if found.parked:
        reasons = "; ".join(clean(reason) for reason in found.parked_reasons[:_REASONS])
        more = "; ..." if found.parked > _REASONS else ""
        lines.append(("parked", f"{found.parked}: {reasons}{more}"))
    if found.approvals:
        lines.append(("approvals", str(found.approvals)))
    if found.questions:
        lines.append(("questions", str(found.questions)))
    if found.deadlines:
        first, *rest = found.deadlines
        more = f" and {len(rest)} more" if rest else ""
        when = f"{moment(first.expires_at)} for {clean(first.event_id)}{more}"
        lines.append(("deadline", when))
    if found.reminders:
        next_one = found.reminders[0]
        when = f"{moment(next_one.remind_at)} for {clean(next_one.event_id)}"
        lines.append(("reminder", f"{when}, {reminded(next_one.reminded)}"))
    lines += [("goal", clean(found.goal or "")), ("kit", clean(kit))]
    if found.labels:
        lines.append(("labels", label_text(found.labels)))
    if found.started_by is not None:
        by = found.started_by
        lines.append(("started by", clean(f"{by['run_id']} ({by['event_id']})")))
    lines += [
        ("child", clean(f"{each.run_id}  {each.kit}  {each.state or 'not begun'}"))
        for each in found.children
    ]
    if found.parent_id is not None:
        lines.append(("parent", f"{found.parent_id}@{found.fork_position}"))
    counted = ", ".join(f"{n} {clean(type)}" for type, n in found.objects.items())
    related = ", ".join(f"{n} {clean(type)}" for type, n in found.relations.items())
    limits = ", ".join(clean(f"{name} {n}") for name, n in found.limits.items())
    lines += [
        ("events", str(found.events)),
        ("objects", counted or "none"),
        ("relations", related or "none"),
        (
            "llm",
            f"{found.llm_requests} requests, {found.llm_answered} answered "
            f"({found.llm_cached} from the cache), {_spent(attrs.asdict(found))}",
        ),
        *([("its own", _spent(found.own))] if found.own is not None else []),
        *([("limits", limits)] if limits else []),
        ("created", moment(found.created_at) or ""),
        ("updated", moment(found.updated_at) or ""),
        ("last", clean(found.last_event_id or "")),
    ]
    return lines


def _spent(spent: dict[str, Any]) -> str:
    unpriced = f" and {spent['llm_unpriced']} of unknown price" if spent["llm_unpriced"] else ""
    tools = f", {spent['tool_calls']} tool calls" if spent["tool_calls"] else ""
    return f"{spent['llm_tokens']} tokens, {spent['llm_cost_usd']:.4f} USD{unpriced}{tools}"


@click.command()
@label_option("Show only runs with this label")
@page_options("runs")
@shared_options
def runs(labels: dict[str, str], limit: int, cursor: str | None, as_json: bool) -> int:
    """List runs and branches, newest first.

    The exit code is 4 if a listed run is damaged.
    """
    with open_command_store() as store:
        page = store.runs(labels=labels, limit=limit, cursor=cursor)
        is_damaged = any(each.state == DAMAGED for each in page)
        if as_json:
            print_list([status_dict(each) for each in page], page.next_cursor)
            return _DAMAGED_CODE if is_damaged else 0
        rows = [
            [
                each.run_id,
                each.state,
                str(each.events),
                clean(each.kit or "-"),
                _parent(each),
                moment(info.created_at) or "",
                truncate(each.goal or "", 60),
            ]
            for info, each in zip(page.infos, page, strict=True)
        ]
        head = ["RUN", "STATE", "EVENTS", "KIT", "PARENT", "CREATED", "GOAL"]
        if any(each.labels for each in page):
            head.insert(6, "LABELS")
            for row, each in zip(rows, page, strict=True):
                row.insert(6, truncate(label_text(each.labels), 60) or "-")
        notes = [_note(each) for each in page]
        if any(notes):
            head.insert(2, "NOTE")
            for row, note in zip(rows, notes, strict=True):
                row.insert(2, note or "-")
        if rows:
            columns(rows, head)
        elif labels:
            warn(f"no run has the labels {label_text(labels)}")
        else:
            warn(f"no runs yet; start one with: {command_for('run', 'KIT', '--goal', 'TEXT')}")
        if page.next_cursor is not None:
            warn(f"more runs: --cursor {page.next_cursor}")
        for each in page:
            if each.state == DAMAGED:
                warn(f"{each.run_id} is damaged: {each.problem}")
    return _DAMAGED_CODE if is_damaged else 0


def _parent(status: RunStatus) -> str:
    """Return where a branch was forked, or the run that started a child run."""
    if status.parent_id:
        return f"{status.parent_id}@{status.fork_position}"
    return clean(status.started_by["run_id"]) if status.started_by is not None else "-"


def _note(status: RunStatus) -> str:
    """Return what a run has left unread or parked, or an empty string."""
    counts = {"unread": status.unread, "parked": status.parked}
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


@click.command()
@click.argument("run", type=ANY_RUN, metavar="RUN")
@click.option("--all", "show_all", is_flag=True, help="Include all bookkeeping events.")
@click.option(
    "--from", "start", type=click.IntRange(0), default=0, metavar="N", help="Start at position N."
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    help="Show only events of this type; may be given several times.",
)
@click.option("-f", "--follow", is_flag=True, help="Wait for new events until Ctrl-C.")
@shared_options
def events(
    run: str, show_all: bool, start: int, types: tuple[str, ...], follow: bool, as_json: bool
) -> None:
    """Show the events of a run.

    RUN@N shows the first N events. Failures of responders are shown with their reason; other
    bookkeeping events of the runtime need --all or their --type. With --json each line is one
    event, and bookkeeping events are included.
    """
    is_shown = _filter(show_all or as_json, types)
    with open_command_store() as store:
        named, at = store.run_at(run)
        next_position = start
        for event in named.events(start, at=at):
            if is_shown(event):
                _print_event(event, as_json)
            next_position = event.position + 1
        while follow:
            for event in named.follow(next_position):
                if is_shown(event):
                    _print_event(event, as_json)
                next_position = event.position + 1
            time.sleep(_FOLLOW_SECONDS)


def _filter(shows_all: bool, types: tuple[str, ...]) -> Callable[[RecordedEvent], bool]:
    """Return a function that says whether an event is shown; no `types` are all types."""
    if types:
        return lambda event: event.type in types
    hidden = frozenset() if shows_all else BOOKKEEPING - {RESPONDER_FAILED}
    return lambda event: event.type not in hidden


def _print_event(event: RecordedEvent, as_json: bool) -> None:
    if as_json:
        print_json(event_dict(event))
    else:
        print_line(
            f"{event.position:>6}  {clean(event.id):<24}  {clean(event.actor):<28}  "
            f"{summary(event)}".rstrip()
        )


def summary(event: KandoEvent) -> str:
    """Return the content of an event on one line, truncated."""
    data = event.data
    if event.type == "object.created":
        created = f"{data.get('type')} {data.get('id')} {_compact(data.get('data'))}"
        return truncate(created, _SUMMARY_CHARS)
    if event.type == "relation.created":
        ends = f"{data.get('source_id')} {data.get('type')} {data.get('target_id')}"
        return truncate(ends, _SUMMARY_CHARS)
    if event.type == "object.patched":
        return truncate(f"{data.get('id')} {_compact(data.get('patch'))}", _SUMMARY_CHARS)
    if event.type == RESPONDER_FAILED:
        return _failure(data)
    return truncate(_compact(data), _SUMMARY_CHARS)


def _failure(data: dict[str, Any]) -> str:
    observed = data.get(OBSERVED)
    reason = f"{data.get('outcome')}: {error_line(data.get('error'))}"
    place = ""
    if isinstance(observed, dict) and "file" in observed:
        place = f" ({observed['file']}:{observed.get('line')})"
    return truncate(reason, _FAILURE_CHARS) + clean(place)


def _compact(data: Any) -> str:
    return json.dumps(shown(data), ensure_ascii=False) if data else ""


@click.command()
@click.argument("run", type=ANY_RUN, metavar="RUN")
@click.option("--at", type=click.IntRange(0), metavar="N", help="Show the world after N events.")
@click.option(
    "--type", "of_type", metavar="TYPE", help="Show only objects of this type, and no relations."
)
@shared_options
def world(run: str, at: int | None, of_type: str | None, as_json: bool) -> None:
    """Show the objects and relations of a run."""
    with open_command_store() as store:
        named, position = store.run_at(run, at)
        found = named.world(at=position)
        if as_json:
            print_json(world_dict(found, position, of_type))
            return
        objects = [o for o in found.objects.values() if of_type in (None, o.type)]
        relations = [] if of_type else list(found.relations.values())
        rows = [[o.type, o.id, truncate(_compact(o.data), _SUMMARY_CHARS)] for o in objects]
        columns([[clean(cell) for cell in row] for row in rows])
        if relations:
            print_line()
            ends = [[r.source_id, r.type, r.target_id] for r in relations]
            columns([[clean(cell) for cell in row] for row in ends])
