"""The page as an MCP App: a host shows it in a sandboxed frame, and passes on a run from kando-mcp."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from playwright.sync_api import Page, expect

from kando.app.store import Store
from page_checks import watch

#: A host as the extension describes it: a frame without an origin, and messages.
HOST = """
<!doctype html><title>Host</title><body style="margin:0">
<script>
const frame = document.createElement("iframe");
frame.sandbox = "allow-scripts";
frame.style = "width:1200px;height:760px;border:0";
frame.srcdoc = HTML;
window.heard = [];
const send = (message) => frame.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
addEventListener("message", async ({ data, source }) => {
  if (source !== frame.contentWindow) return;
  window.heard.push(data.method);
  if (data.method === "ui/initialize") {
    const host = { protocolVersion: data.params.protocolVersion, hostInfo: { name: "host", version: "1" },
      hostCapabilities: { serverResources: {} }, hostContext: {} };
    send({ id: data.id, result: host });
  } else if (data.method === "ui/notifications/initialized") {
    send({ method: "ui/notifications/tool-input", params: { arguments: ARGUMENTS } });
  } else if (data.method === "resources/read") {
    send({ id: data.id, result: await window.readResource(data.params.uri) });
  }
});
document.body.append(frame);
</script>
"""


@pytest.fixture(scope="module")
def demo(store: Store) -> str:
    """Return the id of a finished run of the demo."""
    return store.start("diligence", "Evaluate Acme Corp", demo=True).id


def asked(environ: dict[str, str], method: str, *arguments: Any) -> Any:
    """Ask a new kando-mcp server, and return the answer as JSON."""
    found: list[Any] = []

    async def ask() -> None:
        server = StdioServerParameters(
            command=sys.executable, args=["-P", "-m", "kando_mcp.main"], env=environ
        )
        async with Client(server) as client:
            answer = await getattr(client, method)(*arguments)
            found.append(answer.model_dump(mode="json", by_alias=True, exclude_none=True))

    # Playwright runs a loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, ask).result()
    return found[0]


def test_a_host_shows_a_run(page: Page, served: Any, demo: str) -> None:
    tools = {each["name"]: each for each in asked(served.environ, "list_tools")["tools"]}
    uri = tools["show_run"]["_meta"]["ui"]["resourceUri"]
    shown = asked(served.environ, "call_tool", "show_run", {"run_id": f"{demo}@200"})
    (html,) = asked(served.environ, "read_resource", uri)["contents"]
    assert html["mimeType"] == "text/html;profile=mcp-app"
    assert shown["structuredContent"]["events"] == 200
    watched = watch(page)
    read: list[str] = []

    def read_resource(address: str) -> Any:
        read.append(address)
        return asked(served.environ, "read_resource", address)

    page.expose_function("readResource", read_resource)
    arguments = json.dumps({"run_id": f"{demo}@200"})
    text = json.dumps(html["text"]).replace("</", "<\\/")
    host = HOST.replace("HTML", text, 1).replace("ARGUMENTS", arguments, 1)
    page.route(
        "http://host.invalid/", lambda route: route.fulfill(body=host, content_type="text/html")
    )
    page.goto("http://host.invalid/")

    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Evaluate Acme Corp")).to_be_visible()
    expect(frame.get_by_role("slider")).to_have_attribute("max", "200")
    frame.get_by_role("tab", name="World").click()
    expect(frame.locator("#view")).to_contain_text("objects")
    assert read == [f"kando://runs/{demo}%40200/page"]
    assert watched.errors == []
    assert watched.foreign("http://host.invalid") == []
