"""The Tasks extension: each run is a task with the run's id and the state in its ledger.

Wire shapes: https://github.com/modelcontextprotocol/ext-tasks, schema 2026-07-28.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolRequestParams,
    CallToolResult,
    RequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ConfigDict, Field

from kando.app.status import CANCELLED, RUNNING, RunStatus
from kando.app.store import Store
from kando.errors import LedgerNotFound
from kando_mcp.access import Access
from kando_mcp.results.paging import to_json, without_surrogates
from kando_mcp.results.run_state import run_state
from kando_mcp.tools.make import without_blanks
from kando_mcp.worker.order import Order
from kando_mcp.worker.pool import Workers

__all__ = ["RunTasks"]

_ID = "io.modelcontextprotocol/tasks"
_TOOLS = ("start_run", "resume_run")
_POLL_MS = 500


class _TaskParams(RequestParams):
    model_config = ConfigDict(extra="allow")

    task_id: str = Field(alias="taskId")


class RunTasks(Extension):
    """Returns a task for a call that starts or resumes a run, to clients that declare tasks.

    Args:
        access: access to the runs.
        workers: processes started by this server.
    """

    identifier = _ID

    def __init__(self, access: Access, workers: Workers) -> None:
        self._access = access
        self._workers = workers

    def methods(self) -> Sequence[MethodBinding]:
        """Return the methods of the extension."""
        versions = frozenset(MODERN_PROTOCOL_VERSIONS)
        handlers = {"get": self._get, "update": self._update, "cancel": self._cancel}
        return [
            MethodBinding(f"tasks/{name}", _TaskParams, handler, versions)
            for name, handler in handlers.items()
        ]

    async def intercept_tool_call(
        self,
        params: CallToolRequestParams,
        ctx: ServerRequestContext[Any, Any],
        call_next: CallNext,
    ) -> HandlerResult:
        """Return a task immediately where the client would otherwise wait."""
        if params.name not in _TOOLS or not _declares_tasks(ctx):
            return await call_next(ctx)
        arguments = params.arguments or {}
        arguments = without_blanks(arguments, {"wait_s"})
        params.arguments = {**arguments, "wait_s": 0} if _is_valid_wait(arguments) else arguments
        result = await call_next(ctx)
        if not isinstance(result, CallToolResult) or result.is_error:
            return result
        state = result.structured_content or {}
        if state.get("state") != RUNNING:
            return result
        status = await self._status(str(state["run_id"]))
        return {"resultType": "task", **_task(status)}

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: Any) -> HandlerResult:
        _require_tasks(ctx)
        status = await self._status(params.task_id)
        task = {"resultType": "complete", **_task(status)}
        if task["status"] == "completed":
            task["result"] = await self._result(status.run_id)
        return task

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: Any) -> HandlerResult:
        """Acknowledge the update: tasks of this server never request input."""
        _require_tasks(ctx)
        await self._status(params.task_id)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: Any) -> HandlerResult:
        _require_tasks(ctx)
        status = await self._status(params.task_id)
        if _task(status)["status"] == "working":
            await self._access.call(lambda store: self._cancel_run(store, status.run_id))
        return {"resultType": "complete"}

    def _cancel_run(self, store: Store, run_id: str) -> None:
        store.run(run_id).cancel()
        self._workers.start(store, Order(run_id, store.url))

    async def _status(self, task_id: str) -> RunStatus:
        try:
            return await self._access.call(lambda store: _exact_status(store, task_id))
        except ToolError as error:
            raise MCPError(INVALID_PARAMS, f"Unknown task: {error}") from error

    async def _result(self, run_id: str) -> dict[str, Any]:
        report = self._workers.report_of(run_id)
        state = await self._access.call(
            lambda store: without_surrogates(run_state(store, run_id, report, is_read_only=False))
        )
        content = [{"type": "text", "text": to_json(state)}]
        return {"resultType": "complete", "content": content, "structuredContent": dict(state)}


def _is_valid_wait(arguments: dict[str, Any]) -> bool:
    """Whether the client's ``wait_s`` is valid; the tool itself refuses an invalid one."""
    wait_s = arguments.get("wait_s", 0)
    return isinstance(wait_s, int | float) and wait_s >= 0


def _exact_status(store: Store, task_id: str) -> RunStatus:
    status = store.run(task_id).status()
    if status.run_id != task_id:
        msg = f"Task {task_id!r} does not exist."
        raise LedgerNotFound(msg, hint="The id of a task is the full id of its run.")
    return status


def _task(status: RunStatus) -> dict[str, Any]:
    created = status.created_at or datetime.now(UTC)
    words = {RUNNING: "working", CANCELLED: "cancelled"}
    return {
        "taskId": status.run_id,
        "status": words.get(status.state, "completed"),
        "statusMessage": f"{status.state} after {status.events} events",
        "createdAt": created.isoformat(),
        "lastUpdatedAt": (status.updated_at or created).isoformat(),
        "ttlMs": None,
        "pollIntervalMs": _POLL_MS,
    }


def _declares_tasks(ctx: ServerRequestContext[Any, Any]) -> bool:
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return False
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and _ID in (capabilities.extensions or {})


def _require_tasks(ctx: ServerRequestContext[Any, Any]) -> None:
    if not _declares_tasks(ctx):
        msg = f"The client did not declare the extension {_ID}."
        needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {_ID: {}}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, msg, needed)
