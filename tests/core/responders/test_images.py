"""Images and files as parts of messages: how code gives them, where they are kept, who sees them."""

from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from kando import (
    Kit,
    Runtime,
    ask,
    call_tool,
    create,
    emit,
    file,
    image,
    make_event,
    open_store,
)
from kando.app.providers import Provider
from kando.cache.llm import LLMCache, request_key
from kando.errors import ConfigurationError, InvalidData, PayloadTooLarge
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.schema.attachments import attachment
from kando.schema.content import MAX_PART_BYTES, media_tokens, shown, text_of_content
from kando.schema.events import LLM_REQUEST, TOOL_RETURNED

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
PDF = b"%PDF-1.4\n" + b"1 0 obj << /Type /Page >> endobj\n" * 3


def part(kind: str, media_type: str, content: bytes, **more: str) -> dict[str, Any]:
    return {
        "type": kind,
        "media_type": media_type,
        "data": b64encode(content).decode(),
        **more,
    }


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("a.png", PNG, "image/png"),
        ("a.jpg", PNG, "image/png"),
        ("none", b"\xff\xd8\xff\xe0 jpeg", "image/jpeg"),
        ("none", b"GIF89a...", "image/gif"),
        ("none", b"RIFF1234WEBPVP8 ", "image/webp"),
        ("a.WEBP", b"unknown beginning", "image/webp"),
    ],
)
def test_an_image_has_the_media_type_of_its_content_else_of_its_suffix(
    tmp_path, name, content, media_type
):
    path = tmp_path / name
    path.write_bytes(content)

    assert image(path) == image(str(path)) == part("image", media_type, content)


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("report.pdf", PDF, "application/pdf"),
        ("report.txt", PDF, "application/pdf"),
        ("notes.md", b"# Notes", "text/markdown"),
        ("rows.csv", b"a,b", "text/csv"),
        ("unknown", "é".encode(), "text/plain"),
    ],
)
def test_a_file_has_a_media_type_and_its_name(tmp_path, name, content, media_type):
    path = tmp_path / name
    path.write_bytes(content)

    assert file(path) == part("file", media_type, content, name=name)
    assert file(path, name="other") == part("file", media_type, content, name="other")


def test_bytes_may_be_given_with_or_without_a_media_type():
    assert image(PNG) == part("image", "image/png", PNG)
    assert image(b"drawn", "image/x-own") == part("image", "image/x-own", b"drawn")
    assert file(bytearray(PDF)) == part("file", "application/pdf", PDF)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda folder: image(folder / "none.png"), InvalidData, "does not exist"),
        (lambda folder: image(folder), InvalidData, "is not a file"),
        (lambda folder: image(b""), InvalidData, "is empty"),
        (lambda folder: image(b"words"), InvalidData, "unknown media type"),
        (lambda folder: file(b"\x00\xff"), InvalidData, "unknown media type"),
        (lambda folder: image(PDF), InvalidData, "not an image"),
        (lambda folder: image(PNG, "image/jpeg"), InvalidData, "image/png by its content"),
        (lambda folder: image(folder / "x\0y"), InvalidData, "x"),
        (lambda folder: file(bytes(MAX_PART_BYTES + 1)), PayloadTooLarge, "more than"),
    ],
)
def test_an_image_or_a_file_that_cannot_be_sent_is_an_error_that_says_why(
    tmp_path, make, error, words
):
    with pytest.raises(error, match=words):
        make(tmp_path)


