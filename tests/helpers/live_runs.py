"""Runs of a kit that sends requests to a model, through the store, on a SQLite ledger."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import attrs

from kando.app.builtin import installed_plugins
from kando.app.resume import RunResult
from kando.app.store import Store, open_store
from kando.cli.shared import stream_to_stderr
from kando.plugins import Plugins
from kando.schema.events import RecordedEvent

#: Sends one request for each word of the goal, and stores the answers.
KIT = """
    from kando.emit import ask, create, patch
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("asking", version="1")

    @kit.seeds
    def seeds(goal, run_id):
        data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
        return [make_event("object.created", f"run:{run_id}", "cli", [], data)]

    @kit.responder("object.created", type="Goal")
    def on_goal(event, world):
        for number, word in enumerate(event.data["data"]["text"].split()):
            claim = yield create("Claim", {"about": word}, id=f"claim-{number}")
            messages = [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"What about {word}?"},
            ]
            yield ask(messages, about=claim, max_tokens=100)

    @kit.responder("llm.response")
    def on_answer(event, world):
        found = {name: event.data[name] for name in ("text", "error") if name in event.data}
        yield patch(event.data["cause_object_id"], found)

    @hookimpl
    def kando_kits():
        return [KitSpec("asking", "kando_asking_plugin:kit", "asks about each word")]
"""


@attrs.frozen
class Runs:
    """Runs of the kit above in one SQLite file.

    Attributes:
        path: of the file.
        environ: settings of every run.
        plugins: the installed plugins.
        is_streaming: whether answers are shown as they arrive.
    """

    path: Path
    environ: dict[str, str]
    plugins: Plugins
    is_streaming: bool = False

    def _store(self, **environ: str) -> Store:
        listen = stream_to_stderr if self.is_streaming else None
        return open_store(
            f"sqlite:{self.path}",
            plugins=self.plugins,
            environ={**self.environ, **environ},
            listen=listen,
        )

    def start(self, goal: str, llm: str, **environ: str) -> tuple[str, RunResult | Exception]:
        """Start a run; return its id, and the result or the error it raised."""
        ids: list[str] = []
        with self._store(**environ) as store:
            try:
                done = store.start("asking", goal, llm=llm, on_started=ids.append).result
            except Exception as error:
                if not ids:
                    raise
                return ids[0], error
        return ids[0], done

    def resume(self, run: str, llm: str, **environ: str) -> RunResult:
        """Resume a run."""
        with self._store(**environ) as store:
            return store.run(run).resume(llm=llm)

    def events(self, run: str, type: str = "") -> list[RecordedEvent]:
        """Return the events of a run, of one type if it is named."""
        with self._store() as store:
            return [e for e in store.context.ledger(run).read_all() if not type or e.type == type]

    def content(self, run: str) -> str:
        """Return everything that the store holds, as text."""
        files = sorted(self.path.parent.glob(f"{self.path.name}*"))
        return "".join(file.read_bytes().decode("latin-1") for file in files)


def make_runs(installation: Any, path: Path, environ: dict[str, str]) -> Runs:
    """Install the kit for a test, and return its runs.

    Args:
        installation: of plugins, as in `plugin_installation`.
        path: of the SQLite file.
        environ: settings of every run.
    """
    installation.add("kando-asking", dedent(KIT))
    return Runs(path, environ, installed_plugins(environ))
