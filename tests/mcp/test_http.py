"""The server on loopback: both eras of the protocol, and no access for web pages in a browser."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import anyio
import pytest
from mcp import Client

from mcp_host import HANG_SECONDS, MODES, Place, calling


@pytest.fixture
def url(place: Place) -> Iterator[str]:
    command = [sys.executable, "-P", "-m", "kando_mcp.main", "--http"]
    with subprocess.Popen(
        command, env=place.environ, cwd=place.root, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        yield server.stderr.readline().strip()
        server.terminate()


def status_of(url: str, **headers: str) -> int:
    """Initialize as a client of 2025-11-25 does."""
    address = urlsplit(url)
    assert address.hostname is not None
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=HANG_SECONDS)
    try:
        given = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **headers,
        }
        connection.request("POST", address.path, json.dumps(body), given)
        return connection.getresponse().status
    finally:
        connection.close()


def test_http_serves_both_eras_on_loopback_to_local_clients_only(url: str) -> None:
    address = urlsplit(url)
    assert address.hostname == "127.0.0.1"

    async def story() -> None:
        for mode in MODES:
            with anyio.fail_after(HANG_SECONDS):
                async with Client(url, mode=mode) as client:  # type: ignore[arg-type]
                    state = await calling(client)("start_run", kit="tiny", goal="plain", wait_s=45)
                    assert state["state"] == "finished"

    anyio.run(story)
    here = f"http://127.0.0.1:{address.port}"
    assert status_of(url) == 200
    assert status_of(url, Origin=here) == 200
    assert status_of(url, Host=f"localhost:{address.port}") == 200
    assert status_of(url, Host="example.com") == 421
    assert status_of(url, Host=f"example.com:{address.port}") == 421
    assert status_of(url, Host="127.0.0.1:1") == 421
    assert status_of(url, Origin="http://example.com") == 403
    assert status_of(url, Origin="null") == 403
    assert status_of(url, Origin=f"{here}.example.com") == 403
