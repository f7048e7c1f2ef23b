"""Commands show the same with and without the stored views of a run, in every state."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kando.world._container import pack, unpack

Run = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("tiny")

#: A kit whose responder fires in a chain, as often as its goal says, and logs each firing in a file.
CHAIN = """
    from pathlib import Path
    from kando.emit import create
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("chain", version="{version}")

    @kit.seeds
    def seeds(goal, run_id):
        data = {{"id": "step-0", "type": "Step", "data": {{"left": int(goal)}}}}
        return [make_event("object.created", f"run:{{run_id}}", "cli", [], data)]

    @kit.responder("object.created", type="Step")
    def on_step(event, world):
        with Path("fired").open("a") as file:
            file.write("x")
        left = event.data["data"]["left"]
        if left == {fails_at}:
            raise ValueError("no further")
        if left:
            yield create("Step", {{"left": left - 1}})

    @hookimpl
    def kando_kits():
        return [KitSpec("chain", "chain_plugin:kit", "steps")]
"""

NEVER = -1


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "snapshots")


def chain(install: Callable[[str, str], Path], version: str = "1", fails_at: int = NEVER) -> Path:
    return install("chain", CHAIN.format(version=version, fails_at=fails_at))


def fired() -> int:
    path = Path("fired")
    return len(path.read_text()) if path.exists() else 0


def shown(kando: Run, run: str) -> list[str]:
    """Return the output of the commands that read the views of a run."""
    commands = [
        ["status", run],
        ["runs"],
        ["metrics", run],
        ["metrics", f"{run}@2"],
        ["trace", "object.created-1", "--run", run, "--down", "--all"],
        ["trace", "object.created-1", "--run", f"{run}@3", "--down"],
        ["trace", "object.created-1", "--run", run],
        ["compare", run, run],
        ["world", run],
    ]
    found = []
    for command in commands:
        done = kando(*command, "--json")
        assert done.returncode == 0, done.stderr
        found.append(done.stdout + done.stderr)
    return found


@pytest.mark.parametrize(
    ("state", "options", "after"),
    [
        ("finished", ["--llm", "parrot"], []),
        ("waiting", [], []),
        ("exhausted", ["--llm", "parrot", "--budget-events", "5"], []),
        ("stopped", ["--llm", "parrot"], [["send", "RUN", "--type", "note"]]),
        ("finished", ["--llm", "parrot"], [["send", "RUN", "--type", "note"], ["resume", "RUN"]]),
        ("paused", [], [["pause", "RUN"], ["resume", "RUN"]]),
        ("cancelled", [], [["cancel", "RUN"], ["resume", "RUN"]]),
        ("finished", ["--llm", "parrot"], [["fork", "RUN", "--at", "4"]]),
        ("stopped", ["--llm", "parrot"], [["fork", "RUN", "--at", "4"], "@last"]),
        ("finished", [], [["resume", "RUN", "--llm", "parrot"]]),
    ],
)
def test_a_run_looks_the_same_with_its_snapshot(
    kando: Run,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    state: str,
    options: list[str],
    after: list[Any],
) -> None:
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", folder)
    run = kando("run", "tiny", "--goal", "Say hello", *options).stdout.strip()
    for command in after:
        if command == "@last":
            run = "@last"
        else:
            kando(*(run if each == "RUN" else each for each in command))

    kept = shown(kando, run)
    monkeypatch.delenv("KANDO_SNAPSHOT_DIR")

    assert kept == shown(kando, run)
    assert f'"state": "{state}"' in kept[0]


def test_a_run_that_failed_looks_the_same_with_its_snapshot(
    kando: Run, monkeypatch: pytest.MonkeyPatch, folder: str, install: Callable[[str, str], Path]
) -> None:
    chain(install, fails_at=7)
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", folder)
    run = kando("run", "chain", "--goal", "5").stdout.strip()
    data = '{"type": "Step", "data": {"left": 8}}'
    assert kando("send", run, "--type", "object.created", "--data", data).returncode == 0
    assert kando("resume", run).returncode == 6
    kept = shown(kando, "@last")
    monkeypatch.delenv("KANDO_SNAPSHOT_DIR")

    assert kept == shown(kando, "@last")
    assert '"state": "failed"' in kept[0]


def test_a_run_at_rest_is_not_fired_for_its_status_until_it_grows_or_its_kit_changes(
    kando: Run, monkeypatch: pytest.MonkeyPatch, folder: str, install: Callable[[str, str], Path]
) -> None:
    path = chain(install)
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", folder)
    run = kando("run", "chain", "--goal", "5").stdout.strip()
    at_first = fired()

    def state() -> tuple[str, bool]:
        before = fired()
        words = kando("status", run).stdout.split()
        return words[words.index("state") + 1], fired() > before

    assert at_first >= 6
    assert state() == ("finished", False)
    monkeypatch.delenv("KANDO_SNAPSHOT_DIR")
    assert state() == ("finished", True)
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", folder)
    path.write_text(path.read_text().replace('version="1"', 'version="2"'))
    sys.modules.pop("chain_plugin")
    assert state() == ("finished", True)
    path.write_text(path.read_text().replace('version="2"', 'version="1"'))
    sys.modules.pop("chain_plugin")
    assert state() == ("finished", False)


def test_a_branch_is_not_at_rest_because_its_parent_is(
    kando: Run, monkeypatch: pytest.MonkeyPatch, folder: str, install: Callable[[str, str], Path]
) -> None:
    chain(install)
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", folder)
    run = kando("run", "chain", "--goal", "5").stdout.strip()
    branch = kando("fork", run, "--at", "6").stdout.split()[0]

    assert "stopped" in kando("status", branch).stdout
    assert kando("resume", branch).returncode == 0
    before = fired()
    assert "finished" in kando("status", branch).stdout
    assert fired() == before


def test_a_short_run_and_its_branch_at_rest_are_not_fired_for_their_status_until_they_grow(
    kando: Run, install: Callable[[str, str], Path]
) -> None:
    chain(install)
    run = kando("run", "chain", "--goal", "5").stdout.strip()
    branch = kando("fork", run, "--at", "6").stdout.split()[0]
    assert "stopped" in kando("status", branch).stdout
    assert kando("resume", branch).returncode == 0
    before = fired()

    for name in (run, branch):
        assert "finished" in kando("status", name).stdout
        assert kando("verify", name).returncode == 0
    assert kando("runs").stdout.count("finished") == 2
    assert fired() == before

    assert kando("send", run, "--type", "note").returncode == 0
    assert "stopped" in kando("status", run).stdout
    assert kando("resume", run).returncode == 0
    before = fired()
    assert "finished" in kando("status", run).stdout
    assert fired() == before


def test_a_long_run_that_has_grown_a_little_is_at_rest_again(
    kando: Run, install: Callable[[str, str], Path]
) -> None:
    chain(install)
    run = kando("run", "chain", "--goal", "400").stdout.strip()
    before = fired()
    assert "finished" in kando("status", run).stdout
    assert fired() == before

    assert kando("send", run, "--type", "note").returncode == 0
    assert kando("resume", run).returncode == 0

    before = fired()
    assert "events    1203" in kando("status", run).stdout
    assert "TYPE" in kando("metrics", run).stdout
    assert fired() == before


def test_a_diff_is_the_same_with_snapshots_of_object_ids(
    kando: Run, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", folder)
    run = kando("run", "tiny", "--goal", "Say hello", "--llm", "parrot").stdout.strip()
    change = ["--patch", "goal", '{"text": "other"}']
    forks = [kando("fork", run, "--at", str(at), *change) for at in (2, 4, 9)]
    branches = [done.stdout.split()[0] for done in forks]
    assert kando("resume", branches[1], "--llm", "parrot").returncode == 0
    data = '{"id": "new", "type": "Claim", "data": {}}'
    assert kando("send", run, "--type", "object.created", "--data", data).returncode == 0
    assert kando("resume", run).returncode == 0

    def diffs() -> list[str]:
        pairs = [(run, each) for each in branches] + [(branches[1], run), (f"{run}@7", branches[2])]
        return [kando("diff", *pair, "--json").stdout for pair in pairs]

    kept = diffs()
    monkeypatch.delenv("KANDO_SNAPSHOT_DIR")

    assert kept == diffs()
    assert all('"new"' in each for each in kept[:4])


@pytest.mark.parametrize("view", ["run-metrics", "run-status", "lineage-index", "object-ids"])
def test_verify_finds_a_view_that_contradicts_the_ledger(
    kando: Run, monkeypatch: pytest.MonkeyPatch, folder: str, view: str
) -> None:
    monkeypatch.setenv("KANDO_SNAPSHOT_DIR", folder)
    run = kando("run", "tiny", "--goal", "Say hello", "--llm", "parrot").stdout.strip()
    assert kando("verify", run).returncode == 0
    (path,) = Path(folder).iterdir()
    stored = unpack(path.read_bytes())
    assert stored is not None
    sections = {name: stored.section(name) or b"" for name, _ in stored.header.sections}
    body = bytearray(sections[view])
    digit = body.rindex(b"1") if b"1" in body else len(body) - 1
    body[digit] ^= 1
    path.write_bytes(pack(stored.header, {**sections, view: bytes(body)}))

    done = kando("verify", run)

    assert done.returncode == 4
    assert f"contradicts the ledger: {view}" in done.stdout + done.stderr
