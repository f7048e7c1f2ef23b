"""A host of kando-mcp: a store, an installed kit, and the official client over stdio."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.session import ElicitationFnT

from kando_mcp.server import create_server
from kando_mcp.settings import Settings

#: Both eras of the protocol: ``auto`` speaks 2026-07-28, ``legacy`` shakes hands as before.
MODES = ["auto", "legacy"]

KIT = '''
"""A kit whose goal determines its actions."""

import atexit
import os
import threading
import time

from kando.emit import ask, ask_person, call_tool, create, patch, relate, set_timer
from kando.kit import Kit
from kando.plugins import KitSpec, ProviderSpec, hookimpl
from kando.responders.policies import Allow, Ask
from kando.responders.tool_context import ToolContext
from kando.schema.events import make_event

kit = Kit("tiny", version="1")

#: Schemas of the replies to a person's questions, by the first word of the question.
REPLIES = {
    "Which": {"enum": ["boat", "train"]},
    "Who": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "As in the passport."},
            "age": {"type": "integer"},
            "vegetarian": {"type": "boolean"},
        },
        "required": ["name"],
    },
    "Where": {"type": "array", "items": {"type": "string"}},
}


@kit.seeds
def seeds(goal, run_id):
    print("a kit may print; the protocol must not see it")
    os.write(1, b"not even what goes past Python\\n")
    data = {"id": "goal", "type": "Goal", "data": {"text": goal}}
    return [make_event("object.created", f"run:{run_id}", "cli", [], data)]


@kit.responder("object.created", type="Goal")
def on_goal(event, world):
    print("a kit may print; the protocol must not see it")
    word, _, rest = event.data["data"]["text"].partition(" ")
    step = yield create("Step", {"of": word, "status": "new"}, id="step")
    yield relate("part_of", step, event)
    if word == "ask":
        yield ask([{"role": "user", "content": rest}], about=step)
    elif word == "gate":
        yield call_tool("pass_gate", {"number": 1}, about=step)
    elif word == "pay":
        if "LINGER" in os.environ:
            # Delays the end of the process that works on the run.
            atexit.register(pass_gate, 0)
        yield call_tool("pay", {"amount": int(rest)}, about=step)
    elif word == "question":
        yield ask_person(rest, REPLIES.get(rest.partition(" ")[0]), about=step)
    elif word == "note":
        yield call_tool("write_note", {"text": rest}, about=step)
    elif word == "reveal":
        yield create("Revealed", {"value": os.environ.get(rest)})
    elif word == "fail":
        raise RuntimeError("this step always fails")
    elif word == "wait":
        yield set_timer(seconds=float(rest), about=step)
    elif word == "many":
        for number in range(300):
            yield create("Note", {"number": number, "text": "word " * 100}, id=f"note-{number}")
    elif word == "huge":
        yield create("Note", {"text": "word " * 20_000, "lines": ["line"] * 5_000}, id="huge")


@kit.responder("llm.response")
def on_answer(event, world):
    yield patch("step", {"status": "answered", "text": event.data["text"]})


@kit.responder("person.replied")
def on_reply(event, world):
    yield patch("step", {"status": event.data.get("answer")})


@kit.tool("pass_gate")
def pass_gate(number):
    with open(os.environ["GATE"] + ".callers", "a") as file:
        print(os.getpid(), file=file)
    while not os.path.exists(os.environ["GATE"]):
        if any(isinstance(thread, threading.Timer) for thread in threading.enumerate()):
            # The grace of SIGTERM has begun.
            open(os.environ["GATE"] + ".ending", "w").close()
        time.sleep(0.01)
    return {"number": number}


@kit.tool("pay")
def pay(amount: int):
    return {"paid": amount}


@kit.tool("write_note", undo="drop_note", effect="idempotent")
def write_note(text: str, ctx: ToolContext):
    (ctx.workspace / "note.txt").write_text(text)
    (ctx.workspace / "note.bin").write_bytes(bytes(range(256)) * 8)
    return {"wrote": text[:20]}


@kit.tool("drop_note", effect="idempotent")
def drop_note(ctx: ToolContext):
    (ctx.workspace / "note.txt").unlink()
    return {"dropped": True}


@kit.policy
def careful(intent, world):
    is_eight = intent.data["arguments"].get("amount") == 8
    expires = 3600 if is_eight else None
    return Ask("May it pay?", expires=expires) if intent.data["tool"] == "pay" else Allow()


@kit.responder("tool.returned")
def on_returned(event, world):
    if "number" not in event.data.get("result", {}):
        yield patch("step", {"status": str(event.data.get("result") or event.data["error"])})
        return
    number = event.data["result"]["number"]
    yield create("Gate", {"number": number}, id=f"gate-{number}")
    if number < 3:
        yield call_tool("pass_gate", {"number": number + 1})


def open_free(argument, environ):
    return lambda request: {"text": "free", "model": "free", "cost_usd": 0.0}


def open_costly(argument, environ):
    return lambda request: {"text": "costly", "model": "costly", "cost_usd": 0.4}


class Priced:
    """A provider that knows the worst case of a call; its calls wait for the gate, if there is one."""

    def worst_case_usd(self, request):
        return 0.3

    def __call__(self, request):
        if request["messages"][0]["content"] == "gated":
            pass_gate(0)
        return {"text": "priced", "model": "priced", "cost_usd": 0.25}


def open_priced(argument, environ):
    return Priced()


def open_echoing(argument, environ):
    return lambda request: {"text": str(request.get("max_tokens")), "model": "echoing"}


@hookimpl
def kando_kits():
    return [KitSpec("tiny", "tiny_kit:kit", "does what its goal says")]


@hookimpl
def kando_providers():
    return [
        ProviderSpec("free", "tiny_kit:open_free", summary="costs nothing", is_offline=True),
        ProviderSpec("costly", "tiny_kit:open_costly", summary="costs 0.4 dollars"),
        ProviderSpec("priced", "tiny_kit:open_priced", summary="costs 0.3 dollars at most"),
        ProviderSpec(
            "echoing", "tiny_kit:open_echoing", summary="answers with max_tokens", is_offline=True
        ),
    ]
'''

Call = Callable[..., Awaitable[dict[str, Any]]]


class Place:
    """A folder with a store and an installed kit, ``tiny``; it starts servers for them.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.gate = root / "gate"
        installed = root / "installed"
        info = installed / "tiny-1.0.dist-info"
        info.mkdir(parents=True)
        (root / "home").mkdir()
        (installed / "tiny_kit.py").write_text(KIT)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[kando]\ntiny = tiny_kit\n")
        self.environ = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(root / "home"),
            "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")]),
            "KANDO_LEDGER": f"sqlite:{root}/store.sqlite",
            "GATE": str(self.gate),
        }

    def parameters(self, *options: str, **environ: str) -> StdioServerParameters:
        """Return the parameters to start kando-mcp in this folder.

        Args:
            options: options of kando-mcp.
            environ: variables in addition to those of this folder.
        """
        return StdioServerParameters(
            command=sys.executable,
            args=["-P", "-m", "kando_mcp.main", *options],
            env={**self.environ, **environ},
            cwd=self.root,
        )

    def open_gate(self) -> None:
        """Let runs with the goal ``gate`` continue."""
        self.gate.touch()

    def is_ending(self) -> bool:
        """Whether a process that makes a call of ``pass_gate`` has received SIGTERM."""
        return Path(f"{self.gate}.ending").exists()

    def callers(self) -> list[int]:
        """Return the id of the process that made each call of ``pass_gate``, in order."""
        noted = Path(f"{self.gate}.callers")
        return [int(line) for line in noted.read_text().split()] if noted.exists() else []

    def drive(
        self,
        story: Callable[[Client], Awaitable[None]],
        *options: str,
        mode: Any = "auto",
        **environ: str,
    ) -> None:
        """Start a server and a client, and run a story with them."""

        _live_through(story, self.parameters(*options, **environ), mode)

    def within(
        self,
        story: Callable[[Client], Awaitable[None]],
        settings: Settings | None = None,
        *,
        mode: Any = "auto",
        person: ElicitationFnT | None = None,
        **environ: str,
    ) -> None:
        """Do what `drive` does with a server in this process, which starts faster.

        Args:
            story: what the client does.
            settings: limits of the operator.
            mode: era of the protocol.
            person: fills in the forms of the client; None for a client that shows none.
            environ: variables in addition to those of this folder.
        """
        server = create_server({**self.environ, **environ}, settings)
        _live_through(story, server, mode, person)


