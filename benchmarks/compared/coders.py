"""The three coders as the scenarios use them: started, killed, resumed, decided on and forked, by process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from peer import Peer

__all__ = [
    "CODERS",
    "HERE",
    "Coder",
    "Installed",
    "Kando",
    "LangGraph",
    "Place",
    "PydanticAI",
    "Seen",
]

HERE = Path(__file__).resolve().parent

_CALC = "def add(a, b):\n    return a - b\n"
_TESTS = """\
import unittest

from calc import add


class Adds(unittest.TestCase):
    def test_adds(self):
        self.assertEqual(add(2, 3), 5)
"""
_TIMEOUT = 300


@attrs.frozen
class Place:
    """The place of one scenario of one coder.

    Attributes:
        base: an empty folder for the project, the log of the tools and the file of the framework.
        url: of the scripted model.
    """

    base: Path
    url: str

    @property
    def project(self) -> Path:
        """The folder that the coder works in."""
        return self.base / "project"

    @property
    def log(self) -> Path:
        """The file in which the tools note their calls."""
        return self.base / "calls.log"

    @property
    def hold(self) -> Path:
        """The file that names the tool whose call waits."""
        return self.base / "calls.hold"

    def prepare(self) -> None:
        """Write the project, whose test fails."""
        self.project.mkdir()
        (self.project / "calc.py").write_text(_CALC)
        (self.project / "test_calc.py").write_text(_TESTS)
        self.log.touch()

    def calls(self) -> list[str]:
        """Return the tools that were called, in order."""
        return self.log.read_text().split()

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a coder."""
        return {
            **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
            "CODER_FOLDER": str(self.project),
            "CODER_LOG": str(self.log),
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": self.url,
            "OPENAI_COMPATIBLE_BASE_URL": self.url,
            "KANDO_LEDGER": f"sqlite:{self.base / 'kando.sqlite'}",
            "KANDO_WORKSPACES": str(self.base / "workspaces"),
            "PYTHONPATH": str(HERE),
        }


@attrs.frozen
class Seen:
    """The report of a coder when its process ends.

    Attributes:
        state: the framework's own word.
        waiting: what waits for a person's approval.
        run: the id by which the framework knows the run.
        text: the last words of the model, if the framework reports them.
    """

    state: str
    waiting: tuple[str, ...]
    run: str
    text: str = ""