def test_a_request_has_parts_as_they_are_written_and_paths_are_read(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    path = str(tmp_path / "a.png")
    given = [
        "What is this?",
        {"type": "image", "path": path},
        {"type": "file", "path": path, "name": "b", "media_type": "image/png"},
        part("file", "application/pdf", PDF),
        text("Be brief."),
    ]

    request = ask([{"role": "user", "content": given}])

    assert request.data["messages"] == [
        {
            "role": "user",
            "content": [
                text("What is this?"),
                part("image", "image/png", PNG),
                part("file", "image/png", PNG, name="b"),
                part("file", "application/pdf", PDF),
                text("Be brief."),
            ],
        }
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "image"},
        {"type": "image", "media_type": "image/png", "data": "not base64!"},
        {"type": "image", "media_type": "png", "data": "AAAA"},
        {"type": "image", "path": 7},
        {"type": "image", "path": "a.png", "data": "AAAA"},
        {"type": "file", "path": "does-not-exist.pdf"},
    ],
)
def test_a_malformed_part_is_refused_where_the_request_is_made(wrong):
    with pytest.raises(InvalidData, match=wrong["type"]):
        ask([{"role": "user", "content": [wrong]}])


def test_requests_without_parts_keep_their_keys_in_the_cache():
    messages = [{"role": "user", "content": "x"}]

    asked = ask(messages).data

    encoded = b'{"messages":[{"content":"x","role":"user"}],"model":"default"}'
    assert asked["messages"] is messages
    assert request_key(asked) == sha256(encoded).hexdigest()


def looking_kit(prompt: str = "Compare $pages with $who.") -> Kit:
    kit = Kit("looking", prompts={"look": prompt})

    @kit.tool(effect="read")
    def chart(kind: str) -> Any:
        """Return a chart."""
        if kind == "nested":
            return {"title": "T", "picture": image(PNG)}
        if kind == "long":
            return ["x" * 30_000, image(PNG * 200)]
        return image(PNG)

    @kit.llm_responder("object.created", type="Look", prompt="look", tools=["chart"])
    def look(event, world):
        return event.data["data"]

    return kit


def run(
    kit: Kit, complete: Any, values: dict[str, Any], ledger: Any = None, budget: Any = None
) -> list[Any]:
    ledger = ledger or MemoryLedgerStore("r1")
    executor = provider_executor(complete)
    responders = [*kit.create(), executor]
    runtime = Runtime(ledger, responders, edge_logic=(), cache=LLMCache(), budget=budget)
    seeds = [create("Look", values, id="look")] if not ledger.length() else []
    world = runtime.run(seeds)
    assert runtime.replay(strict=True) == world
    return list(ledger.read_all())


def test_a_value_of_a_prompt_may_be_images_and_files():
    asked: list[dict[str, Any]] = []

    def complete(request):
        asked.append(request)
        return {"text": "Equal.", "cost_usd": 0.0}

    run(looking_kit(), complete, {"pages": [image(PNG), file(PDF)], "who": "Ada"})

    assert asked[0]["messages"][0]["content"] == [
        text("Compare "),
        part("image", "image/png", PNG),
        part("file", "application/pdf", PDF),
        text(" with Ada."),
    ]


def test_an_image_without_a_place_in_the_prompt_is_an_error():
    with pytest.raises(ConfigurationError, match="no place for the value 'pages'"):
        run(looking_kit("Nothing."), lambda request: {"text": ""}, {"pages": image(PNG)})


def answers_with_chart(kind: str, asked: list[dict[str, Any]]) -> Any:
    def complete(request):
        asked.append(request)
        if len(request["messages"]) > 1:
            return {"text": "Seen.", "cost_usd": 0.0}
        call = {"id": "c1", "name": "chart", "arguments": {"kind": kind}}
        return {"text": "", "tool_calls": [call], "stop": "tool", "cost_usd": 0.0}

    return complete


def test_the_image_that_a_tool_returns_is_a_part_of_the_next_message():
    asked: list[dict[str, Any]] = []

    events = run(looking_kit(), answers_with_chart("plain", asked), {"pages": "p", "who": "w"})

    (returned,) = (e for e in events if e.type == TOOL_RETURNED)
    assert returned.data["result"] == {"content": [part("image", "image/png", PNG)]}
    assert asked[1]["messages"][-1] == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": [part("image", "image/png", PNG)],
    }


