"""Hints are true: each command that a message suggests is followed, and works."""

import ast
import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kando
from kando.app.store import open_store
from kando.cli.main import _GROUPS
from kando.emit import emit
from kando.ledger.claims import Worker
from kando.ledger.groups import Job
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.runtime import Runtime
from stores import damage_index

Run = Callable[..., Any]

SOURCES = Path(kando.__file__).parent
NAMES = "|".join(name for group in _GROUPS.values() for name in group)
COMMAND = re.compile(rf"\bkando ({NAMES})\b")

#: Commands in a message: in backquotes, or at the end of a line.
SUGGESTED = re.compile(rf"`kando ([^`]+)`|: kando ((?:{NAMES})\b.*)$", re.MULTILINE)

#: Values that the reader of a hint fills in.
PLACEHOLDERS = {"KIT": "tiny", "TEXT": "hello", "N": "1000", "USD": "5", "PROVIDER": "parrot"}

KITS = """
    from kando.emit import call_tool, start_run
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.responders.policies import Ask
    from kando.schema.events import make_event

    def kit_of(name, version="1"):
        def seeds(goal, run_id):
            return [make_event("go", "", "cli", [], {"text": goal})]
        return Kit(name, version=version, seed=seeds)

    fails, stops, asks = kit_of("fails"), kit_of("stops"), kit_of("asks")

    @fails.responder("go")
    def on_fails(event, world):
        raise ValueError("no")

    @stops.responder("go")
    def on_stops(event, world):
        raise KeyboardInterrupt

    @asks.tool("pay")
    def pay(amount: int) -> str:
        return "paid"

    @asks.policy
    def careful(intent):
        return Ask("pay?")

    @asks.responder("go")
    def on_asks(event, world):
        yield call_tool("pay", {"amount": 7})

    starts = kit_of("starts")

    @starts.responder("go")
    def on_starts(event, world):
        yield start_run("asks", "x")

    @hookimpl
    def kando_kits():
        names = ("fails", "stops", "asks", "starts")
        return [KitSpec(name, f"sample_plugin:{name}", "a sample") for name in names]
"""


KIT_IN_A_FILE = """
from kando.kit import Kit
from kando.schema.events import make_event

kit = Kit("own", seed=lambda goal, run_id: [make_event("go", "", "cli", [], {"text": goal})])
"""


