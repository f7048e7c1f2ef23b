"""The workspace of a run: a folder whose files belong to positions of the ledger."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kando.app.group_worker import GroupWorker
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import call_tool, create
from kando.errors import (
    ConfigurationError,
    InvalidData,
    KandoError,
    NotFoundError,
    StoreDamaged,
    StoreError,
)
from kando.kit import Kit
from kando.ledger.jsonl import lines_in
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.tool_context import ToolContext
from kando.runtime import Runtime
from kando.schema.events import TOOL_RETURNED, KandoEvent, make_event
from kando.schema.trees import Entry, encode_tree
from kando.world.graph import World

#: Steps of a run: the name of a tool, and its arguments.
Steps = list[tuple[str, dict[str, Any]]]


def files_kit() -> Kit:
    """Return a kit that makes the calls that its goal lists, one after the other."""
    kit = Kit("files")

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[KandoEvent]:
        return [create("Steps", {"left": json.loads(goal)})]

    @kit.responder("object.created", "tool.returned")
    def step(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        done = sum(1 for each in world.objects.values() if each.type == "Done")
        steps = next(each for each in world.objects.values() if each.type == "Steps").data["left"]
        if event.type == "tool.returned":
            yield create("Done", {"n": done})
        elif done < len(steps):
            yield call_tool(*steps[done])

    @kit.tool("write", effect="idempotent")
    def write(ctx: ToolContext, path: str, text: str) -> str:
        file = ctx.workspace_path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return "written"

    @kit.tool("names", effect="read")
    def names(ctx: ToolContext) -> list[str]:
        folder = ctx.workspace
        return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))

    @kit.tool("read", effect="read")
    def read(ctx: ToolContext, path: str) -> str:
        return (ctx.workspace / path).read_text()

    @kit.tool("link", effect="idempotent")
    def link(ctx: ToolContext, path: str, target: str) -> str:
        (ctx.workspace / path).symlink_to(target)
        return "linked"

    return kit


def written(*names: str) -> Steps:
    return [("write", {"path": name, "text": f"{name}\n"}) for name in names]


MakeStore = Callable[..., Store]


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[MakeStore]:
    """Return ``make_store(name)``: a store with folders of its own, as on a machine of that name."""
    opened: list[Store] = []

    def make_store(name: str, *, ledger: str = "") -> Store:
        environ = {"KANDO_PLUGINS": "", "KANDO_WORKSPACES": str(tmp_path / f"{name}-folders")}
        file = tmp_path / f"{ledger or name}.sqlite"
        opened.append(open_store(f"sqlite:{file}", environ=environ))
        opened[-1].context.remember(files_kit())
        return opened[-1]

    yield make_store
    for store in opened:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store("here")


def started(store: Store, steps: Steps, **options: Any) -> Run:
    return store.start("files", json.dumps(steps), **options)


def answers(run: Run) -> list[Any]:
    """Return the results of the calls of a run, or the types of their errors."""
    found = [event.data for event in run.events() if event.type == TOOL_RETURNED]
    return [data["result"] if "result" in data else data["error"]["type"] for data in found]


def texts(run: Run, at: int | None = None) -> dict[str, str]:
    return {e.path: run.file(e.path, at=at).decode() for e in run.files(at=at).entries}


def position(run: Run, text: str) -> int:
    """Return the position of the call that writes a text."""
    found = [e.position for e in run.events() if e.data.get("arguments", {}).get("text") == text]
    return found[0]


def test_each_call_finds_the_files_of_the_calls_before_it(store: Store) -> None:
    run = started(store, [*written("a", "sub/b"), ("names", {}), ("read", {"path": "sub/b"})])

    assert answers(run) == ["written", "written", ["a", "sub", "sub/b"], "sub/b\n"]
    assert texts(run) == {"a": "a\n", "sub/b": "sub/b\n"}
    trees = [e.data["workspace"] for e in run.events() if e.type == TOOL_RETURNED]
    assert trees[1] == trees[2] == trees[3] != trees[0]
    assert texts(run, at=position(run, "sub/b\n")) == {"a": "a\n"}
    assert texts(run, at=0) == {}
    assert run.verify().is_intact
    assert run.replay(strict=True).is_strict


def test_a_branch_has_a_folder_of_its_own_with_the_files_of_its_position(store: Store) -> None:
    run = started(
        store, [*written("a"), ("write", {"path": "a", "text": "wrong\n"}), ("names", {})]
    )
    branch = run.fork(at=position(run, "wrong\n"))
    assert texts(branch) == {"a": "a\n"}

    (steps,) = [each.id for each in run.world().objects.values() if each.type == "Steps"]
    left = [*written("a", "new"), ("names", {})]
    other = run.fork(
        before=f"{run.id}@{position(run, 'wrong' + chr(10)) - 1}",
        patches=[(steps, {"left": left})],
    )
    branch.resume()
    other.resume()

    assert answers(branch) == answers(run) == ["written", "written", ["a"]]
    assert answers(other) == ["written", "written", ["a", "new"]]
    assert texts(branch) == {"a": "wrong\n"}
    assert texts(other) == {"a": "a\n", "new": "new\n"}
    changed, added = run.diff_files(other)
    assert (changed.kind, changed.path) == ("changed", "a")
    assert changed.diff == "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-wrong\n+a\n"
    assert (added.kind, added.path) == ("added", "new")
    assert run.diff_files(branch) == []
    assert branch.replay(strict=True).is_strict


def test_a_folder_is_the_first_tree_of_a_run_and_is_never_written_back(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "config").write_text("[core]")
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "x.js").write_text("x")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "data.bin").write_bytes(bytes(range(256)) * 10_000)
    (folder / "empty").touch()
    before = {str(path) for path in folder.rglob("*")}

    run = started(store, [*written("run.sh"), ("names", {})], workspace=folder)

    assert answers(run)[1] == ["data.bin", "empty", "run.sh"]
    assert {str(path) for path in folder.rglob("*")} == before
    assert (folder / "run.sh").read_text() == "#!/bin/sh\n"
    first = run.files(at=position(run, "run.sh\n"))
    assert [(e.path, e.kind) for e in first.entries] == [
        ("data.bin", "file"),
        ("empty", "file"),
        ("run.sh", "executable"),
    ]
    # Before the goal: a branch from the goal has the files, too.
    assert [event.type for event in run.events()][:3] == [
        "kit.loaded",
        "workspace.loaded",
        "object.created",
    ]
    assert run.replay(strict=True).is_strict
    out = tmp_path / "out"
    assert run.write_files(out) == run.files()
    assert (out / "data.bin").read_bytes() == (folder / "data.bin").read_bytes()
    assert os.access(out / "run.sh", os.X_OK)
    with pytest.raises(ConfigurationError, match="not an empty folder"):
        run.write_files(out)
    with pytest.raises(NotFoundError, match=r"no file .node_modules/x\.js."):
        run.file("node_modules/x.js")


def test_a_folder_that_cannot_be_a_workspace_starts_no_run(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "out").symlink_to("/etc/passwd")

    with pytest.raises(InvalidData, match="'out' leads out of the folder, to '/etc/passwd'"):
        started(store, [], workspace=tmp_path / "link")
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        started(store, [], workspace=tmp_path / "missing")

    assert [*store.runs()] == []


def test_a_worker_on_another_machine_finds_the_files(make_store: MakeStore) -> None:
    here = make_store("here")
    run = started(here, written("a", "b"))
    there = make_store("there", ledger="here")
    for tool, arguments in [*written("c"), ("names", {})]:
        there.run(run.id).send("tool.called", {"tool": tool, "arguments": arguments})
    there.run(run.id).offer("team")

    GroupWorker(there.context, "team").work(until_idle=True)

    assert answers(run) == ["written", "written", "written", ["a", "b", "c"]]
    assert texts(run) == {"a": "a\n", "b": "b\n", "c": "c\n"}


KILLED = """
import os, signal
from pathlib import Path
from kando import Kit, call_tool, create
from kando.responders.tool_context import ToolContext

