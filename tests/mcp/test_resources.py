"""Resources, what tells of their updates, and prompts."""

import json
from typing import Any, Literal

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference

from mcp_host import HANG_SECONDS, MODES, Place, calling

both_modes = pytest.mark.parametrize("mode", MODES)


async def read(client: Client, uri: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(uri)).contents
    assert content.mime_type == "application/json"
    found: dict[str, Any] = json.loads(getattr(content, "text", ""))
    return found


@both_modes
def test_every_fact_of_a_run_has_an_address(place: Place, mode: Literal["auto", "legacy"]) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="plain", wait_s=45))["run_id"]
        listed = [str(each.uri) for each in (await client.list_resources()).resources]
        assert listed == ["kando://runs"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == [
            "kando://runs/{run_id}",
            "kando://runs/{run_id}/events{?after,limit}",
            "kando://runs/{run_id}/world",
        ]
        assert all(each.description for each in templates)

        runs = await read(client, "kando://runs")
        assert [item["run_id"] for item in runs["items"]] == [run_id]
        assert (await read(client, f"kando://runs/{run_id}"))["state"] == "finished"
        events = await read(client, f"kando://runs/{run_id}/events?after=1&limit=2")
        assert [e["position"] for e in events["events"]] == [1, 2]
        assert events["next_after"] == 3
        rest = await read(client, f"kando://runs/{run_id}/events?after=3")
        assert (rest["events"][-1]["position"], rest["next_after"]) == (5, None)
        world = await read(client, f"kando://runs/{run_id}/world")
        assert [o["id"] for o in world["objects"]] == ["goal", "step"]
        with pytest.raises(MCPError, match="nearest ids") as missing:
            await client.read_resource("kando://runs/nope/world")
        assert missing.value.error.code == -32602
        with pytest.raises(MCPError, match="limit must be a number from 0, not 'x'") as wrong:
            await client.read_resource(f"kando://runs/{run_id}/events?limit=x")
        assert wrong.value.error.code == -32602

    place.within(story, mode=mode)


def test_a_client_that_listens_is_told_when_a_run_has_grown(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="gate", wait_s=0))["run_id"]
        uri = f"kando://runs/{run_id}/world"
        async with client.listen(resource_subscriptions=[uri]) as updates:
            place.open_gate()
            async for update in updates:
                assert getattr(update, "uri", None) == uri
                if (await read(client, f"kando://runs/{run_id}"))["state"] == "finished":
                    break

    place.within(story)


@pytest.mark.filterwarnings("ignore:resources/(un)?subscribe:mcp.MCPDeprecationWarning")
def test_an_older_client_that_subscribed_is_told_as_well(place: Place) -> None:
    told: list[str] = []
    is_told = anyio.Event()

    async def handler(message: Any) -> None:
        nonlocal is_told
        if type(message).__name__ == "ResourceUpdatedNotification":
            told.append(str(message.params.uri))
            is_told.set()

    async def story() -> None:
        nonlocal is_told
        async with Client(place.parameters(), mode="legacy", message_handler=handler) as client:
            await client.subscribe_resource("kando://runs")
            state = await calling(client)("start_run", kit="tiny", goal="plain", wait_s=45)
            await is_told.wait()
            assert set(told) == {"kando://runs"}

            await client.unsubscribe_resource("kando://runs")
            told.clear()
            is_told = anyio.Event()
            await client.subscribe_resource(f"kando://runs/{state['run_id']}")
            await calling(client)("cancel_run", run_id=state["run_id"])
            await is_told.wait()
            assert set(told) == {f"kando://runs/{state['run_id']}"}

    async def in_time() -> None:
        with anyio.fail_after(HANG_SECONDS):
            await story()

    anyio.run(in_time)


@both_modes
def test_prompts_are_described_and_name_what_they_are_about(
    place: Place, mode: Literal["auto", "legacy"]
) -> None:
    async def story(client: Client) -> None:
        prompts = (await client.list_prompts()).prompts
        assert [p.name for p in prompts] == ["debug_run", "compare_branches", "explain_result"]
        tools = {tool.name for tool in (await client.list_tools()).tools}
        for prompt in prompts:
            assert prompt.description
            arguments = {a.name: f"<{a.name}>" for a in prompt.arguments or []}
            assert all(a.description and a.required for a in prompt.arguments or [])
            (message,) = (await client.get_prompt(prompt.name, arguments)).messages
            text = getattr(message.content, "text", "")
            assert all(value in text for value in arguments.values())
            assert any(tool in text for tool in tools)

    place.within(story, mode=mode)


@both_modes
def test_a_wrong_request_for_a_prompt_is_told_what_is_wrong(
    place: Place, mode: Literal["auto", "legacy"]
) -> None:
    async def story(client: Client) -> None:
        for name, arguments, said in (
            ("debug", {}, "There is no prompt 'debug'. There is: debug_run,"),
            ("compare_branches", {"run_a": "x"}, "needs run_a, run_b; run_b is missing"),
        ):
            with pytest.raises(MCPError, match=said) as refused:
                await client.get_prompt(name, arguments)
            assert refused.value.error.code == -32602

    place.within(story, mode=mode)


def test_the_beginning_of_a_run_id_is_completed(place: Place) -> None:
    async def story(client: Client) -> None:
        run_id = (await calling(client)("start_run", kit="tiny", goal="plain"))["run_id"]

        async def completed(name: str, value: str) -> list[str]:
            ref = PromptReference(type="ref/prompt", name="debug_run")
            found = await client.complete(ref, {"name": name, "value": value})
            return found.completion.values

        assert await completed("run_id", run_id[:3]) == [run_id]
        assert await completed("run_id", "0nothing") == []
        assert await completed("other", run_id[:3]) == []

    place.within(story)
