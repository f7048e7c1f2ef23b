"""Resources, subscriptions to them, and prompts."""

import json
from typing import Any, Literal

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference

from kando.app.store import open_store
from kando_mcp.app import has_page
from mcp_host import HANG_SECONDS, MODES, Place, calling

both_modes = pytest.mark.parametrize("mode", MODES)


async def read(client: Client, uri: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(uri)).contents
    assert content.mime_type == "application/json"
    found: dict[str, Any] = json.loads(getattr(content, "text", ""))
    return found


@both_modes
def test_runs_events_and_worlds_are_resources(
    place: Place, mode: Literal["auto", "legacy"]
) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="plain", wait_s=45))["run_id"]
        listed = [str(each.uri) for each in (await client.list_resources()).resources]
        assert listed == [*(["ui://kando/inspector.html"] if has_page() else []), "kando://runs"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == [
            "kando://runs/{run_id}",
            "kando://runs/{run_id}/events{?after,limit}",
            "kando://runs/{run_id}/world",
            *(["kando://runs/{run_id}/page"] if has_page() else []),
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
        with pytest.raises(
            MCPError, match="limit must be a non-negative integer, not 'x'"
        ) as wrong:
            await client.read_resource(f"kando://runs/{run_id}/events?limit=x")
        assert wrong.value.error.code == -32602

    place.within(story, mode=mode)


def test_a_listening_client_is_notified_when_a_run_grows(place: Place) -> None:
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


def test_a_listening_client_is_notified_when_a_run_is_deleted(place: Place) -> None:
    async def story(client: Client) -> None:
        run_id = (await calling(client)("start_run", kit="tiny", goal="plain", wait_s=45))["run_id"]
        uris = ["kando://runs", f"kando://runs/{run_id}"]
        async with client.listen(resource_subscriptions=uris) as updates:
            # The first poll notifies about every run.
            told = {getattr(await anext(updates), "uri", None) for _ in uris}
            assert told == {*uris}

            with open_store(environ=place.environ) as store:
                store.delete(run_id)

            told = {getattr(await anext(updates), "uri", None) for _ in uris}
            assert told == {*uris}
        with pytest.raises(MCPError, match="was deleted"):
            await client.read_resource(f"kando://runs/{run_id}")

    place.within(story)


@pytest.mark.filterwarnings("ignore:resources/(un)?subscribe:mcp.MCPDeprecationWarning")
def test_an_older_subscriber_is_notified_as_well(place: Place) -> None:
    updated: list[str] = []
    is_notified = anyio.Event()

    async def handler(message: Any) -> None:
        nonlocal is_notified
        if type(message).__name__ == "ResourceUpdatedNotification":
            updated.append(str(message.params.uri))
            is_notified.set()

    async def story() -> None:
        nonlocal is_notified
        async with Client(place.parameters(), mode="legacy", message_handler=handler) as client:
            await client.subscribe_resource("kando://runs")
            state = await calling(client)("start_run", kit="tiny", goal="plain", wait_s=45)
            await is_notified.wait()
            assert set(updated) == {"kando://runs"}

            await client.unsubscribe_resource("kando://runs")
            updated.clear()
            is_notified = anyio.Event()
            await client.subscribe_resource(f"kando://runs/{state['run_id']}")
            await calling(client)("cancel_run", run_id=state["run_id"])
            await is_notified.wait()
            assert set(updated) == {f"kando://runs/{state['run_id']}"}

    async def in_time() -> None:
        with anyio.fail_after(HANG_SECONDS):
            await story()

    anyio.run(in_time)


@both_modes
def test_prompts_are_described_and_contain_their_arguments(
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
def test_a_wrong_prompt_request_is_refused_with_the_reason(
    place: Place, mode: Literal["auto", "legacy"]
) -> None:
    async def story(client: Client) -> None:
        for name, arguments, reason in (
            ("debug", {}, "Unknown prompt 'debug'. The prompts are debug_run,"),
            ("compare_branches", {"run_a": "x"}, "requires run_a, run_b. Missing: run_b"),
        ):
            with pytest.raises(MCPError, match=reason) as refused:
                await client.get_prompt(name, arguments)
            assert refused.value.error.code == -32602

    place.within(story, mode=mode)


def test_a_prefix_of_a_run_id_is_completed(place: Place) -> None:
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