def test_an_image_inside_another_result_follows_its_json():
    asked: list[dict[str, Any]] = []

    run(looking_kit(), answers_with_chart("nested", asked), {"pages": "p", "who": "w"})

    picture = f"[image image/png {len(PNG):,} bytes]"
    assert asked[1]["messages"][-1]["content"] == [
        text(f'{{"title":"T","picture":"{picture}"}}'),
        part("image", "image/png", PNG),
    ]


def test_the_text_of_a_result_is_truncated_and_its_image_is_whole():
    asked: list[dict[str, Any]] = []

    run(looking_kit(), answers_with_chart("long", asked), {"pages": "p", "who": "w"})

    shortened, whole = asked[1]["messages"][-1]["content"]
    assert shortened["text"].endswith("[20,000 of 30,000 characters]")
    assert whole == part("image", "image/png", PNG * 200)


def test_an_image_is_stored_once_for_all_requests_and_branches(tmp_path):
    kit, big = looking_kit(), PNG * 2_000
    path = f"sqlite:{tmp_path}/runs.sqlite"
    executor = provider_executor(answers_with_chart("plain", []))
    answer = Provider("own", "", executor)

    @kit.seeds
    def seeds(goal, run_id):
        return [create("Look", {"pages": image(big), "who": goal}, id="look")]

    with open_store(path) as store:
        first = store.start(kit, "Ada", llm=answer)
        branch = first.fork(at=first.length() - 2)
        branch.resume(kit=kit, llm=answer)
        again = store.start(kit, "Bob", llm=answer)
        data = image(big)["data"]
        for each in (first, branch, again):
            requests = [e for e in each.events() if e.type == LLM_REQUEST]
            assert len(requests) == 2
            assert all(data in str(e.data) for e in requests)
    size = sum(each.stat().st_size for each in tmp_path.iterdir())

    assert len(data) > 1024 * 1024
    assert size < 2 * len(data)


def test_an_image_of_more_than_the_limit_of_an_event_can_be_recorded():
    kit = Kit("big")
    ledger = MemoryLedgerStore("r1")

    @kit.responder("object.created")
    def on_created(event, world):
        yield ask([{"role": "user", "content": [image(PNG * 2_500)]}])

    Runtime(ledger, kit.create(), edge_logic=()).run([create("Look", {}, id="look")])

    (request,) = (e for e in ledger.read_all() if e.type == LLM_REQUEST)
    assert request.data["messages"][0]["content"] == [part("image", "image/png", PNG * 2_500)]


@pytest.mark.parametrize(
    "data",
    [
        {"scan": {**part("image", "image/png", PNG), "data": "A" * (MAX_PART_BYTES * 2)}},
        {"scan": image(PNG), "text": "x" * 1_100_000},
        {"scan": [image(PNG * 300), image(PNG * 300)], "text": "x" * 1_100_000},
    ],
    ids=["a part that is too large", "text next to a part", "text next to equal parts"],
)
def test_the_limit_of_an_event_holds_for_everything_else(data):
    runtime = Runtime(MemoryLedgerStore("r1"), [], edge_logic=())

    with pytest.raises(PayloadTooLarge):
        runtime.run([create("Look", data, id="look")])


def test_a_tool_may_return_an_image_that_is_larger_than_its_limit():
    kit = Kit("tools")

    @kit.tool(max_result_bytes=2_000)
    def photo(size: int) -> Any:
        """Return a photo."""
        return image(PNG * size) if size else "x" * 3_000

    @kit.responder("object.created")
    def on_created(event, world):
        yield call_tool("photo", {"size": 800})
        yield call_tool("photo", {"size": 0})

    ledger = MemoryLedgerStore("r1")
    Runtime(ledger, kit.create(), edge_logic=()).run([create("Look", {}, id="look")])

    found = [e.data for e in ledger.read_all() if e.type == TOOL_RETURNED]
    assert {("result" in each, "error" in each) for each in found} == {(True, False), (False, True)}