#: Timeout of a story; on a loaded machine one may take minutes.
HANG_SECONDS = 1_200


def _live_through(
    story: Callable[[Client], Awaitable[None]],
    server: Any,
    mode: Any,
    person: ElicitationFnT | None = None,
) -> None:
    async def connected() -> None:
        with anyio.fail_after(HANG_SECONDS):
            async with Client(server, mode=mode, elicitation_callback=person) as client:
                await story(client)

    anyio.run(connected)


def calling(client: Client) -> Call:
    """Return a function that calls a tool and returns its structured result.

    With the longest wait, 45 s, it waits until the run has no worker, however long that takes.
    """

    async def call(tool: str, /, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        found = result.structured_content
        assert found is not None
        if arguments.get("wait_s") != 45:
            return found
        if tool == "fork_run":
            return {**found, "run": await at_rest(found["run"])}
        return await at_rest(found)

    async def at_rest(state: dict[str, Any]) -> dict[str, Any]:
        while state["state"] == "running":
            waited = {"run_id": state["run_id"], "wait_s": 45}
            state = (await client.call_tool("get_run", waited)).structured_content or state
        return state

    return call


async def refusal(client: Client, tool: str, /, **arguments: Any) -> str:
    """Call a tool that must refuse, and return its message."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    return str(getattr(result.content[0], "text", ""))
