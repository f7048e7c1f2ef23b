"""The server: five tools over the app layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from kando.app.branching import diff_runs, fork_run
from kando.app.builtin import installed_plugins
from kando.app.context import App
from kando.app.reading import explain_event, world_at
from kando.app.working import start_run as start
from kando.errors import KandoError
from kando.world.graph import Relation, WorldObject
from kando_mcp.shapes import (
    Branch,
    DiffResult,
    ObjectShape,
    RelationShape,
    RunState,
    TraceResult,
    WorldResult,
)

__all__ = ["create_server"]

_Result = TypeVar("_Result")

_READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_FORKS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
_RUNS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)


def create_server(environ: Mapping[str, str]) -> MCPServer:
    """Return a server for the runs that `environ` points to.

    Args:
        environ: settings and keys, such as ``KANDO_LEDGER``.
    """
    server = MCPServer(
        "kando",
        version=version("kando-mcp"),
        instructions="Runs of agents whose event log is the agent. Run ids are handles: pass them on.",
    )

    def with_app(work: Callable[[App], _Result]) -> _Result:
        with App(installed_plugins(environ), environ) as app:
            try:
                return work(app)
            except KandoError as error:
                raise ToolError(str(error)) from error

    @server.tool(annotations=_RUNS)
    def start_run(kit: str, goal: str) -> RunState:
        """Start a run of an installed kit from a goal and work on it until nothing is left to do."""
        return with_app(lambda app: _started(app, kit, goal))

    @server.tool(annotations=_READS)
    def query_world(run_id: str) -> WorldResult:
        """Show the objects and relations of a run or branch; run_id may be RUN@N."""
        return with_app(lambda app: _world(app, run_id))

    @server.tool(annotations=_FORKS)
    def fork_run(run_id: str, fork_at: int) -> Branch:
        """Fork a run after its first fork_at events; nothing is copied and nothing is called."""
        return with_app(lambda app: _forked(app, run_id, fork_at))

    @server.tool(annotations=_READS)
    def diff_branches(run_a: str, run_b: str) -> DiffResult:
        """Compare the worlds of two runs or branches; each may be RUN@N."""
        return with_app(lambda app: _diff(app, run_a, run_b))

    @server.tool(annotations=_READS)
    def explain_trace(event_id: str, run_id: str) -> TraceResult:
        """Explain why an event, object or relation of a run exists, back to its goal."""
        return with_app(lambda app: _trace(app, event_id, run_id))

    return server


def _started(app: App, kit: str, goal: str) -> RunState:
    started: list[str] = []
    try:
        result = start(app, kit, goal, on_started=started.append)
    except KandoError:
        raise
    except Exception as error:
        where = f"Run {started[0]} failed" if started else "The run could not be started"
        msg = f"{where}: {type(error).__name__}: {error}"
        raise ToolError(msg) from error
    status = result.status
    return {
        "summary": f"run {status.run_id} is {status.state} after {status.events} events",
        "run_id": status.run_id,
        "state": status.state,
        "events": status.events,
        "objects": status.objects,
        "unanswered": status.unanswered,
    }


def _world(app: App, run_id: str) -> WorldResult:
    world, position = world_at(app, run_id)
    objects, relations = len(world.objects), len(world.relations)
    return {
        "summary": f"{objects} objects and {relations} relations after {position} events",
        "run_id": run_id,
        "position": position,
        "objects": [_object(o) for o in world.objects.values()],
        "relations": [_relation(r) for r in world.relations.values()],
    }


def _forked(app: App, run_id: str, fork_at: int) -> Branch:
    meta = fork_run(app, run_id, fork_at)
    return {
        "summary": f"branch {meta.branch_id} shares {fork_at} events with {meta.parent_run_id}",
        "branch_id": meta.branch_id,
        "parent_run_id": meta.parent_run_id,
        "fork_position": meta.fork_position,
    }


def _diff(app: App, run_a: str, run_b: str) -> DiffResult:
    found = diff_runs(app, run_a, run_b)
    return {
        "summary": found.summary(),
        "added_objects": [_object(o) for o in found.added_objects],
        "removed_objects": [_object(o) for o in found.removed_objects],
        "patched_objects": [_object(change.after) for change in found.patched_objects],
        "added_relations": [_relation(r) for r in found.added_relations],
        "removed_relations": [_relation(r) for r in found.removed_relations],
    }


def _trace(app: App, event_id: str, run_id: str) -> TraceResult:
    steps = explain_event(app, event_id, run_id)
    return {
        "summary": " <- ".join(step.id for step in steps[:8]) + (" ..." if len(steps) > 8 else ""),
        "steps": [
            {
                "id": step.id,
                "type": step.type,
                "actor": step.actor,
                "cause": step.cause,
                "position": step.position,
                "is_root": step.is_root,
            }
            for step in steps
        ],
    }


def _object(o: WorldObject) -> ObjectShape:
    return {"id": o.id, "type": o.type, "data": o.data}


def _relation(r: Relation) -> RelationShape:
    return {"id": r.id, "type": r.type, "source_id": r.source_id, "target_id": r.target_id}
