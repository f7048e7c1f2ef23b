"""The server on loopback: both eras of the protocol, for clients that have the token."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

from mcp_host import HANG_SECONDS, MODES, Place, calling

TOKEN = "KANDO_MCP_TOKEN"
GIVEN = "a-token-of-24-characters"

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@contextmanager
def served(place: Place, **environ: str) -> Iterator[tuple[str, str]]:
    """Start a server, and yield its URL and its token; it prints the token once, and no other."""
    command = [sys.executable, "-P", "-m", "kando_mcp.main", "--http"]
    with subprocess.Popen(
        command,
        env={**place.environ, **environ},
        cwd=place.root,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        url, token = (server.stderr.readline().strip() for _ in range(2))
        token = token.removeprefix("Token: ")
        try:
            yield url, token
        finally:
            server.terminate()
            rest = server.stderr.read()
        assert server.wait(HANG_SECONDS) == 0
        assert token not in rest
        assert GIVEN not in rest


def asked(
    url: str, body: str | None = None, method: str = "POST", **headers: str
) -> http.client.HTTPResponse:
    """Initialize as a client of 2025-11-25 does, or send another body."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=HANG_SECONDS)
    given = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Connection": "close",
        **headers,
    }
    connection.request(method, address.path, body or json.dumps(INITIALIZE), given)
    return connection.getresponse()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_http_serves_both_eras_on_loopback_to_local_clients_only(place: Place) -> None:
    with served(place) as (url, token):
        address = urlsplit(url)
        assert address.hostname == "127.0.0.1"

        async def story() -> None:
            for mode in MODES:
                async with create_mcp_http_client(headers=bearer(token)) as authorized:
                    transport: Any = streamable_http_client(url, http_client=authorized)
                    async with Client(transport, mode=mode) as client:
                        arguments = {"kit": "tiny", "goal": "plain", "wait_s": 45}
                        state = await calling(client)("start_run", **arguments)
                        assert state["state"] == "finished"

        anyio.run(story)
        here = f"http://127.0.0.1:{address.port}"
        expected = {
            (): 200,
            (("Origin", here),): 200,
            (("Host", f"localhost:{address.port}"),): 200,
            (("Host", "example.com"),): 421,
            (("Host", f"example.com:{address.port}"),): 421,
            (("Host", "127.0.0.1:1"),): 421,
            (("Origin", "http://example.com"),): 403,
            (("Origin", "null"),): 403,
            (("Origin", f"{here}.example.com"),): 403,
        }
        for headers, status in expected.items():
            assert asked(url, **bearer(token), **dict(headers)).status == status


def test_each_request_needs_the_token_that_is_printed_at_the_start(place: Place) -> None:
    with served(place) as (url, token):
        assert len(token) > 40
        refused = [
            {},
            bearer(""),
            bearer(token[:-1]),
            bearer(token + "x"),
            bearer(token.swapcase()),
        ]
        refused += [{"Authorization": token}, {"Authorization": f"Basic {token}"}, bearer("\xff")]
        for headers in refused:
            for method in ("POST", "GET", "DELETE"):
                answer = asked(url, method=method, **headers)
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == 'Bearer realm="kando-mcp"'
                assert "token" in json.loads(answer.read())["message"]
        assert asked(f"{url}?token={token}").status == 401
        assert asked(url.replace("/mcp", "/other")).status == 401
        assert asked(url, Authorization=f"bearer {token}").status == 200
    with served(place) as (_, other):
        assert other != token


def test_the_token_may_be_named_in_the_environment_and_reaches_nothing_else(place: Place) -> None:
    with served(place, **{TOKEN: GIVEN}) as (url, printed):
        assert printed == f"in {TOKEN}"
        assert asked(url, **bearer("x" * 24)).status == 401

        async def story() -> None:
            async with create_mcp_http_client(headers=bearer(GIVEN)) as authorized:
                transport: Any = streamable_http_client(url, http_client=authorized)
                async with Client(transport) as client:
                    arguments = {"kit": "tiny", "goal": f"reveal {TOKEN}", "wait_s": 45}
                    run = await calling(client)("start_run", **arguments)
                    world = await calling(client)("query_world", run_id=run["run_id"])
                    steps = [each for each in world["objects"] if each["type"] == "Revealed"]
                    assert [each["data"]["value"] for each in steps] == [None]

        anyio.run(story)
    written = [path.read_bytes() for path in place.root.rglob("*") if path.is_file()]
    assert not any(GIVEN.encode() in each for each in written)


@pytest.mark.parametrize("token", ["short", "with a space in the middle", "tööööööööööööööööken"])
def test_a_token_that_no_client_can_send_is_refused_at_the_start(place: Place, token: str) -> None:
    command = [sys.executable, "-P", "-m", "kando_mcp.main", "--http"]
    environ = {**place.environ, TOKEN: token}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert ended.returncode == 1
    assert TOKEN in ended.stderr
    assert token not in ended.stderr


def test_a_body_that_is_not_a_message_is_answered_with_an_error(place: Place) -> None:
    with served(place) as (url, token):
        call = json.dumps({**INITIALIZE, "params": {"x": "\ud800"}})
        for body in ("nonsense", "[1]", "{}", call, "[" * 5_000):
            answer = asked(url, body, **bearer(token))
            assert answer.status == 400
            assert json.loads(answer.read())["error"]["code"] in (-32700, -32600, -32602)
        assert asked(url, **bearer(token)).status == 200
