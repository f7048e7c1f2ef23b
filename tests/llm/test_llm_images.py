"""Images, PDFs and files of text, sent by real SDK clients to loopback servers in each form."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando import Kit, RecordedEvent, Store, file, image, make_event, open_store
from kando.app.status import FINISHED
from kando.schema.events import LLM_RESPONSE
from wire import Says, Wire, reaching

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
    server = wire(Says("A cat."))

    run = looking.start("look", f"{provider}:some-model", **reaching(provider, server.url))

    (answer,) = looking.events(run, LLM_RESPONSE)
    assert answer.data["text"] == "A cat."
    assert sent(server) == [{"role": "user", "content": FORMS[provider]}]
