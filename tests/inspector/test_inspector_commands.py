"""`kando serve` and `kando ui` print an address that works, and end when they are asked to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from inspector_server import TOKEN, process


def test_a_server_process_serves_the_page_and_the_runs(tmp_path: Path) -> None:
    with process(tmp_path) as (client, address):
        assert address.startswith("http://127.0.0.1:")
        assert client.get("/").headers["content-type"].startswith("text/html")
        assert client.get("/api/v1/runs").json() == {"items": [], "next": None}
        assert client.get("/api/v1/runs/demo/world").json()["position"] == 3
        assert client.get("/api/v1/runs", headers={"authorization": ""}).status_code == 401
        assert "server" not in client.get("/").headers
    # A server that only reads creates no file.
    assert not (tmp_path / "data").exists()


def test_a_token_that_was_given_is_not_printed(tmp_path: Path) -> None:
    with process(tmp_path, KANDO_INSPECTOR_TOKEN=TOKEN) as (client, address):
        assert "#" not in address
        assert client.get("/api/v1/session").json()["role"] == "act"


def test_the_page_starts_with_a_run(tmp_path: Path) -> None:
    with process(tmp_path, "demo", "--no-browser", command="ui") as (client, address):
        assert address.endswith("&run=demo")
        assert client.get("/api/v1/session").json()["role"] == "act"


def test_wrong_options_are_refused_before_the_server_starts(tmp_path: Path) -> None:
    for words, code, message in (
        (["serve", "--host", "0.0.0.0"], 2, "there is no token"),
        (["serve", "--token", "short"], 2, "fewer than 16"),
        (["ui", "none", "--no-browser"], 3, "no run 'none'"),
        (["serve", "--host", "203.0.113.7", "--token", TOKEN], 2, "cannot be listened on"),
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "kando.cli.main", "--ledger", f"sqlite:{tmp_path}/x.db", *words],
            capture_output=True,
            text=True,
            timeout=120,
        )

        assert ended.returncode == code, ended.stderr
        assert message in ended.stderr


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, kando_inspector.plugin as plugin; plugin.kando_commands(); "
        "print([m for m in ('starlette', 'uvicorn', 'anyio', 'kando.app.store') if m in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )

    assert ended.stdout == "[]\n", ended.stderr
