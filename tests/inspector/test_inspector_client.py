"""A TypeScript client that is generated from the OpenAPI document works against a server.

It needs node and the packages of tests/inspector/client, which `make test-rest-client` installs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from inspector_server import process, worked_kit
from kando.app.store import open_store

CLIENT = Path(__file__).parent / "client"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENT / "node_modules").exists(),
    reason="node, or what `make test-rest-client` installs, is missing",
)


def node(script: str, *arguments: str, cwd: Path) -> str:
    command = ["node", str(CLIENT / "node_modules" / script), *arguments]
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_generated_client_reads_runs(tmp_path: Path) -> None:
    url, built = f"sqlite:{tmp_path / 'kando.db'}", tmp_path / "client"
    shutil.copytree(CLIENT, built, ignore=shutil.ignore_patterns("node_modules"))
    os.symlink(CLIENT / "node_modules", built / "node_modules")
    with open_store(url, kits=[worked_kit()], environ={}) as store:
        run = store.start("worked", "Compare two cities")
        expected = [each.id for each in run.events()]
    with process(tmp_path, KANDO_LEDGER=url) as (client, address):
        document = client.get("/api/v1/openapi.json")
        (built / "openapi.json").write_bytes(document.content)
        generated = "openapi-typescript/bin/cli.js"
        node(generated, "openapi.json", "--output", "schema.d.ts", cwd=built)
        node("typescript/bin/tsc", "--project", ".", cwd=built)
        token = client.headers["authorization"].removeprefix("Bearer ")
        words = ["node", "client.js", address.partition("/#")[0], token, run.id]
        ended = subprocess.run(words, cwd=built, capture_output=True, text=True, timeout=300)

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "role": "act",
        "events": expected,
        "objects": ["goal"],
        "city": "Bern",
        "missing": "run_not_found",
    }
