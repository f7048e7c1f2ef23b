"""The tool that puts a question or an approval of a run to the person at the client."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from mcp.server.elicitation import (
    AcceptedElicitation,
    ElicitationResult,
    render_elicitation_schema,
)
from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.server.mcpserver.tools import Tool
from mcp_types import ClientCapabilities
from pydantic import BaseModel, ConfigDict, Field, create_model

from kando.app.store import Store
from kando.errors import EventNotFound
from kando.views.approvals import Approval
from kando.views.questions import Question
from kando_mcp.access import Access
from kando_mcp.results.approvals import approval_shape
from kando_mcp.results.paging import truncate
from kando_mcp.results.shapes import RunState
from kando_mcp.tools.make import make_tool, write_annotations
from kando_mcp.tools.start import BudgetUsd, Llm, MaxTokens
from kando_mcp.tools.wait import DEFAULT_WAIT_SECONDS, RunId, WaitSeconds, wait_for_run
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.start import ensure_worker

__all__ = ["ask_tool"]

#: Characters of a question, and of the description of a field, that a form shows.
_CHARS, _FIELD_CHARS = 2_000, 200

EventId = Annotated[
    str | None,
    Field(description="event_id of a question or an approval; the first one if omitted."),
]

#: Types of the fields of a form, by the type in a JSON Schema.
_FIELD_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool}

_BY = "mcp"


class Decision(BaseModel):
    """A person's decision on an approval."""

    approved: bool = Field(description="Whether it may happen.")
    reason: str | None = Field(None, max_length=2_000, description="Reason for a denial.")


def ask_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that asks the person at the client."""

    async def form(ctx: Context, run_id: RunId, event_id: EventId) -> Elicit[BaseModel]:
        _check_forms(ctx.client_capabilities)
        return await access.call(lambda store: _form(store, run_id, event_id))

    async def ask_person(
        ctx: Context,
        run_id: RunId,
        outcome: Any,
        event_id: EventId = None,
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
        max_tokens: MaxTokens = None,
    ) -> RunState:
        """Show the person a form with a run's open question or approval, and record the answer.

        The answer comes from the person, never from you, and the run resumes with it. A person who
        declines has decided nothing.
        """
        if not isinstance(outcome, AcceptedElicitation):
            msg = f"The person gave no answer (the client says {outcome.action}); it stays pending."
            raise ToolError(msg)

        def record(store: Store) -> str:
            run = store.run(run_id)
            asked = _asked(store, run_id, event_id)
            if isinstance(asked, Question):
                run.reply(asked.event_id, _reply(asked, outcome.data), by=_BY)
            elif outcome.data.approved:
                run.approve(asked.event_id, by=_BY)
            else:
                run.deny(asked.event_id, reason=outcome.data.reason, by=_BY)
            return ensure_worker(access, workers, store, run.id, llm, budget_usd, max_tokens)

        known = await access.call(record)
        return await wait_for_run(access, workers, known, wait_s, ctx)

    answer = Annotated[ElicitationResult[BaseModel], Resolve(form)]
    ask_person.__annotations__["outcome"] = answer
    annotations = write_annotations(is_destructive=True, is_open_world=True)
    return make_tool(ask_person, "Ask the person", annotations)


def _check_forms(capabilities: ClientCapabilities | None) -> None:
    """Refuse a client without forms, in words that a model can follow."""
    forms = capabilities.elicitation if capabilities is not None else None
    # A client without modes knows forms only.
    if forms is None or (forms.form is None and forms.url is not None):
        msg = (
            "This client shows no forms. Ask the person in your own words, then call answer_request "
            "with the reply, or answer_approval with the decision."
        )
        raise ToolError(msg)


def _asked(store: Store, run_id: str, event_id: str | None) -> Question | Approval:
    """Return what a form is about: the named question or approval, or the first of a run."""
    run = store.run(run_id)
    waiting: list[Question | Approval] = [*run.questions(), *run.approvals()]
    found = [each for each in waiting if event_id in (None, each.event_id)]
    if not found:
        msg = f"Run {run.id} has no open question or approval{f' {event_id}' if event_id else ''}."
        raise EventNotFound(msg, hint="get_run lists the questions and the pending approvals.")
    return found[0]


def _form(store: Store, run_id: str, event_id: str | None) -> Elicit[BaseModel]:
    asked = _asked(store, run_id, event_id)
    run = store.run(run_id)
    if isinstance(asked, Question):
        text = truncate(asked.question, _CHARS)
        return Elicit(f"Run {run.id} asks:\n\n{text}", _model_of(asked))
    shown = approval_shape(store, run_id, asked)
    waiting = truncate(json.dumps(shown["waiting"], ensure_ascii=False), _CHARS)
    text = f"Run {run.id} waits for your approval. {shown['reason']}\n\n{waiting}"
    return Elicit(text, Decision)


def _reply(asked: Question, given: BaseModel) -> Any:
    """Return the reply that a form holds."""
    values = given.model_dump(exclude_none=True)
    return values if _is_object(asked.schema) else values["answer"]


def _is_object(schema: dict[str, Any] | None) -> bool:
    return schema is not None and isinstance(schema.get("properties"), dict)


def _model_of(asked: Question) -> type[BaseModel]:
    """Return the fields of a form: those of an object, else one with the name ``answer``.

    Raises:
        ToolError: a form cannot have such a field; it has texts, numbers, choices and yes or no.
    """
    schema = asked.schema or {"type": "string"}
    if not _is_object(schema):
        return _model({"answer": schema}, {"answer"}, asked)
    return _model(schema["properties"], set(schema.get("required", ())), asked)


def _model(fields: dict[str, Any], required: set[str], asked: Question) -> type[BaseModel]:
    typed: dict[str, Any] = {}
    for name, schema in fields.items():
        found = _type_of(schema)
        if found is None:
            raise _no_form(asked)
        about = schema.get("description")
        described = truncate(about, _FIELD_CHARS) if isinstance(about, str) else None
        kind = found if name in required else found | None
        default = ... if name in required else None
        typed[name] = (kind, Field(default, description=described))
    try:
        model: type[BaseModel] = create_model(
            "Reply", __config__=ConfigDict(extra="forbid"), **typed
        )
        render_elicitation_schema(model)
    except (TypeError, NameError, ValueError) as error:
        raise _no_form(asked) from error
    return model


def _type_of(schema: Any) -> Any:
    """Return the type of a field, None if a form has no such field."""
    if not isinstance(schema, dict):
        return None
    choices = schema.get("enum")
    if isinstance(choices, list):
        are_texts = bool(choices) and all(isinstance(each, str) for each in choices)
        return Literal[tuple(choices)] if are_texts else None
    return _FIELD_TYPES.get(str(schema.get("type")))


def _no_form(asked: Question) -> ToolError:
    msg = (
        f"The reply to {asked.event_id} does not fit into a form. Ask the person in your own words, "
        "then call answer_request with a reply that matches the schema of the question."
    )
    return ToolError(msg)
