"""@modelcontextprotocol/conformance: every server scenario that needs no fixture passes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Excluded scenarios with the reason. All others must pass.
_TOOL = "calls a fixture tool, test_*, which a server for users does not have"
_PROMPT = "gets a fixture prompt, test_*"
_RESOURCE = "reads a fixture resource, test://..."
_ASKS = "calls a fixture tool that asks the client; no tool of kando-mcp asks"
EXCLUDED = {
    "tools-call-simple-text": f"{_TOOL}; it passes without one, so its result means nothing",
    "tools-call-error": f"{_TOOL}; it passes without one, so its result means nothing",
    "tools-call-image": _TOOL,
    "tools-call-audio": _TOOL,
    "tools-call-embedded-resource": _TOOL,
    "tools-call-mixed-content": _TOOL,
    "tools-call-with-logging": f"{_TOOL}; logging is deprecated, kando-mcp logs to stderr",
    "logging-set-level": "logging is deprecated, kando-mcp logs to stderr",
    "tools-call-with-progress": _TOOL,
    "tools-call-sampling": _ASKS,
    "tools-call-elicitation": _ASKS,
    "elicitation-sep1034-defaults": _ASKS,
    "elicitation-sep1330-enums": _ASKS,
    "json-schema-2020-12": _TOOL,
    "server-sse-polling": f"{_TOOL}; streams that can be resumed are optional",
    "resources-read-text": _RESOURCE,
    "resources-read-binary": _RESOURCE,
    "resources-templates-read": _RESOURCE,
    "prompts-get-simple": _PROMPT,
    "prompts-get-with-args": _PROMPT,
    "prompts-get-embedded-resource": _PROMPT,
    "prompts-get-with-image": _PROMPT,
    "http-custom-header-server-validation": "needs a tool with x-mcp-header annotations",
    "input-required-result-basic-elicitation": _ASKS,
    "input-required-result-basic-sampling": _ASKS,
    "input-required-result-basic-list-roots": _ASKS,
    "input-required-result-request-state": _ASKS,
    "input-required-result-multiple-input-requests": _ASKS,
    "input-required-result-multi-round": _ASKS,
    "input-required-result-non-tool-request": _ASKS,
    "input-required-result-result-type": _ASKS,
    "input-required-result-tampered-state": _ASKS,
    "input-required-result-capability-check": _ASKS,
}
# Checks that need a fixture, in scenarios that are not excluded.
EXCLUDED_CHECKS = {
    "sep-2575-server-rejects-undeclared-capability": _TOOL,
    "sep-2575-missing-capability-http-400": _TOOL,
}
PASSES = {
    "2025-11-25": {
        "completion-complete",
        "dns-rebinding-protection",
        "ping",
        "prompts-list",
        "resources-list",
        "resources-subscribe",
        "resources-unsubscribe",
        "server-initialize",
        "server-session-lifecycle",
        "server-sse-multiple-streams",
        "tools-list",
    },
    "2026-07-28": {
        "caching",
        "completion-complete",
        "dns-rebinding-protection",
        "http-header-validation",
        "input-required-result-ignore-extra-params",
        "input-required-result-missing-input-response",
        "input-required-result-unsupported-methods",
        "input-required-result-validate-input",
        "prompts-list",
        "resources-list",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "server-stateless",
        "tools-list",
    },
}


# The tool cannot send a token.
WITHOUT_TOKEN = """
import os
import kando_mcp.http
from kando_mcp.settings import Settings

kando_mcp.http.TokenRequired = lambda app, token: app
kando_mcp.http.serve_http(os.environ, Settings(), 0)
"""


@pytest.fixture
def url(environ: dict[str, str], tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-P", "-c", WITHOUT_TOKEN]
    with subprocess.Popen(
        command, env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        yield server.stderr.readline().strip()
        server.terminate()


@pytest.mark.parametrize("revision", PASSES)
def test_every_scenario_that_needs_no_fixture_passes(
    url: str, revision: str, environ: dict[str, str], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    command = ["conformance", "server", "--url", url, "--suite", "all"]
    command += ["--spec-version", revision, "--output-dir", str(results)]
    subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, timeout=600)

    failed, run = failures(results)

    # A new scenario must be added to one of the lists.
    assert run - set(EXCLUDED) == PASSES[revision]
    assert {name: failed[name] for name in PASSES[revision] & failed.keys()} == {}
    passed = sum(len(checks(folder)) for folder in results.iterdir())
    print(f"\n{revision}: {len(PASSES[revision])} scenarios pass, of {passed} checks in all")


def failures(results: Path) -> tuple[dict[str, list[str]], set[str]]:
    """Return the failures by scenario, and all scenarios that ran."""
    failed: dict[str, list[str]] = {}
    run = set()
    for folder in results.iterdir():
        # server-NAME-YEAR-MM-DDTHH-MM-SS-mmmZ
        name = folder.name.removeprefix("server-").rsplit("-", 6)[0]
        run.add(name)
        bad = [
            f"{check['id']}: {check.get('errorMessage')}"
            for check in checks(folder)
            if check["status"] == "FAILURE" and check["id"] not in EXCLUDED_CHECKS
        ]
        if bad:
            failed[name] = bad
    return failed, run


def checks(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "checks.json").read_text())
    return found