class Place:
    """A store, the command line that uses it, and kits."""

    def __init__(self, kando: Run, install: Run, options: list[str], path: Path) -> None:
        self.kando, self.install, self.options, self.path = kando, install, options, path

    def __call__(self, *arguments: str) -> Any:
        return self.kando(*arguments, *self.options)

    def start(self, kit: str = "tiny", *options: str) -> str:
        return str(self("run", kit, "--goal", "hello", *options).stdout.strip())

    def change(self, statement: str) -> None:
        connection = sqlite3.connect(self.path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    def damage_limits(self, run: str) -> None:
        with open_store(f"sqlite:{self.path}") as store:
            ledger = store.context.ledger(run, read_only=False)
            Runtime(ledger, [], edge_logic=()).record(
                [emit("budget.set", {"limits": 7})], is_own=True
            )


def kit_in_a_file(place: Place) -> Any:
    Path("FILE.py").write_text(KIT_IN_A_FILE)
    run = place.start("./FILE.py")
    return place("resume", run)


def damaged_limits(place: Place) -> Any:
    run = place.start()
    place.damage_limits(run)
    return place("resume", run)


def busy_run(place: Place) -> Any:
    run = place.start()
    with SQLiteSubstrate(place.path) as substrate:
        substrate.claim(run, Worker("elsewhere", 1), 600)
    return place("resume", run)


def stale_claim(place: Place) -> Any:
    run = place.start()
    with SQLiteSubstrate(place.path) as substrate:
        substrate.claim(run, Worker("elsewhere", 1), -1.0)
    return place("doctor")


def parked_job(place: Place) -> Any:
    run = place.start()
    with SQLiteSubstrate(place.path) as substrate:
        group = substrate.group("team")
        group.offer(Job(run))
        lease = group.take(Worker("elsewhere", 1), 600)
        assert lease is not None
        group.park(lease, "no kit")
    return place("doctor")


def damaged_page(place: Place) -> Any:
    place.start()
    damage_index(place.path)
    return place("doctor")


def imported_branch(place: Place) -> Any:
    run = place.start()
    branch = place("fork", run, "--at", "2", "--model", "m").stdout.strip()
    place("export", branch, "-o", "branch.jsonl")
    place.change("DELETE FROM events WHERE address >> 32 = 2")
    place.change("DELETE FROM inbox WHERE ledger = 2")
    place.change("DELETE FROM ledgers WHERE number = 2")
    place("import", "branch.jsonl")
    return place("resume", branch)


def damaged_chain(place: Place) -> Any:
    run = place.start()
    place.change("UPDATE events SET actor = 'x' WHERE address % (1 << 32) = 1")
    return place("export", run, "-o", "out")


def a_failed_plugin(place: Place) -> Any:
    place.install("bad", "raise OSError('gone')")
    return place("run", "tiny", "--goal", "x", "--llm", "parrot")


def answered(place: Place, *commands: str) -> Any:
    """Answer the request of a run after some commands, and return the last answer."""
    run = place.start()
    lines = place("events", run).stdout.splitlines()
    (request,) = (line.split()[1] for line in lines if "llm.request" in line)
    for command in commands:
        place(command, run) if command != "answer" else place("answer", run, request, "--text", "t")
    return place("answer", run, request, "--text", "t")


def busy_deletion(place: Place) -> Any:
    run = place.start()
    with SQLiteSubstrate(place.path) as substrate:
        substrate.claim(run, Worker("elsewhere", 1), 600)
    return place("delete", run, "--yes")


def deleted_child(place: Place) -> Any:
    run = place.start("starts")
    lines = place("branches", run).stdout.splitlines()
    (child,) = (line.split()[1] for line in lines if "child run" in line)
    return place("delete", child, "--yes")


def deleted_parent(place: Place) -> Any:
    run = place.start()
    place("fork", run, "--at", "2")
    return place("delete", run, "--yes")


def deleted_run(place: Place) -> Any:
    run = place.start()
    place("delete", run, "--yes")
    return place("status", run)


#: Each message that suggests a command, as its source has it, and how to get it. The exit codes are
#: those of the suggested commands, where it is not 0 alone.
MESSAGES: dict[str, tuple[Callable[[Place], Any], set[int]]] = {
    "no runs yet; start one with: {}": (lambda place: place("runs"), {0}),
    "`kando runs` lists them.": (lambda place: place("status", "xyz"), {0}),
    "`kando run KIT --goal TEXT` starts a run of your own.": (
        lambda place: place("resume", "demo"),
        {0},
    ),
    "If it is in a Python file: `kando resume {} --kit ./FILE.py`.": (kit_in_a_file, {0}),
    "`kando events {}` lists its events.": (
        lambda place: place("trace", "nothing", "--run", place.start()),
        {0},
    ),
    "`kando events {}` lists them.": (
        lambda place: place("fork", place.start(), "--before", "nothing"),
        {0},
    ),
    "`kando resume {}` records it.": (lambda place: answered(place, "answer"), {0}),
    "`kando fork {} --before {}` makes a branch on which it can be answered.": (
        lambda place: answered(place, "answer", "resume"),
        {0},
    ),
    "`kando fork {} --at {}` makes a branch on which it is open.": (
        lambda place: answered(place, "cancel"),
        {0},
    ),
    "`kando approvals {}` lists them.": (
        lambda place: place("approve", place.start("asks"), "nothing"),
        {0},
    ),
    "`kando events {} --all` shows what fired.": (
        lambda place: place("park", place.start(), "object.created-1", "tiny.on_goal"),
        {0},
    ),
    "`kando deny {} {}` denies the request.": (
        lambda place: place("park", place.start("asks"), "tool.called-3", "asks.tools"),
        {0},
    ),
    "`kando status {}` shows its state.": (lambda place: place("artifacts", place.start()), {0}),
    "`kando resume {} --no-budget` removes them.": (damaged_limits, {0}),
    "Wait until it stops; `kando resume {} --take-over` takes it over.": (busy_run, {0}),
    "`kando verify {}` names the position.": (damaged_chain, {4}),
    "`kando cancel {}` stops it; then delete it.": (busy_deletion, {0}),
    # It asks at a terminal, which there is not.
    "`kando delete {}` deletes both.": (deleted_child, {2}),
    "Delete the branches first: `kando branches {}` shows them.": (deleted_parent, {0}),
    "`kando runs` lists what is left.": (deleted_run, {0}),
    "The name of the kit is missing. `{}` lists the kits.": (
        lambda place: place("kits", "show"),
        {0},
    ),
    "--group excludes --llm. Give it to the workers: `{}`.": (
        lambda place: place("run", "tiny", "--goal", "x", "--group", "g", "--llm", "parrot"),
        {0},
    ),
    "--group excludes limits. Give them to the workers: `{}`.": (
        lambda place: place("resume", place.start(), "--group", "g", "--budget-usd", "1"),
        {0},
    ),
    "`{}` shows the failure{}. {}": (lambda place: place("run", "fails", "--goal", "x"), {0, 6}),
    "Its recorded events are kept. {}": (
        lambda place: place("run", "stops", "--goal", "x"),
        {130},
    ),
    "The budget is exhausted ({}). {}": (
        lambda place: place(
            *("run", "tiny", "--goal", "x", "--llm", "parrot", "--budget-events", "6")
        ),
        {0},
    ),
    "1 child run has not ended. `{}` shows them.": (
        lambda place: place("run", "starts", "--goal", "x"),
        {0},
    ),
    "1 approval is pending: {}": (lambda place: place("run", "asks", "--goal", "x"), {0}),
    "No provider is configured: name one with --llm ({}), or set {}{}.": (
        lambda place: place("run", "tiny", "--goal", "x"),
        {0},
    ),
    "Name the provider to use: `kando resume {} --llm PROVIDER`.": (imported_branch, {0}),
    "Then resume with: {}": (lambda place: place("run", "tiny", "--goal", "x"), {0}),
    "sent; the process that works on the run records it, or `{}`": (
        lambda place: place("send", place.start(), "--type", "note"),
        {0},
    ),
    "`kando resume {}` resumes it.": (stale_claim, {0}),
    "`kando groups parked {}` shows why; `kando groups replay-parked {}` retries.": (
        parked_job,
        {0},
    ),
    "Restore the file from a copy, or export the runs that `kando verify --all` accepts.": (
        damaged_page,
        {0},
    ),
    "1 plugin failed to load: {} (see `{}`)": (a_failed_plugin, {0}),
    "Plugins may add commands; `kando plugins` lists them.": (
        lambda place: place.kando("--help"),
        {0},
    ),
}

#: Messages that no command of `kando` shows, and why.
OTHERS = {
    "`kando workspace {}` lists them.": "of Run.file, which no command calls",
    "`kando world {}` lists them.": "of Run.object and Run.relation, which no command calls",
    "`kando events RUN` lists them.": "of functions for embedding, which know no id of a run",
    "`kando approvals RUN` lists the open approvals.": "approvals sent as events are refused before",
    "Delete it after midnight (UTC), or by `kando delete {}`.": "of servers with a limit per day",
    "`kando resume {}` records that it is denied.": "a deadline that passes between two commands",
    "Fork without --llm, and `kando resume BRANCH --llm {}:...`.": "see the test below",
}


@pytest.fixture(params=[[], ["--ledger", "sqlite:my runs.sqlite"]], ids=["default", "ledger"])
def place(kando: Run, install: Run, tiny: Path, home: Path, tmp_path: Path, request: Any) -> Place:
    """Return a place whose store is the default one, or selected by an option with a space."""
    install("sample", KITS)
    default = home / ".local/share/kando/kando.sqlite"
    path = tmp_path / "my runs.sqlite" if request.param else default
    return Place(kando, install, request.param, path)


def commands_in(text: str) -> list[list[str]]:
    found = [quoted or plain for quoted, plain in SUGGESTED.findall(text)]
    return [[PLACEHOLDERS.get(word, word) for word in shlex.split(each)] for each in found]


@pytest.mark.parametrize("message", MESSAGES)
def test_every_suggested_command_works(place: Place, message: str) -> None:
    cause, codes = MESSAGES[message]

    done = cause(place)

    text = done.stderr + done.stdout
    # The command in a message may be followed by the options that select the store.
    pattern = re.sub(r"(`kando[^`]*)`", r"\1[^`]*`", re.escape(message).replace(r"\{\}", ".*"))
    assert re.search(pattern, text), text
    commands = commands_in(text)
    assert commands
    for command in commands:
        if command[0] == "worker":
            command.append("--until-idle")
        followed = place.kando(*command)
        assert followed.returncode in codes, (command, followed.stderr)
        assert not place.options or message.startswith("Plugins") or "--ledger" in command


def test_the_hint_of_a_failed_run_leads_to_its_failure(place: Place) -> None:
    hint = place("run", "fails", "--goal", "x").stderr

    events, park, resume = commands_in(hint)

    assert "raised: ValueError: no (" in place.kando(*events).stdout
    assert "failed: ValueError: no (" in place.kando(*resume).stderr
    assert place.kando(*park).returncode == 0
    assert place.kando(*resume).returncode == 0


def test_a_provider_with_a_password_is_given_when_the_branch_is_resumed(place: Place) -> None:
    run = place.start()
    url = "parrot:http://user:secret@host/"

    refused = place("fork", run, "--at", "2", "--llm", url)

    assert refused.returncode == 2
    assert "`kando resume BRANCH --llm parrot:..." in refused.stderr
    branch = place("fork", run, "--at", "2").stdout.strip()
    assert place("resume", branch, "--llm", url).returncode == 0


def test_a_run_in_memory_is_not_suggested_for_anything(kando: Run, install: Run) -> None:
    install("sample", KITS)

    done = kando("run", "fails", "--goal", "x", "--ledger", "memory:")

    assert commands_in(done.stderr) == []
    assert "Start it again in a substrate that lasts" in done.stderr


def test_every_message_with_a_command_is_followed_above() -> None:
    messages = set(messages_in_sources())

    assert messages - MESSAGES.keys() - OTHERS.keys() == set()
    assert OTHERS.keys() - messages == set()


def messages_in_sources() -> Iterator[str]:
    """Yield the strings of kando-core that name a command of `kando`, but for docstrings."""
    for path in SOURCES.rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and isinstance(node.body[0], ast.Expr)
        }
        parts = {
            part
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        for node in ast.walk(tree):
            if node in docstrings or node in parts:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            elif isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(each.value) if isinstance(each, ast.Constant) else "{}"
                    for each in node.values
                )
            else:
                continue
            if COMMAND.search(text):
                yield text
