"""The page as one read-only file: of `kando export RUN -o run.html`, and for hosts of MCP Apps.

A browser opens an exported file from disk, without a server. The security policy of the file names
the hashes of its script and its style, so no other script runs and no request leaves it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import attrs

from kando.app.approvals import waits_of
from kando.app.metrics import usage_changes_of
from kando.app.opened import OpenedRun, open_run
from kando.app.shapes import approval_dict, event_dict
from kando_inspector.access import LOOK, Access, new_token
from kando_inspector.application import OPERATIONS
from kando_inspector.encoding import encoded
from kando_inspector.service import VERSION, Service
from kando_inspector.table import Call

if TYPE_CHECKING:
    from kando.app.run import Run

__all__ = ["export_page", "hosted_page", "page_data"]

#: Which the page checks: see page/src/data/embedded.ts.
_FORMAT = "kando-page-1"

_CHARSET = '<meta charset="utf-8">\n'
_STYLE = '<link rel="stylesheet" href="app.css">'
_SCRIPT = '<script src="app.js"></script>'

#: The name of each part of a run in the file, and the operation of the REST interface that returns it.
_PARTS = {"status": "get_run", "metrics": "get_metrics"}
_LISTS = {
    "branches": "list_branches",
    "approvals": "list_approvals",
    "conversations": "list_conversations",
}


def export_page(run: Run, at: int) -> Iterator[bytes]:
    """Yield a page that shows the first events of a run.

    Args:
        run: to show.
        at: number of its events.
    """
    before, after = _page()
    yield before
    yield b'<script type="application/json" id="kando-data">'
    yield from map(_inert, page_data(run, at))
    yield b"</script>\n"
    yield after


def hosted_page() -> str:
    """Return a page without data: it asks the host of the MCP App that shows it for a run."""
    before, after = _page('<meta name="kando-host" content="mcp">\n')
    return (before + after).decode()


def _page(head: str = "") -> tuple[bytes, bytes]:
    """Return the page, with its style and script inside, before and after the place of its data."""
    static = files("kando_inspector") / "static"
    html, style, script = (
        (static / name).read_text("utf-8") for name in ("index.html", "app.css", "app.js")
    )
    policy = (
        f"default-src 'none'; script-src {_hash_of(script)}; style-src {_hash_of(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n{head}'
    html = html.replace(_CHARSET, _CHARSET + head, 1).replace(_STYLE, f"<style>{style}</style>", 1)
    before, _, after = html.partition(_SCRIPT)
    return before.encode(), f"<script>{script}</script>{after}".encode()


def _hash_of(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _inert(json: bytes) -> bytes:
    """Return JSON in which no text ends the script element or begins a comment."""
    return json.replace(b"<", b"\\u003c")


def page_data(run: Run, at: int) -> Iterator[bytes]:
    """Yield the JSON of a run that the page reads: what the REST interface returns.

    Args:
        run: to show.
        at: number of its events.
    """
    call = _call_about(run, at)
    yield b'{"format":%s,"version":%s,"runs":[{' % (encoded(_FORMAT), encoded(VERSION))
    for name, operation in _PARTS.items():
        yield encoded(name) + b":" + encoded(_result(operation, call)) + b","
    for name, operation in _LISTS.items():
        yield encoded(name) + b":" + encoded([*_items(operation, call)]) + b","
    opened = open_run(run.store.context, run.id)
    yield b'"waits":' + encoded(_waits(opened, at)) + b","
    yield b'"usage":' + encoded(_usage(opened, at)) + b","
    yield b'"events":['
    for event in run.events(at=at):
        yield (b"," if event.position else b"") + encoded(event_dict(event))
    yield b"]}]}"


def _waits(run: OpenedRun, end: int) -> list[dict[str, Any]]:
    """Return the approvals and questions of the first events of a run, with when they were open."""
    return [
        {"from": start, "until": stop, "item": approval_dict(each) | {"run_id": run.id}}
        for start, stop, each in waits_of(run, end)
    ]


def _usage(run: OpenedRun, end: int) -> dict[str, Any]:
    """Return the usage after any number of the first events of a run: what each event changes.

    Names of figures are long, and there are few: a change names the number of its figure.
    """
    numbers: dict[tuple[str, ...], int] = {}
    changes: list[int | float] = []
    for position, path, value in usage_changes_of(run, end):
        changes += (position, numbers.setdefault(path, len(numbers)), value)
    return {"figures": [*numbers], "changes": changes}


def _call_about(run: Run, at: int) -> Call:
    """Return a call of the REST interface about the run."""
    # The state of a whole run includes what its ledger does not: who works on it, what waits.
    arguments = {"run": run.id} | ({"at": at} if at < run.length() else {})
    return Call(Service(run.store, Access(new_token())), LOOK, arguments)


def _result(operation: str, call: Call, **more: Any) -> Any:
    """Return the result of a reading operation."""
    handle = next(each.handle for each in OPERATIONS if each.id == operation)
    return handle(attrs.evolve(call, arguments={**call.arguments, **more}))


def _items(operation: str, call: Call) -> Iterator[Any]:
    """Yield the items of all pages of a list."""
    found = _result(operation, call)
    yield from found["items"]
    while found["next"] is not None:
        found = _result(operation, call, cursor=found["next"])
        yield from found["items"]
