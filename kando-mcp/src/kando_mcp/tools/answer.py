"""The tool that answers an open request by hand, instead of a model or a tool."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from pydantic import Field

from kando.app.store import Store
from kando.errors import InvalidData
from kando_mcp.access import Access
from kando_mcp.results.shapes import RunState
from kando_mcp.tools.make import make_tool, write_annotations
from kando_mcp.tools.start import BudgetUsd, Llm, MaxTokens
from kando_mcp.tools.wait import DEFAULT_WAIT_SECONDS, RunId, WaitSeconds, wait_for_run
from kando_mcp.worker.pool import Workers
from kando_mcp.worker.start import ensure_worker

__all__ = ["request_tool"]

RequestId = Annotated[
    str, Field(description="Id of an unanswered llm.request, tool.called or person.asked.")
]
Text = Annotated[str | None, Field(description="Answer to an llm.request.")]
Data = Annotated[Any, Field(description="Answer to an llm.request with an output_schema.")]
Result = Annotated[Any, Field(description="Result of a tool.called.")]
Reply = Annotated[Any, Field(description="The person's answer to a person.asked.")]
Error = Annotated[str | None, Field(description="Why the request has no answer.")]


def request_tool(access: Access, workers: Workers) -> Tool:
    """Return the tool that answers a request by hand."""

    async def answer_request(
        ctx: Context,
        run_id: RunId,
        request_id: RequestId,
        text: Text = None,
        data: Data = None,
        result: Result = None,
        reply: Reply = None,
        error: Error = None,
        wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS,
        budget_usd: BudgetUsd = None,
        llm: Llm = None,
        max_tokens: MaxTokens = None,
    ) -> RunState:
        """Answer a request instead of the model or tool, which is then not called.

        Give one of text, data, result, reply and error. If the request waits for approval, only with the
        words of the person. The run resumes with it.
        """

        def answer(store: Store) -> str:
            answers = {"text": text, "data": data, "result": result, "reply": reply, "error": error}
            # Clients send null for an argument that they leave out.
            given = {name: value for name, value in answers.items() if value is not None}
            run = store.run(run_id)
            if reply is not None:
                if len(given) > 1:
                    msg = f"A request has one answer, not {' and '.join(given)}."
                    raise InvalidData(msg, hint="Give one of text, data, result, reply and error.")
                run.reply(request_id, reply, by="mcp")
            else:
                run.answer(request_id, **given, by="mcp")
            return ensure_worker(access, workers, store, run.id, llm, budget_usd, max_tokens)

        known = await access.call(answer)
        return await wait_for_run(access, workers, known, wait_s, ctx)

    annotations = write_annotations(is_destructive=True, is_open_world=True)
    return make_tool(answer_request, "Answer request", annotations)