class Coder(ABC):
    """A coder in one framework."""

    #: Of its column.
    title: str
    #: The files that a person writes: the agent, and what drives it from a shell.
    agent: str
    driver: str | None
    #: The distributions whose versions are named.
    distributions: tuple[str, ...]
    #: The file that works on three tasks at once, if the agent does not.
    three: str = ""
    #: The id of the run that is started first.
    first: str = "t"

    @property
    @abstractmethod
    def python(self) -> Path:
        """The interpreter of the environment that it is installed in."""

    @abstractmethod
    def command(self, action: str, run: str, *arguments: str) -> list[str]:
        """Return the command for an action."""

    @abstractmethod
    def seen(self, place: Place, output: str) -> Seen:
        """Return what an action printed."""

    def begin(self, place: Place, action: str, *arguments: str) -> subprocess.Popen[str]:
        """Start an action, to be killed in the middle."""
        command = self.command(action, self.first, *arguments)
        return subprocess.Popen(
            command,
            cwd=place.base,
            env=place.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def do(self, place: Place, action: str, *arguments: str, run: str = "") -> Seen:
        """Make an action in a process of its own, and wait until the run waits or ends.

        Raises:
            RuntimeError: it failed.
        """
        return self.seen(
            place, self.output(place, self.command(action, run or self.first, *arguments))
        )

    def output(self, place: Place, command: Sequence[str], allowed: Sequence[int] = (0,)) -> str:
        """Run a command and return what it prints.

        Raises:
            RuntimeError: its exit code is not allowed.
        """
        done = subprocess.run(
            command,
            cwd=place.base,
            env=place.environ,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
        if done.returncode not in allowed:
            msg = f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}{done.stderr}"
            raise RuntimeError(msg)
        return done.stdout

    def files(self, place: Place, run: str) -> Path:
        """Return a folder with the files of a run; of the first one if `run` is empty."""
        return place.project

    def versions(self) -> str:
        """Return the distributions and their versions."""
        code = (
            "import sys; from importlib.metadata import version\n"
            "print(', '.join(f'{each} {version(each)}' for each in sys.argv[1:]))"
        )
        command = [str(self.python), "-c", code, *self.distributions]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@attrs.frozen
class Installed(Coder):
    """A coder of a peer, in an environment of its own."""

    @property
    def peer(self) -> Peer:
        """Its environment."""
        return Peer(self.agent.removesuffix(".py"), HERE)

    @property
    def python(self) -> Path:
        return self.peer.folder / "bin" / "python"

    def command(self, action: str, run: str, *arguments: str) -> list[str]:
        script = self.three if action == "three" else self.driver
        return [str(self.python), str(HERE / str(script)), action, run, *arguments]


@attrs.frozen
class LangGraph(Installed):
    """The coder in LangGraph."""

    title = "LangGraph"
    agent = "langgraph_coder.py"
    driver = "langgraph_main.py"
    distributions = ("langgraph", "langchain", "langgraph-checkpoint-sqlite")
    three = "langgraph_three.py"

    def command(self, action: str, run: str, *arguments: str) -> list[str]:
        return super().command({"deny": "reject"}.get(action, action), run, *arguments)

    def seen(self, place: Place, output: str) -> Seen:
        found = json.loads(output.splitlines()[-1])
        names = tuple(each["name"] for asked in found["waiting"] for each in asked)
        state = "waiting" if names else f"at {found['next'][0]}" if found["next"] else "ended"
        return Seen(state, names, "t", found["text"])


@attrs.frozen
class PydanticAI(Installed):
    """The coder in Pydantic AI, on DBOS."""

    title = "Pydantic AI on DBOS"
    agent = "pydantic_ai_coder.py"
    driver = "pydantic_ai_main.py"
    distributions = ("pydantic-ai-slim", "dbos")
    three = "pydantic_ai_three.py"

    def seen(self, place: Place, output: str) -> Seen:
        found = json.loads(output.splitlines()[-1])
        names = (found["waiting"][0],) if found["waiting"] else ()
        return Seen(found["state"], names, found["id"], found["text"])


_LLM = ("--llm", "openai-compatible:scripted")

# Exit codes of a run that has finished, that waits and whose budget is exhausted.
_ENDS = (0, 6, 7)


@attrs.frozen
class Kando(Coder):
    """The coder in Kando, which its commands drive."""

    title = "Kando"
    agent = "kando_coder.py"
    three = "kando_three.py"
    driver = None
    first = "@last"
    distributions = ("kando-core", "kando-llm")

    @property
    def python(self) -> Path:
        return Path(sys.executable)

    def command(self, action: str, run: str, *arguments: str) -> list[str]:
        kit = str(HERE / (self.three if action == "three" else self.agent))
        begins = ["--workspace", "project", *_LLM, "--budget-llm-calls", "8"]
        words = {
            "start": [kit, "--goal", *arguments, *begins],
            "three": [kit, "--goal", "\n".join(arguments * 3), *begins],
            "resume": [run, "--kit", kit, *_LLM],
            "fork": [run, "--kit", kit, "--fresh", "--before", *arguments],
        }.get(action, [run, *arguments])
        kando = [str(self.python), "-c", "from kando.cli.main import main; main()"]
        return [*kando, {"start": "run", "three": "run"}.get(action, action), *words, "--json"]

    def begin(self, place: Place, action: str, *arguments: str) -> subprocess.Popen[str]:
        if action in ("approve", "deny"):
            self._decide(place, action, self.first)
            action = "resume"
        return super().begin(place, action, *arguments)

    def do(self, place: Place, action: str, *arguments: str, run: str = "") -> Seen:
        run = run or self.first
        if action in ("approve", "deny"):
            self._decide(place, action, run)
            action = "resume"
        elif action == "fork":
            event = self._request(place, run, int(arguments[0]))
            forked = json.loads(self.output(place, self.command(action, run, event)))
            action, arguments, run = "resume", (), forked["branch_id"]
        output = self.output(place, self.command(action, run, *arguments), _ENDS)
        seen = self.seen(place, output)
        return attrs.evolve(seen, text=self._text(place, run)) if action == "status" else seen

    def files(self, place: Place, run: str) -> Path:
        folder = Path(tempfile.mkdtemp(dir=place.base)) / "files"
        command = self.command("workspace", run or self.first, "--to", str(folder))
        self.output(place, command)
        return folder

    def _decide(self, place: Place, action: str, run: str) -> None:
        (asked,) = self._asked(place, run)
        self.output(place, self.command(action, run, asked["event_id"]))

    def seen(self, place: Place, output: str) -> Seen:
        found = json.loads(output)
        run = found["run_id"]
        asked = self._asked(place, run) if found["state"] == "waiting" else []
        return Seen(found["state"], tuple(each["reason"] for each in asked), run)

    def _text(self, place: Place, run: str) -> str:
        """Return the last words of the model."""
        world = json.loads(self.output(place, self.command("world", run)))
        return next(each["data"]["text"] for each in world["objects"] if each["id"] == "chat")

    def _asked(self, place: Place, run: str) -> list[Mapping[str, Any]]:
        return json.loads(self.output(place, self.command("approvals", run)))["items"]

    def _request(self, place: Place, run: str, number: int) -> str:
        """Return the id of the request for the model's answer of a number."""
        lines = self.output(place, self.command("events", run)).splitlines()
        requests = [each for each in map(json.loads, lines) if each["type"] == "llm.request"]
        return str(requests[number]["id"])


CODERS: Mapping[str, Coder] = {
    "kando": Kando(),
    "pydantic-ai": PydanticAI(),
    "langgraph": LangGraph(),
}
