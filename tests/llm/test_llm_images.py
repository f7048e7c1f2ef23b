"""Images, PDFs and files of text, sent by real SDK clients to loopback servers in each form."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from kando import Budget, Kit, RecordedEvent, Store, ask, file, image, make_event, open_store
from kando.app.status import FINISHED
from kando.schema.events import LLM_REQUEST, LLM_RESPONSE
from kando_llm.endpoints import SERVERS
from kando_llm.live_provider import connection_of
from kando_llm.request import read_request
from wire import Says, Stalls, Wire, reaching

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
PDF = b"%PDF-1.4\n1 0 obj << /Type /Page >> endobj\n" + bytes(range(256)) * 8
PNG_DATA, PDF_DATA = b64encode(PNG).decode(), b64encode(PDF).decode()


def looking_kit(folder: Path) -> Kit:
    """Return a kit that sends an image and a PDF, or has a tool that returns an image."""
    kit = Kit("looking", version="1")
    kit.prompts = {"look": "Read $scan and $paper for $who.", "tool": "Look at $who."}

    @kit.seeds
    def seeds(goal, run_id):
        data = {"id": "goal", "type": goal.title(), "data": {"who": "Ada"}}
        return [make_event("object.created", f"run:{run_id}", "cli", [], data)]

    @kit.llm_responder("object.created", type="Look", prompt="look")
    def look(event, world):
        scan, paper = image(folder / "scan.png"), file(folder / "paper.pdf")
        return {"scan": scan, "paper": paper, "who": event.data["data"]["who"]}

    @kit.tool(effect="read")
    def chart(at: str):
        """Return a chart."""
        return [f"The chart of {at}:", image(folder / "scan.png")]

    @kit.llm_responder("object.created", type="Tool", prompt="tool", tools=["chart"])
    def ask_with_tool(event, world):
        return {"who": event.data["data"]["who"]}

    return kit


#: The content of the request in each form.
ANTHROPIC = [
    {"type": "text", "text": "Read "},
    {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PNG_DATA},
    },
    {"type": "text", "text": " and "},
    {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF_DATA},
        "title": "paper.pdf",
    },
    {"type": "text", "text": " for Ada."},
]
CHAT = [
    {"type": "text", "text": "Read "},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG_DATA}"}},
    {"type": "text", "text": " and "},
    {
        "type": "file",
        "file": {
            "filename": "paper.pdf",
            "file_data": f"data:application/pdf;base64,{PDF_DATA}",
        },
    },
    {"type": "text", "text": " for Ada."},
]
RESPONSES = [
    {"type": "input_text", "text": "Read "},
    {
        "type": "input_image",
        "image_url": f"data:image/png;base64,{PNG_DATA}",
        "detail": "auto",
    },
    {"type": "input_text", "text": " and "},
    {
        "type": "input_file",
        "filename": "paper.pdf",
        "file_data": f"data:application/pdf;base64,{PDF_DATA}",
    },
    {"type": "input_text", "text": " for Ada."},
]
FORMS = {
    "anthropic": ANTHROPIC,
    "openai": CHAT,
    "openai-responses": RESPONSES,
    "openrouter": CHAT,
    "bedrock": ANTHROPIC,
    "vertex": ANTHROPIC,
}
#: Settings of the clouds.
PLACES = {
    "AWS_REGION": "eu-west-1",
    "CLOUD_ML_REGION": "us-east5",
    "ANTHROPIC_VERTEX_PROJECT_ID": "our-project",
}


@attrs.frozen
class Looking:
    """Runs of the kit above in one SQLite file."""

    folder: Path

    @property
    def kit(self) -> Kit:
        return looking_kit(self.folder)

    def store(self, **environ: str) -> Store:
        return open_store(f"sqlite:{self.folder}/runs.sqlite", environ=environ)

    def start(self, goal: str, llm: str, **environ: str) -> str:
        with self.store(**environ) as store:
            run = store.start(self.kit, goal, llm=llm)
            assert run.status().state == FINISHED
            return run.id

    def events(self, run: str, type: str) -> list[RecordedEvent]:
        with self.store() as store:
            return [e for e in store.run(run).events() if e.type == type]


@pytest.fixture
def looking(tmp_path) -> Looking:
    (tmp_path / "scan.png").write_bytes(PNG)
    (tmp_path / "paper.pdf").write_bytes(PDF)
    return Looking(tmp_path)


def sent(server: Wire, number: int = 0) -> list[dict[str, Any]]:
    """Return the messages of a request that a server received, without marks for its cache."""
    body = server.seen[number].body
    messages = body.get("messages") or body["input"]
    for message in messages:
        for block in message["content"] if isinstance(message.get("content"), list) else ():
            block.pop("cache_control", None)
    return messages


@pytest.mark.parametrize("provider", FORMS)
def test_an_image_and_a_pdf_reach_each_server_in_its_own_form(looking, wire, provider):
    if provider in ("bedrock", "vertex"):
        pytest.importorskip({"bedrock": "boto3", "vertex": "google.auth"}[provider])
    server = wire(Says("A cat."))
    settings = {**reaching(provider, server.url), **PLACES}

    run = looking.start("look", f"{provider}:some-model", **settings)

    (answer,) = looking.events(run, LLM_RESPONSE)
    assert answer.data["text"] == "A cat."
    assert sent(server) == [{"role": "user", "content": FORMS[provider]}]


def test_a_pdf_on_openrouter_is_read_for_models_that_do_not(looking, wire):
    server = wire(Says("A cat."))

    looking.start("look", "openrouter:some/model", **reaching("openrouter", server.url))

    assert server.seen[0].body["plugins"] == [{"id": "file-parser"}]


def test_the_worst_case_of_a_pdf_on_openrouter_has_the_price_of_its_pages():
    pages = b"%PDF-1.4\n" + b"<< /Type /Page >>\n" * 100
    content = [file(pages, name="a.pdf")]
    request = {"messages": [{"role": "user", "content": content}], "max_tokens": 1}
    costs = []
    for provider in ("openrouter", "openai"):
        connection = connection_of(SERVERS[provider], "", {f"{provider.upper()}_API_KEY": "k" * 20})
        asked = attrs.evolve(read_request(request), model="anthropic/claude-haiku-4-5")
        costs.append(attrs.evolve(connection, prices=Free()).worst_case(asked)["cost_usd"])

    assert costs == [pytest.approx(0.22), 0.0]


class Free:
    """A price list on which all models are free."""

    def worst_case(self, *_: object) -> float:
        return 0.0


CALL = Says("", stop="tool", calls=(("c1", "chart", {"at": "x"}), ("c2", "chart", {"at": "y"})))


def results_of_anthropic(image_block: Any) -> list[dict[str, Any]]:
    return [
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": id,
                    "content": [{"type": "text", "text": f"The chart of {at}:"}, image_block],
                }
                for id, at in (("c1", "x"), ("c2", "y"))
            ],
        }
    ]


def results_of_chat(image_part: Any) -> list[dict[str, Any]]:
    size = f"[image image/png {len(PNG):,} bytes]"
    texts = [
        {"role": "tool", "tool_call_id": id, "content": f"The chart of {at}:\n{size}"}
        for id, at in (("c1", "x"), ("c2", "y"))
    ]
    return [
        *texts,
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Of the result of the call c1:"},
                image_part,
                {"type": "text", "text": "Of the result of the call c2:"},
                image_part,
            ],
        },
    ]


def results_of_responses(image_part: Any) -> list[dict[str, Any]]:
    return [
        {
            "type": "function_call_output",
            "call_id": id,
            "output": [{"type": "input_text", "text": f"The chart of {at}:"}, image_part],
        }
        for id, at in (("c1", "x"), ("c2", "y"))
    ]


@pytest.mark.parametrize(
    ("provider", "results"),
    [
        ("anthropic", results_of_anthropic(ANTHROPIC[1])),
        ("openai", results_of_chat(CHAT[1])),
        ("openai-responses", results_of_responses(RESPONSES[1])),
    ],
)
def test_the_images_that_tools_return_reach_the_model(looking, wire, provider, results):
    server = wire(CALL, Says("Two charts."))

    run = looking.start("tool", f"{provider}:some-model", **reaching(provider, server.url))

    assert looking.events(run, LLM_RESPONSE)[-1].data["text"] == "Two charts."
    assert sent(server, 1)[-len(results) :] == results


@pytest.mark.parametrize(
    ("llm", "words"),
    [
        ("deepseek:deepseek-chat", "provider 'deepseek' takes no images"),
        ("gemini:some-model", "provider 'gemini' takes no PDFs"),
        ("openai:o3-mini", "model 'o3-mini' takes only text"),
    ],
)
def test_what_a_model_does_not_take_is_refused_before_it_is_sent(looking, wire, llm, words):
    server, provider = wire(Says()), llm.partition(":")[0]

    run = looking.start("look", llm, **reaching(provider, server.url))

    (answer,) = looking.events(run, LLM_RESPONSE)
    assert answer.data["error"]["type"] == "UnsupportedContent"
    assert words in answer.data["error"]["message"]
    assert answer.data["cost_usd"] == 0
    assert server.seen == []


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (
            "anthropic",
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "a,b\n1,2"},
                "title": "rows.csv",
            },
        ),
        (
            "openai",
            {
                "type": "text",
                "text": "--- rows.csv ---\na,b\n1,2\n--- end of rows.csv ---",
            },
        ),
        (
            "openai-responses",
            {
                "type": "input_text",
                "text": "--- rows.csv ---\na,b\n1,2\n--- end of rows.csv ---",
            },
        ),
    ],
)
def test_a_file_of_text_is_sent_as_text(looking, wire, provider, expected):
    server = wire(Says("A table."))
    with looking.store(**reaching(provider, server.url)) as store:
        run = store.start(asking(file(b"a,b\n1,2", "text/csv", name="rows.csv")), "x", llm=provider)
        assert run.status().state == FINISHED

    assert sent(server)[0]["content"] == [expected]


@pytest.mark.parametrize("provider", ["anthropic", "openai", "openai-responses"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (image(b"<svg/>", "image/svg+xml"), "takes only PDFs"),
        (file(b"\x00\x01", "application/zip"), "takes only PDFs"),
        (file(b"\xff\xfe", "text/plain"), "not UTF-8"),
    ],
    ids=["SVG", "ZIP", "text that is not UTF-8"],
)
def test_a_kind_that_no_server_takes_is_refused(looking, wire, provider, content, words):
    server = wire(Says())
    with looking.store(**reaching(provider, server.url)) as store:
        run = store.start(asking(content), "x", llm=provider)

        (answer,) = (e for e in run.events() if e.type == LLM_RESPONSE)
    assert answer.data["error"]["type"] == "UnsupportedContent"
    assert words in answer.data["error"]["message"]
    assert server.seen == []


def test_a_result_says_which_image_the_model_does_not_see(looking, wire):
    server = wire(CALL, Says("I cannot see them."))

    run = looking.start("tool", "deepseek:deepseek-chat", **reaching("deepseek", server.url))

    answer = looking.events(run, LLM_RESPONSE)[-1].data
    size = f"[image image/png {len(PNG):,} bytes]"
    assert (answer["text"], answer["dropped"]) == ("I cannot see them.", ["image"])
    assert sent(server, 1)[-1] == {
        "role": "tool",
        "tool_call_id": "c2",
        "content": f"The chart of y:\n{size} This part is not sent: "
        "provider 'deepseek' takes no images.",
    }


def test_an_image_in_another_message_than_the_users_is_refused(looking, wire):
    server = wire(Says())
    with looking.store(**reaching("openai", server.url)) as store:
        run = store.start(asking(image(PNG), role="system"), "x", llm="openai")

        (answer,) = (e for e in run.events() if e.type == LLM_RESPONSE)
    assert answer.data["error"]["type"] == "UnsupportedContent"
    assert server.seen == []


def test_an_image_asked_for_with_a_schema_keeps_its_place(looking, wire):
    server = wire(Says('{"n": 1}'))
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    with looking.store(**reaching("groq", server.url)) as store:
        kit = asking(image(PNG), output_schema=schema, tools=[{"name": "t"}])
        run = store.start(kit, "x", llm="groq:some-model")

        (answer,) = (e for e in run.events() if e.type == LLM_RESPONSE)
    assert answer.data["data"] == {"n": 1}
    first, second = sent(server)[0]["content"]
    assert (first, second["type"]) == (CHAT[1], "text")


def asking(part: Any, role: str = "user", **options: Any) -> Kit:
    """Return a kit that sends one part."""
    kit = Kit("asking", version="1")

    @kit.seeds
    def seeds(goal, run_id):
        return [make_event("object.created", f"run:{run_id}", "cli", [], {"type": "A", "data": {}})]

    @kit.responder("object.created")
    def on_created(event, world):
        messages = [{"role": role, "content": [part]}]
        yield ask(
            messages if role == "user" else [*messages, {"role": "user", "content": "x"}], **options
        )

    return kit


PRICE = """
[[price]]
provider = "{provider}"
model = "some-model"
input = 1.0
output = 1.0
date = 2026-01-01
source = "https://example.org"
"""


def test_a_budget_reserves_the_tokens_of_an_image_and_not_its_bytes(looking, wire):
    server = wire(Says("A cat."))
    prices = looking.folder / "prices.toml"
    prices.write_text(PRICE.format(provider=urlsplit(server.url).hostname))
    environ = {"KANDO_PRICES": str(prices), **reaching("openai", server.url)}
    large = image(PNG * 1_000)
    with looking.store(**environ) as store:
        run = store.start(
            asking(large),
            "x",
            llm="openai:some-model",
            budget=Budget(max_llm_tokens=30_000, max_llm_cost_usd=0.03),
        )

        assert run.status().state == FINISHED
    assert len(server.seen) == 1


CHILD = """
import sys
from pathlib import Path
from test_llm_images import Looking
Looking(Path(sys.argv[1])).start("look", "openai:some-model", **eval(sys.argv[2]))
"""


def test_a_run_that_is_killed_in_a_request_sends_the_same_image_again(looking, wire):
    server = wire(Stalls(), Says("A cat."))
    settings = reaching("openai", server.url)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", CHILD, str(looking.folder), repr(settings)]
    with subprocess.Popen(command, env=environ) as child:
        assert wait_for(lambda: server.seen or child.poll() is not None)
        child.kill()
    # The files may have changed: what was recorded is sent.
    (looking.folder / "scan.png").write_bytes(b"other")
    (looking.folder / "paper.pdf").unlink()

    with looking.store(**settings) as store:
        (found,) = store.runs()
        run = store.run(found.run_id)
        run.resume(kit=looking.kit, llm="openai:some-model")
        (answer,) = (e for e in run.events() if e.type == LLM_RESPONSE)

    assert answer.data["text"] == "A cat."
    assert sent(server, 0) == sent(server, 1) == [{"role": "user", "content": CHAT}]


def wait_for(condition: Any) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def test_a_fork_an_import_and_a_strict_replay_have_the_image(looking, wire):
    server = wire(Says("A cat."))
    settings = reaching("openai", server.url)
    run_id = looking.start("look", "openai:some-model", **settings)
    exported = looking.folder / "run.jsonl"

    with looking.store(**settings) as store:
        run = store.run(run_id)
        (request,) = (e for e in run.events() if e.type == LLM_REQUEST)
        branch = run.fork(at=request.position)
        branch.resume(kit=looking.kit, llm="openai:some-model")
        (answer,) = (e for e in branch.events() if e.type == LLM_RESPONSE)
        assert answer.data["cached"]
        assert len(server.seen) == 1
        run.replay(strict=True, kit=looking.kit)
        run.export(exported)
    with open_store(f"sqlite:{looking.folder}/other.sqlite") as other:
        with exported.open("rb") as lines:
            imported = other.import_run(lines)
        (same,) = (e for e in other.run(imported.run_id).events() if e.type == LLM_REQUEST)
        other.run(imported.run_id).replay(strict=True, kit=looking.kit)

    assert same.data == request.data
    assert [part.get("data") for part in same.data["messages"][0]["content"]] == [
        None,
        PNG_DATA,
        None,
        PDF_DATA,
        None,
    ]