def test_the_worst_case_of_an_image_does_not_depend_on_its_bytes():
    small, large = image(PNG), image(PNG * 1_000)

    assert media_tokens([small]) == media_tokens([large]) >= 4_784
    assert media_tokens([small], "openai:gpt-4o-mini") >= 37_000
    assert media_tokens([file(PDF)]) == 3 * media_tokens([file(PDF)]) // 3 >= 3 * 4_784


def test_a_request_with_a_large_image_fits_into_a_budget_of_tokens():
    values = {"pages": image(PNG * 1_000), "who": "w"}
    asked: list[dict[str, Any]] = []

    def complete(request):
        asked.append(request)
        return {"text": "Seen.", "cost_usd": 0.0}

    run(looking_kit(), complete, values, budget=Budget(max_llm_tokens=30_000))
    run(looking_kit(), complete, values, budget=Budget(max_llm_tokens=12_000))

    assert len(asked) == 1


def test_people_see_the_size_of_an_image_and_not_its_base64():
    message = {"role": "user", "content": [text("Look:"), image(PNG), file(PDF, name="r.pdf")]}

    picture, paper = (
        f"[image image/png {len(PNG):,} bytes]",
        f"[file application/pdf {len(PDF)} bytes: r.pdf]",
    )
    assert shown(message)["content"] == [text("Look:"), picture, paper]
    assert text_of_content(message["content"]) == f"Look:\n{picture}\n{paper}"


def test_a_path_in_an_event_that_is_sent_is_refused(tmp_path):
    (tmp_path / "secret.png").write_bytes(PNG)
    kit = looking_kit()

    @kit.seeds
    def seeds(goal, run_id):
        return [create("Note", {}, id="note")]

    content = [{"type": "image", "path": str(tmp_path / "secret.png")}]
    with open_store(f"sqlite:{tmp_path}/runs.sqlite") as store:
        started = store.start(kit, "x")
        with pytest.raises(InvalidData, match="by its path"):
            started.send("human.message", {"content": content})
        with pytest.raises(InvalidData, match="by its path"):
            started.send("a.message", {"messages": [{"role": "user", "content": content}]})
        started.send("a.listing", {"files": [{"type": "file", "path": "a.py"}]})


