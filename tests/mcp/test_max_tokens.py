"""The limit on the tokens of an answer: of the kit, the environment, the client and the operator."""

import pytest
from mcp import Client

from kando_mcp.settings import Settings, operator_limits
from mcp_host import Place, calling, refusal

OPTIONS = '{"max_tokens": 50}'


@pytest.mark.parametrize(
    ("given", "options", "operators", "sent"),
    [
        (None, "", None, "None"),
        (77, "", None, "77"),
        (None, OPTIONS, None, "50"),
        (77, OPTIONS, None, "77"),
        (77, OPTIONS, 60, "60"),
        (40, OPTIONS, 60, "40"),
        (None, OPTIONS, 60, "60"),
    ],
)
def test_a_client_overrides_the_environment_and_the_operator_both(
    place: Place, given: int | None, options: str, operators: int | None, sent: str
) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        arguments = {"kit": "tiny", "goal": "ask why", "llm": "echoing", "wait_s": 45}
        run = await call("start_run", **arguments, max_tokens=given)
        assert await text_of(client, run["run_id"]) == sent

    place.within(
        story, Settings(limits=operator_limits(max_tokens=operators)), KANDO_LLM_OPTIONS=options
    )


def test_resumed_runs_and_branches_have_the_limit_too(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        waiting = await call("start_run", kit="tiny", goal="ask why", wait_s=45)
        run_id = waiting["run_id"]
        limited = {"llm": "echoing", "max_tokens": 33, "wait_s": 45}
        branch = await call("fork_run", run_id=run_id, fork_at=2, **{"continue": True}, **limited)
        assert await text_of(client, branch["branch_id"]) == "33"
        await call("resume_run", run_id=run_id, **limited)
        assert await text_of(client, run_id) == "33"
        text = await refusal(client, "resume_run", run_id=run_id, max_tokens=0)
        assert "max_tokens" in text

    place.within(story)


async def text_of(client: Client, run_id: str) -> str:
    world = await calling(client)("query_world", run_id=run_id, type="Step")
    text: str = world["objects"][0]["data"]["text"]
    return text
