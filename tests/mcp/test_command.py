"""The command kando-mcp, and the configuration that it writes for hosts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, StdioServerParameters

from kando_mcp.jsonc import parse, with_member
from mcp_host import Place, calling

PLACES = {
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "claude-code": ".mcp.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
}


def command(place: Place, *arguments: str, code: int = 0, **environ: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "kando_mcp.main", *arguments],
        env={**place.environ, "HOME": str(place.root), **environ},
        cwd=place.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_the_printed_configuration_starts_a_server_from_any_folder(place: Place) -> None:
    printed, _ = command(
        place,
        *("config", "--host", "cursor", "--", "--read-only"),
        KANDO_LEDGER="sqlite:here.sqlite",
        ANTHROPIC_API_KEY="a secret",
    )
    assert "a secret" not in printed
    server = json.loads(printed)["mcpServers"]["kando"]
    assert os.path.isabs(server["command"])
    assert server["env"]["KANDO_LEDGER"] == f"sqlite:{place.root}/here.sqlite"

    async def story() -> None:
        parameters = StdioServerParameters(
            command=server["command"], args=server["args"], env=server["env"], cwd="/"
        )
        async with Client(parameters) as client:
            assert (await calling(client)("list_runs"))["items"] == []
            assert "start_run" not in {tool.name for tool in (await client.list_tools()).tools}

    anyio.run(story)


def test_a_file_of_settings_is_read_and_a_malformed_one_is_refused(place: Place) -> None:
    file = place.root / ".config" / "kando" / "kando.toml"
    file.parent.mkdir(parents=True)
    file.write_text('ledger = "sqlite:mine.sqlite"\n[llm]\nprovider = "echo"\n')

    printed, _ = command(place, "config", "--host", "cursor", KANDO_LEDGER="", XDG_CONFIG_HOME="")

    environ = json.loads(printed)["mcpServers"]["kando"]["env"]
    assert environ["KANDO_LEDGER"] == f"sqlite:{file.parent}/mine.sqlite"
    assert environ["KANDO_LLM"] == "echo"
    file.write_text("[budget]\nevent = 3\n")
    _, said = command(place, code=2, XDG_CONFIG_HOME="")
    assert "line 2: there is no setting 'budget.event'. Did you mean budget.events?" in said


def test_the_ledger_is_written_as_an_absolute_path_and_never_with_a_password(place: Place) -> None:
    def configured(*options: str, **environ: str) -> tuple[dict[str, Any], str]:
        out, err = command(place, "config", "--host", "vscode", "--", *options, **environ)
        server: dict[str, Any] = json.loads(out)["servers"]["kando"]
        return server, out + err

    for options in (["--ledger", "sqlite:here.sqlite"], ["--ledger=sqlite:here.sqlite"]):
        server, _ = configured(*options, "--read-only")
        assert server["args"][-1] == "--read-only"
        assert "here.sqlite" not in str(server["args"])
        assert server["env"]["KANDO_LEDGER"] == f"sqlite:{place.root}/here.sqlite"
    for url in ("esdb://me:secret@host:2113", "postgresql://me:se@cret@host/db"):
        server, output = configured(KANDO_LEDGER=url)
        assert "KANDO_LEDGER" not in server["env"]
        assert "Set KANDO_LEDGER in the environment of the host" in output
        assert "cret@" not in output
    server, _ = configured(KANDO_LEDGER="esdb://host:2113?tls=false")
    assert server["env"]["KANDO_LEDGER"] == "esdb://host:2113?tls=false"


@pytest.mark.parametrize("host", PLACES)
def test_write_merges_into_the_hosts_file_and_changes_nothing_else(place: Place, host: str) -> None:
    path = place.root / PLACES[host]
    section = "servers" if host == "vscode" else "mcpServers"
    held: dict[str, Any] = {"other": [1, "ü"], section: {"theirs": {"command": "x"}, "kando": {}}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(held), encoding="utf-8")
    path.chmod(0o640)

    command(place, "config", "--host", host, "--write")

    merged = json.loads(path.read_text(encoding="utf-8"))
    printed = json.loads(command(place, "config", "--host", host)[0])
    assert merged == {
        "other": [1, "ü"],
        section: {"theirs": {"command": "x"}, "kando": printed[section]["kando"]},
    }
    assert path.stat().st_mode & 0o777 == 0o640
    assert "unchanged" in command(place, "config", "--host", host, "--write")[1]
    if host in ("vscode", "claude-code"):
        assert printed[section]["kando"]["type"] == "stdio"


def test_a_missing_file_is_created_and_a_malformed_one_is_left_unchanged(
    place: Place, tmp_path: Path
) -> None:
    made = tmp_path / "new" / "mcp.json"
    command(place, "config", "--host", "cursor", "--write", "--file", str(made))
    assert "kando" in json.loads(made.read_text())["mcpServers"]

    for text in ("[]", '{"mcpServers": []}', '{"mcpServers": {', "// nothing else\n"):
        made.write_text(text)
        _, error = command(
            place, "config", "--host", "cursor", "--write", "--file", str(made), code=1
        )
        assert str(made) in error
        assert "Traceback" not in error
        assert made.read_text() == text
        assert sorted(each.name for each in made.parent.iterdir()) == ["mcp.json"]


WITH_COMMENTS = """\ufeff// Shared "servers", {
{\r
\t"inputs": [1, /* two, */ 3,],
\t"servers": {
\t\t"theirs": {"command": "x", "args": ["// no comment", "\\\"/*"]}, // { mine
\t},
}
"""


def test_comments_and_trailing_commas_are_preserved(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(WITH_COMMENTS.encode())
    write = ("config", "--host", "vscode", "--write", "--file", str(file))
    for options in ((), ("--read-only",)):
        command(place, *write, "--", *options)
        written = file.read_bytes().decode()
        for line in WITH_COMMENTS.splitlines():
            assert line.split("}, //")[0] in written
        assert "{ mine" in written
        servers = parse(written)["servers"]
        assert servers["theirs"] == {"command": "x", "args": ["// no comment", '"/*']}
        assert servers["kando"]["args"][-len(options) :] == [*options] or not options
        assert '\t\t"kando": {' in written
    assert "unchanged" in command(place, *write, "--", "--read-only")[1]


names = st.text(max_size=6)
inside = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
)


@given(
    held=st.dictionaries(names, inside, max_size=3),
    section=st.none() | st.dictionaries(names, inside, max_size=3),
    value=inside,
    indent=st.sampled_from([None, 0, 2, "\t"]),
)
def test_setting_a_member_preserves_every_other_member(
    held: dict[str, Any], section: dict[str, Any] | None, value: Any, indent: int | str | None
) -> None:
    known = {**held, **({"servers": section} if section is not None else {})}
    if not isinstance(known.get("servers", {}), dict):
        return
    text = "/* one */" + json.dumps(known, indent=indent) + " // two"

    changed = with_member(text, ("servers", "kando"), value)

    assert parse(changed) == {**known, "servers": {**known.get("servers", {}), "kando": value}}
    assert changed.startswith("/* one */")
    assert changed.endswith(" // two")
    assert with_member(changed, ("servers", "kando"), value) == changed


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--version"], 0, "kando-mcp 0."),
        (["--help"], 0, "--max-usd-per-day"),
        (["--nonsense"], 2, "--nonsense"),
        (["config", "--host", "notepad"], 2, "claude-desktop"),
        (["--max-usd-per-run", "-1"], 2, "-1"),
        (["--max-usd-per-run", "nan"], 2, "not an amount"),
        (["--budget-events", "many"], 2, "many"),
        (["--budget-usd", "nan"], 2, "not an amount"),
        (["--max-usd-per-day", "nan"], 2, "not an amount"),
        (["--read-only", "config", "--host", "cursor"], 2, "follow --"),
        (["config", "--host", "cursor", "--", "--readonly"], 2, "--read-only"),
    ],
)
def test_wrong_usage_is_reported_and_help_is_printed(
    place: Place, arguments: list[str], code: int, expected: str
) -> None:
    out, err = command(place, *arguments, code=code)
    assert expected in out + err
