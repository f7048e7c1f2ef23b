"""Runs of a kit in a test: with a ledger in memory, a scripted model and simulated crashes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from weakref import WeakKeyDictionary, finalize

import attrs

from kando.app.context import Context
from kando.app.kits.find import kit_data
from kando.app.kits.settings import KitSettings, settings_data
from kando.app.tool_servers import Servers, ToolServers, responders_of
from kando.cache.llm import LLMCache
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.base import Responder
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.runtime import Runtime
from kando.runtime.workspace import Workspace
from kando.schema.content import text_of_content
from kando.schema.events import KIT_LOADED, KandoEvent, RecordedEvent, make_event
from kando.views.kit import recorded_servers
from kando.world.graph import World

__all__ = [
    "Answer",
    "Crash",
    "CrashingLedger",
    "KandoRun",
    "ScriptedLLM",
    "llm_response",
    "run_kit",
]

#: A text, or the data of an ``llm.response``, such as ``{"text": "No.", "stop": "refusal"}``.
Answer = str | Mapping[str, Any]


def llm_response(answer: Answer, model: str) -> dict[str, Any]:
    """Return the data of the ``llm.response`` with an answer; it costs nothing."""
    data = {"text": answer} if isinstance(answer, str) else answer
    return {"model": model, "cost_usd": 0.0, **data}


class Crash(BaseException):
    """A simulated crash of the process; like a power cut, no handler of `Exception` catches it."""


class CrashingLedger(LedgerStore):
    """A ledger that crashes when it would hold more than `at` events; the first `at` are kept.

    Args:
        inner: the ledger that survives the crash; resume the run on it.
        at: how many events it holds then, 0 or more.
    """

    def __init__(self, inner: LedgerStore, at: int) -> None:
        self.inner, self.at_most = inner, at
        self.keeps_blobs = inner.keeps_blobs

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        room = self.at_most - self.inner.length()
        if len(events) <= room:
            return self.inner.append(events, expected_length=expected_length)
        self.inner.append(events[: max(room, 0)], expected_length=expected_length)
        msg = f"{self.stream_name()} crashed at {self.at_most} events, as the test demands."
        raise Crash(msg)

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        return self.inner.read(from_position)

    def blobs(self, digests: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return self.inner.blobs(digests)

    def store_blobs(self, bodies: Sequence[bytes]) -> None:
        self.inner.store_blobs(bodies)

    def stream_name(self) -> str:
        return self.inner.stream_name()


class ScriptedLLM:
    """A language model that answers from a script.

    Args:
        answers: texts, or data of an ``llm.response``, by a substring of the request's last message;
            the first match is the answer.
        default: the answer to all other requests; if it is None, such a request fails the test.

    Attributes:
        requests: the data of every request that was answered, in the order of the calls.
    """

    def __init__(self, answers: Mapping[str, Answer], default: Answer | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self._answers, self._default = dict(answers), default

    @property
    def executor(self) -> Responder:
        """The responder that answers ``llm.request`` from the script."""
        return provider_executor(self._complete)

    def answer(self, request: dict[str, Any]) -> Answer:
        """Return the answer to a request.

        Raises:
            AssertionError: the script has no answer.
        """
        prompt = text_of_content(request["messages"][-1]["content"])
        answer = next((a for part, a in self._answers.items() if part in prompt), self._default)
        if answer is None:
            msg = f"The script has no answer to {prompt!r:.200}. Add one, or a default."
            raise AssertionError(msg)
        return answer

    def _complete(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self.answer(request)
        self.requests.append(request)
        return llm_response(answer, "scripted")


# Folders for the workspaces of ledgers; each is removed with its ledger.
_FOLDERS: WeakKeyDictionary[LedgerStore, Path] = WeakKeyDictionary()


def _folder_of(ledger: LedgerStore) -> Path:
    folder = _FOLDERS.get(ledger)
    if folder is None:
        folder = _FOLDERS[ledger] = Path(mkdtemp(prefix="kando-"))
        finalize(ledger, rmtree, folder, ignore_errors=True)
    return folder


def _tool_servers() -> ToolServers:
    return ToolServers(Context(None, os.environ))


@attrs.frozen
class KandoRun:
    """A run in a test.

    The first event of a run of a kit with MCP servers, or with settings, is ``kit.loaded``, with the
    tools that the servers offer and with the settings. The servers are started when they are needed, and ended with the work.

    Attributes:
        kit: of the run.
        ledger: of the run.
        executors: answer the requests; without one they stay pending.
        budget: limits of the run.
        checks_purity: refuse responders that use a clock or change the world (slow).
        settings: of the kit: by name, or an instance of its class; the defaults if None.
    """

    kit: Kit
    ledger: LedgerStore
    executors: tuple[Responder, ...] = ()
    budget: Budget | None = None
    checks_purity: bool = False
    settings: KitSettings | None = None
    _sessions: ToolServers = attrs.field(factory=_tool_servers, init=False, eq=False, repr=False)

    def runtime(self) -> Runtime:
        """Return a new runtime that has only the ledger, as after a restart."""
        return Runtime(
            self.ledger,
            [*self._responders(), *self.executors],
            self.budget,
            LLMCache(),
            kits=[self.kit],
            edge_logic=(),
            checks_purity=self.checks_purity,
            workspace=Workspace(self.ledger, partial(_folder_of, self.ledger)),
        )

    def work(self, seeds: Sequence[KandoEvent] = ()) -> World:
        """Record `seeds` and work until the run is idle; without seeds, resume it.

        Raises:
            ConfigurationError: an MCP server of the kit cannot be started or reached; or the kit has
                no such setting.
        """
        with self.connected():
            if seeds and self.loads_kit and not self.ledger.length():
                self._load_kit()
            return self.runtime().run(list(seeds))

    @property
    def loads_kit(self) -> bool:
        """Whether the first event of the run is ``kit.loaded``."""
        return bool(self.kit.tool_servers or self.settings)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """End the MCP servers of the kit with the block, and not with each work in it."""
        with self._sessions.in_use():
            yield

    def _load_kit(self) -> None:
        listings = {}
        for name, server in self.kit.tool_servers.items():
            self._sessions.require(server)
            listings[name] = self._sessions.listing(server)
        chosen = settings_data(Context(None, os.environ), self.kit, self.settings)
        data = kit_data(self.kit, settings=chosen, tool_servers=listings)
        loaded = make_event(KIT_LOADED, "", "test", [], data)
        self.runtime().record([loaded], is_own=True)

    def _responders(self) -> list[Responder]:
        if not self.loads_kit:
            return self.kit.create()
        loaded = next((e.data for e in self.ledger.read_all() if e.type == KIT_LOADED), None)
        servers = Servers({**self.kit.tool_servers}, recorded_servers(loaded))
        return responders_of(self.kit, loaded, servers=servers, sessions=self._sessions)

    @property
    def world(self) -> World:
        """The world projected from the ledger."""
        return self.runtime().load()

    @property
    def events(self) -> list[RecordedEvent]:
        """Every event of the ledger."""
        return list(self.ledger.read_all())


def run_kit(
    kit: Kit,
    goal: str,
    *,
    llm: ScriptedLLM | None = None,
    ledger: LedgerStore | None = None,
    budget: Budget | None = None,
    more_seeds: Sequence[KandoEvent] = (),
    checks_purity: bool = False,
) -> KandoRun:
    """Run a kit from a goal until the run is idle, and return the run.

    Args:
        kit: of the run.
        goal: for the kit's seed.
        llm: answers the requests; without one they stay pending.
        ledger: of the run; a new one in memory if omitted.
        budget: limits of the run.
        more_seeds: further root events, such as documents.
        checks_purity: refuse responders that use a clock or change the world (slow).

    Raises:
        AssertionError: the kit has no seed.
        Crash: the ledger is a `CrashingLedger`.
    """
    assert kit.seed is not None, f"Kit {kit.name!r} has no seed: declare one with @kit.seeds."
    ledger = ledger or MemoryLedgerStore("r1")
    executors = (llm.executor,) if llm is not None else ()
    run = KandoRun(kit, ledger, executors, budget, checks_purity)
    stream = ledger.stream_name()
    run_id = stream.partition(":")[2] or stream
    run.work([*kit.seed(goal, run_id), *more_seeds])
    return run