def test_a_path_in_a_request_is_read_when_it_is_emitted(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    content = [{"type": "image", "path": str(tmp_path / "a.png")}]

    emitted = emit(LLM_REQUEST, {"messages": [{"role": "user", "content": content}]})

    assert emitted.data["messages"][0]["content"] == [part("image", "image/png", PNG)]


def test_a_path_in_a_recorded_message_is_not_read(tmp_path):
    (tmp_path / "secret.png").write_bytes(PNG)
    kit = Kit("asking")
    by_path = {"type": "image", "path": str(tmp_path / "secret.png")}
    first = {"role": "user", "content": [text("x" * 2_000), by_path]}

    @kit.responder("llm.request")
    def on_request(event, world):
        if len(event.data["messages"]) == 1:
            yield ask([*event.data["messages"], {"role": "user", "content": "more"}])

    ledger = MemoryLedgerStore("r1")
    seed = make_event(LLM_REQUEST, "", "cli", [], {"messages": [first]})
    Runtime(ledger, kit.create(), edge_logic=()).run([seed])

    (_, again) = (e for e in ledger.read_all() if e.type == LLM_REQUEST)
    assert again.data["messages"][0]["content"][1] == by_path


def talking_kit() -> Kit:
    kit = Kit("talking")
    kit.conversation()
    return kit


def talk(store: Any, complete: Any, *turns: dict[str, Any]) -> tuple[Any, list[list[Any]]]:
    """Return a run of a conversation after these turns, and the contents of each request."""
    seen: list[list[Any]] = []

    def noting(request: dict[str, Any]) -> dict[str, Any]:
        seen.append([each["content"] for each in request["messages"]])
        return {"cost_usd": 0.0, **complete(request)}

    provider = Provider("own", "", provider_executor(noting))
    kit = talking_kit()
    run = store.start(kit, "Hello.", llm=provider)
    for turn in turns:
        run.send("human.message", turn) if "content" in turn else run.say(**turn)
        run.resume(kit=kit, llm=provider)
    return run, seen


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:{tmp_path}/runs.sqlite", environ={"KANDO_PLUGINS": ""}) as store:
        yield store


def test_a_turn_of_a_conversation_may_have_images_which_later_requests_have_too(store):
    run, seen = talk(
        store,
        lambda request: {"text": "ok"},
        {"text": "Look.", "attachments": [image(PNG)]},
        {"text": "More."},
    )

    content = [text("Look."), part("image", "image/png", PNG)]
    assert seen[1:] == [
        ["Hello.", "ok", content],
        ["Hello.", "ok", content, "ok", "More."],
    ]
    run.replay(strict=True, kit=talking_kit())


@pytest.mark.parametrize(
    ("error", "kept"), [("UnsupportedContent", 0), ("RequestRejected", 1), ("Other", 2)]
)
def test_a_refused_image_does_not_end_the_conversation(store, error, kept):
    def complete(request):
        with_image = [isinstance(each["content"], list) for each in request["messages"]]
        if sum(with_image) == 2:
            return {"error": {"type": error, "message": "no"}}
        return {"text": "ok"}

    turn = {"text": "Look.", "attachments": [image(PNG)]}
    _, seen = talk(store, complete, turn, turn, {"text": "Again."})

    assert sum(isinstance(each, list) for each in seen[-1]) == kept
    if error == "UnsupportedContent":
        assert f"[image image/png {len(PNG):,} bytes]" in seen[-1][2]
        assert seen[-1][-1] == "Again."


def test_a_recorded_turn_with_a_path_or_a_malformed_part_is_sent_in_words():
    kit, seen = talking_kit(), list[Any]()

    def complete(request):
        seen.append(request["messages"][-1]["content"])
        return {"text": "ok", "cost_usd": 0.0}

    content = [
        {"type": "image", "path": "/etc/hostname"},
        {"type": "image", "media_type": "image/png", "data": "not base64!"},
        {"type": "video"},
        text("Look."),
    ]
    ledger = MemoryLedgerStore("r1")
    seeds = [make_event("human.message", "", "cli", [], {"text": "Look.", "content": content})]
    Runtime(ledger, [*kit.create(), provider_executor(complete)], edge_logic=()).run(seeds)

    assert [each["type"] for each in seen[0]] == ["text"] * 4
    assert "path" in seen[0][0]["text"]
    assert seen[0][3] == text("Look.")


@pytest.mark.parametrize("content", ["A", "not base64!", ""])
def test_a_malformed_image_is_refused_where_it_is_sent(store, content):
    run, _ = talk(store, lambda request: {"text": "ok"})

    with pytest.raises(InvalidData, match=r"The image in the content of human.message"):
        run.say("Look.", attachments=[{**image(PNG), "data": content}])


def test_a_file_is_attached_as_what_it_is(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "a.svg").write_text("<svg/>")

    assert attachment(tmp_path / "a.png") == part("image", "image/png", PNG, name="a.png")
    assert attachment(tmp_path / "a.svg")["type"] == "file"


def test_a_value_of_a_prompt_that_names_a_file_by_its_path_is_not_read(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    kit = Kit("look", prompts={"look": "Look: $what"})

    @kit.llm_responder("a.listing", prompt="look")
    def on_listing(event, world):
        return {"what": {"type": "image", "path": str(tmp_path / "a.png")}}

    ledger = MemoryLedgerStore("r1")
    Runtime(ledger, kit.create(), edge_logic=()).run([make_event("a.listing", "", "cli", [], {})])

    (request,) = [e for e in ledger.read_all() if e.type == "llm.request"]
    assert "a.png" in request.data["messages"][0]["content"]