kit = Kit("killed")

@kit.seeds
def seeds(goal, run_id):
    return [create("Goal", {})]

@kit.responder("object.created", type="Goal")
def begin(event, world):
    yield call_tool("write", {"name": "first", "dies": False})
    yield call_tool("write", {"name": "second", "dies": True})

@kit.tool(effect="idempotent")
def write(ctx: ToolContext, name: str, dies: bool) -> list:
    found = sorted(each.name for each in ctx.workspace.iterdir())
    (ctx.workspace / name).write_text("half")
    (ctx.workspace / "first").write_text("changed by " + name)
    marker = Path(os.environ["MARKER"])
    if dies and not marker.exists():
        marker.touch()
        (ctx.workspace / "left over").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)
    (ctx.workspace / name).write_text("whole")
    return found
"""


def test_a_call_that_is_killed_midway_is_repeated_from_the_tree_before_it(tmp_path: Path) -> None:
    kit = tmp_path / "killed.py"
    kit.write_text(KILLED)
    environ = {
        **os.environ,
        "KANDO_LEDGER": f"sqlite:{tmp_path / 'runs.sqlite'}",
        "KANDO_WORKSPACES": str(tmp_path / "folders"),
        "KANDO_PLUGINS": "",
        "MARKER": str(tmp_path / "marker"),
    }

    def kando(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kando.cli.main", *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)

    killed = kando("run", str(kit), "--goal", "x")
    assert killed.returncode == -9
    run_id = killed.stdout.split()[0]
    (folder,) = (tmp_path / "folders").glob("*/*/files")
    assert (folder / "left over").is_dir()

    resumed = kando("resume", run_id, "--kit", str(kit))

    assert resumed.returncode == 0, resumed.stderr
    events = map(json.loads, kando("events", run_id, "--json").stdout.splitlines())
    assert [e["data"]["result"] for e in events if e["type"] == TOOL_RETURNED] == [[], ["first"]]
    listed = json.loads(kando("workspace", run_id, "--json").stdout)["items"]
    assert [each["path"] for each in listed] == ["first", "second"]
    assert listed[1]["digest"] == sha256(b"whole").hexdigest()
    out = tmp_path / "out"
    assert kando("workspace", run_id, "--to", str(out)).stdout == "wrote 2 files, 22 bytes\n"
    assert (out / "first").read_text() == "changed by second"


def test_calls_that_may_run_in_parallel_use_the_workspace_in_the_order_of_their_requests(
    tmp_path: Path,
) -> None:
    kit = Kit("many")
    inside: list[int] = []

    @kit.tool("append")
    def append(ctx: ToolContext, n: int) -> list[int]:
        inside.append(n)
        log = ctx.workspace / "log"
        log.write_text((log.read_text() if log.exists() else "") + f"{n} ")
        inside.remove(n)
        return [*inside]

    from kando.runtime.workspace import Workspace

    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(
        ledger, kit.create(), edge_logic=(), workspace=Workspace(ledger, lambda: tmp_path)
    )
    runtime.run([call_tool("append", {"n": n}) for n in range(12)])

    assert (tmp_path / "files" / "log").read_text() == "0 1 2 3 4 5 6 7 8 9 10 11 "
    found = [e.data for e in ledger.read_all() if e.type == TOOL_RETURNED]
    assert [data["result"] for data in found] == [[]] * 12
    assert len({data["workspace"] for data in found}) == 12


def test_workers_use_the_workspace_in_the_order_of_the_requests(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store("here")
    run = started(store, [])
    for n in range(6):
        run.send("tool.called", {"tool": "write", "arguments": {"path": f"{n}", "text": ""}})
        run.send("tool.called", {"tool": "names", "arguments": {}})
    run.offer("team")

    workers = [
        threading.Thread(
            target=GroupWorker(store.context, "team").work, kwargs={"until_idle": True}
        )
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)

    assert answers(run)[1::2] == [[str(n) for n in range(m + 1)] for m in range(6)]


def test_what_a_call_writes_after_its_time_limit_reaches_no_later_call(tmp_path: Path) -> None:
    from kando.runtime.workspace import Workspace

    kit, may_write, has_written = Kit("slow"), threading.Event(), threading.Event()

    @kit.tool("slow", timeout=0.1)
    def slow(ctx: ToolContext) -> str:
        (ctx.workspace / "slow").touch()
        may_write.wait(30)
        (ctx.workspace / "late").touch()
        has_written.set()
        return "late"

    @kit.tool("look")
    def look(ctx: ToolContext) -> list[str]:
        before = sorted(each.name for each in ctx.workspace.iterdir())
        may_write.set()
        has_written.wait(30)
        return [*before, *sorted(each.name for each in ctx.workspace.iterdir())]

    ledger = MemoryLedgerStore("r1")
    runtime = Runtime(
        ledger, kit.create(), edge_logic=(), workspace=Workspace(ledger, lambda: tmp_path)
    )
    runtime.run([call_tool("slow", {}), call_tool("look", {})])

    late, looked = [e.data for e in ledger.read_all() if e.type == TOOL_RETURNED]
    assert (late["error"]["type"], "workspace" in late) == ("Timeout", False)
    assert looked["result"] == []


@pytest.mark.parametrize(
    ("target", "is_refused"),
    [
        ("a", False),
        ("sub/b", False),
        ("missing", False),
        ("../a", True),
        ("/etc/passwd", True),
        ("sub/../../x", True),
        ("sub/../a", True),
    ],
)
def test_a_link_is_recorded_only_if_it_stays_inside(
    store: Store, target: str, is_refused: bool
) -> None:
    run = started(
        store, [*written("a", "sub/b"), ("link", {"path": "l", "target": target}), ("names", {})]
    )

    assert answers(run)[2] == ("InvalidWorkspace" if is_refused else "linked")
    assert ("l" in answers(run)[3]) is not is_refused
    refused = [e.data["error"]["message"] for e in run.events() if "error" in e.data]
    assert all("'l' leads out of the folder" in message for message in refused)


def test_a_workspace_that_is_too_large_is_refused_and_the_next_call_finds_it_as_before(
    tmp_path: Path,
) -> None:
    environ = {
        "KANDO_PLUGINS": "",
        "KANDO_WORKSPACES": str(tmp_path / "folders"),
        "KANDO_WORKSPACE_MAX_FILES": "2",
        "KANDO_WORKSPACE_MAX_BYTES": "100",
    }
    large = ("write", {"path": "c", "text": "x" * 200})
    with open_store(f"sqlite:{tmp_path / 'runs.sqlite'}", environ=environ) as store:
        store.context.remember(files_kit())
        run = started(store, [*written("a", "b"), *written("c"), large, ("names", {})])

        assert answers(run)[2:] == ["InvalidWorkspace", "InvalidWorkspace", ["a", "b"]]
        said = [e.data["error"]["message"] for e in run.events() if "error" in e.data]
        assert said == [
            "The workspace has more than 2 files. Remove some, or set KANDO_WORKSPACE_MAX_FILES.",
            "The workspace has more than 2 files. Remove some, or set KANDO_WORKSPACE_MAX_FILES.",
        ]


def test_an_export_takes_the_files_along(
    store: Store, make_store: MakeStore, tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "first").write_text("first")
    (tmp_path / "document.txt").write_text("a document")
    run = started(
        store,
        [*written("a", "é"), ("write", {"path": "c", "text": "x" * 5000})],
        workspace=tmp_path / "project",
        inputs=[tmp_path / "document.txt"],
    )
    branch = run.fork(at=position(run, "x" * 5000))
    branch.resume()
    there = make_store("there")

    for each in (run, branch):
        each.export(tmp_path / f"{each.id}.jsonl")
        with (tmp_path / f"{each.id}.jsonl").open("rb") as file:
            imported = there.import_run(lines_in(file))
        assert imported.parent_id == (None if each is run else run.id)

    assert texts(there.run(run.id)) == texts(run)
    assert texts(there.run(branch.id)) == texts(branch)
    assert there.run(run.id).verify().is_intact
    assert there.run(run.id).replay(strict=True).is_strict


def forged(path: Path, paths: list[tuple[str, str, bytes]]) -> None:
    """Write an export whose run names a tree with these paths, kinds and contents."""
    ledger = MemoryLedgerStore("forged")
    entries = [Entry(p, kind, sha256(c).hexdigest(), len(c)) for p, kind, c in paths]
    body = encode_tree(entries)
    event = make_event("workspace.loaded", "", "cli", [], {"workspace": sha256(body).hexdigest()})
    ledger.append([event])
    ledger.store_blobs([body, *(content for _, _, content in paths)])
    from kando.ledger import jsonl, trees

    # As a stranger would write it.
    seen = [(sha256(each).digest(), each) for each in [body, *(c for _, _, c in paths)]]
    original = jsonl.blobs_of_tree
    try:
        jsonl.blobs_of_tree = lambda event, blobs, known: iter(seen)
        path.write_bytes(b"".join(jsonl.lines_of(ledger, 1)))
    finally:
        jsonl.blobs_of_tree = original
    assert trees.blobs_of_tree is original


@pytest.mark.parametrize(
    "paths",
    [
        [("../out", "file", b"x")],
        [("/etc/cron.d/x", "file", b"x")],
        [("a/../../out", "file", b"x")],
        [("a//b", "file", b"x")],
        [("", "file", b"x")],
        [("a\\..\\b", "file", b"x")],
        [("C:/x", "file", b"x")],
        [(".git/hooks/post-checkout", "executable", b"x")],
        [("sub/.GIT/config", "file", b"x")],
        [("l", "link", b"/etc")],
        [("l", "link", b"../out")],
        [("l", "link", b".git/config")],
        [("l", "link", b".."), ("l/x", "file", b"x")],
        [("a", "file", b"x"), ("a", "file", b"y")],
        [("a", "device", b"x")],
        [("x" * 300, "file", b"x")],
    ],
)
def test_a_tree_of_a_stranger_that_leaves_its_folder_is_not_imported(
    store: Store, tmp_path: Path, paths: list[tuple[str, str, bytes]]
) -> None:
    file = tmp_path / "forged.jsonl"
    forged(file, paths)

    with file.open("rb") as lines, pytest.raises(InvalidData, match="A tree of files is"):
        store.import_run(lines_in(lines))

    assert [*store.runs()] == []


def test_an_export_whose_files_are_missing_or_changed_is_not_imported(
    store: Store, make_store: MakeStore, tmp_path: Path
) -> None:
    run = started(store, written("a"))
    run.export(tmp_path / "run.jsonl")
    lines = (tmp_path / "run.jsonl").read_bytes().splitlines(keepends=True)
    blobs = [n for n, line in enumerate(lines) if line.startswith(b'{"blob":')]
    assert len(blobs) == 2

    for cut in blobs:
        there = make_store(f"without {cut}")
        with pytest.raises(InvalidData, match="are not whole: the blob"):
            there.import_run([line for n, line in enumerate(lines) if n != cut])
        assert [*there.runs()] == []


def test_verify_finds_a_file_that_is_missing(store: Store, tmp_path: Path) -> None:
    import sqlite3

    run = started(store, written("a"))
    assert run.verify().is_intact
    with sqlite3.connect(tmp_path / "here.sqlite") as connection:
        connection.execute("DELETE FROM blobs WHERE digest = ?", (sha256(b"a\n").digest(),))

    verdict = run.verify()

    assert not verdict.is_intact
    assert "a file of its workspace: the blob" in str(verdict.problem)
    with pytest.raises(StoreDamaged, match="cannot be read: the blob"):
        run.file("a")


def test_a_store_without_blobs_says_so_when_a_tool_uses_the_workspace(tmp_path: Path) -> None:
    class Plain(MemoryLedgerStore):
        keeps_blobs = False

        def store_blobs(self, bodies: Any) -> None:
            super(MemoryLedgerStore, self).store_blobs(bodies)

    from kando.runtime.workspace import Workspace

    ledger = Plain("r1")
    kit = files_kit()
    runtime = Runtime(
        ledger, kit.create(), edge_logic=(), workspace=Workspace(ledger, lambda: tmp_path)
    )

    with pytest.raises(StoreError, match="run:r1 keeps no blobs"):
        runtime.run([call_tool("names", {})])


def test_a_path_that_leads_out_of_the_workspace_is_refused(store: Store, tmp_path: Path) -> None:
    outside = [("write", {"path": path, "text": "x"}) for path in ("../x", "/tmp/x", "l/../../x")]
    run = started(store, [*outside, *written("a/../b")])

    assert answers(run) == ["InvalidData"] * 3 + ["written"]
    assert texts(run) == {"b": "a/../b\n"}
    assert not (tmp_path / "x").exists()


def test_a_tool_that_hides_that_it_uses_the_workspace_gets_an_error_with_the_cure() -> None:
    kit = Kit("hidden")

    def helper(ctx: ToolContext) -> Path:
        return ctx.workspace

    @kit.tool("hidden")
    def hidden(ctx: ToolContext) -> str:
        return str(helper(ctx))

    ledger = MemoryLedgerStore("r1")
    Runtime(ledger, kit.create(), edge_logic=()).run([call_tool("hidden", {})])

    (answer,) = [e.data for e in ledger.read_all() if e.type == TOOL_RETURNED]
    assert answer["error"]["type"] == "ConfigurationError"
    assert "Declare it: @kit.tool(workspace=True)." in answer["error"]["message"]
    with pytest.raises(ConfigurationError, match="does not take its context"):
        kit.tool("blind", workspace=True)(lambda: "x")


def test_a_run_in_memory_has_a_workspace_that_ends_with_the_store() -> None:
    with open_store("memory:", environ={"KANDO_PLUGINS": ""}) as store:
        store.context.remember(files_kit())
        run = started(store, [*written("a"), ("names", {})])

        assert answers(run) == ["written", ["a"]]
        folder = store.context.temporary_folder()
        assert [*folder.rglob("files/a")]

    assert not folder.exists()


def test_a_folder_that_was_changed_by_hand_is_restored(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep me")
    run = started(store, [*written("a", "sub/b")])
    (folder,) = (tmp_path / "here-folders").glob("*/*/files")
    (folder / "a").write_text("changed")
    (folder / "new").mkdir()
    (folder / "new" / "file").touch()
    (folder / "sub" / "b").unlink()
    (folder / "sub").rmdir()
    (folder / "sub").symlink_to(outside)
    (folder / ".venv").mkdir()

    more = {"type": "tool.called", "data": {"tool": "names", "arguments": {}}}
    run.send(more["type"], more["data"])  # type: ignore[arg-type]
    run.resume()

    assert answers(run)[-1] == [".venv", "a", "sub", "sub/b"]
    assert (outside / "precious").read_text() == "keep me"
    assert texts(run) == {"a": "a\n", "sub/b": "sub/b\n"}


def test_an_answer_by_hand_names_no_tree(store: Store) -> None:
    kit = files_kit()
    run = store.start(kit, "[]")
    with pytest.raises(KandoError):
        run.send("workspace.loaded", {"workspace": "0" * 64})

    assert texts(run) == {}
