"""A loopback server with the wire formats of Anthropic and OpenAI, for good and bad replies.

The formats are those of Messages, Chat Completions and the Responses API; Messages also as Bedrock
and Vertex stream them.
"""

from __future__ import annotations

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from struct import pack
from typing import Any, Self
from zlib import crc32

import attrs

#: Makes an SDK retry after a millisecond, so that tests do not wait for its backoff.
AT_ONCE = {"retry-after-ms": "1"}


@attrs.frozen
class Says:
    """A good answer.

    Attributes:
        text: of the answer.
        stop: ``end``, ``length``, ``tool`` or ``refusal``.
        calls: tool calls that it requests: id, name and arguments.
        model: reported as the one that answered.
        usage: input (without cached), output, cached and reasoning tokens; None for none.
        cost: reported with the usage, as by OpenRouter.
        cut: how many bytes of a stream are sent before it is cut off; None for all.
        headers: of the response.
    """

    text: str = "Yes."
    stop: str = "end"
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    model: str = "served-1"
    usage: tuple[int, int, int, int] | None = (11, 7, 0, 0)
    cost: float | None = None
    cut: int | None = None
    headers: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Fails:
    """A bad answer: an error status, or a malformed body.

    Attributes:
        status: of the response.
        body: sent as JSON unless it is a string.
        headers: of the response.
    """

    status: int = 500
    body: Any = None
    headers: dict[str, str] = attrs.field(factory=lambda: dict(AT_ONCE))


@attrs.frozen
class Stalls:
    """No answer at all, until the server is closed."""


@attrs.frozen
class Drips:
    """An answer that takes long: signs of life come first.

    Attributes:
        says: the answer.
        signs: how many comments come before it.
        pause: seconds before each.
    """

    says: Says
    signs: int = 8
    pause: float = 0.1


@attrs.frozen
class HangsUp:
    """No answer: the connection is closed after the request."""


Reply = Says | Fails | Stalls | Drips | HangsUp


@attrs.frozen
class Seen:
    """A request as the server received it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """Everything in its body."""
        return json.dumps(self.body, ensure_ascii=False)

    @property
    def is_of_bedrock(self) -> bool:
        """Whether Bedrock's client has sent it, which says in the path that it wants a stream."""
        return self.path.endswith("/invoke-with-response-stream")


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Print nothing: clients that break off are part of the tests."""


class Wire:
    """A server on the loopback interface.

    Args:
        answer: returns the reply to a request; given the request and how many came before it.
        tls: with which it encrypts; None for plain HTTP.
    """

    def __init__(
        self, answer: Callable[[Seen, int], Reply], tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        #: Requests that were answered in full.
        self.answered: list[Seen] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                wire._handle(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            socket = self._server.socket
            self._server.socket = tls.wrap_socket(socket, server_side=True)
        self._server.daemon_threads = True
        self._server.block_on_close = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handle(self, http: BaseHTTPRequestHandler) -> None:
        body = http.rfile.read(int(http.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in http.headers.items()}
        seen = Seen(http.path, headers, json.loads(body))
        with self._lock:
            before = len(self.seen)
            self.seen.append(seen)
        http.close_connection = True
        reply = self.answer(seen, before)
        try:
            if isinstance(reply, Stalls):
                self._closing.wait(60)
            elif isinstance(reply, HangsUp):
                http.connection.shutdown(SHUT_RDWR)
            elif isinstance(reply, Drips):
                self._drip(http, seen, reply)
            elif isinstance(reply, Fails):
                self._fail(http, reply)
            else:
                self._say(http, seen, reply)
        except OSError:
            pass  # The client has gone.

    def _fail(self, http: BaseHTTPRequestHandler, reply: Fails) -> None:
        is_text = isinstance(reply.body, str)
        content = (reply.body if is_text else json.dumps(reply.body)).encode("latin-1")
        self._head(http, reply.status, "application/json", reply.headers, len(content))
        http.wfile.write(content)

    def _say(self, http: BaseHTTPRequestHandler, seen: Seen, reply: Says) -> None:
        if not (seen.body.get("stream") or seen.is_of_bedrock):
            whole = json.dumps(whole_answer(seen.path, reply)).encode()
            self._head(http, 200, "application/json", reply.headers, len(whole))
            http.wfile.write(whole)
            self._note(seen)
            return
        kind, stream = "text/event-stream", streamed_answer(seen.path, reply)
        if seen.is_of_bedrock:
            kind = "application/vnd.amazon.eventstream"
        sent = stream if reply.cut is None else stream[: reply.cut]
        # With a length, so that the client can tell that the stream is incomplete.
        self._head(http, 200, kind, reply.headers, len(stream))
        http.wfile.write(sent)
        if reply.cut is None:
            self._note(seen)

    def _drip(self, http: BaseHTTPRequestHandler, seen: Seen, reply: Drips) -> None:
        sign, stream = b": at work\n\n", streamed_answer(seen.path, reply.says)
        length = reply.signs * len(sign) + len(stream)
        self._head(http, 200, "text/event-stream", reply.says.headers, length)
        for _ in range(reply.signs):
            self._closing.wait(reply.pause)
            http.wfile.write(sign)
        http.wfile.write(stream)
        self._note(seen)

    def _head(
        self,
        http: BaseHTTPRequestHandler,
        status: int,
        kind: str,
        headers: dict[str, str],
        length: int,
    ) -> None:
        http.send_response(status)
        ids = {"request-id": "req-1", "x-request-id": "req-1"}
        about = {"content-type": kind, "content-length": str(length), "connection": "close"}
        for name, value in ({**ids, **about, **headers}).items():
            http.send_header(name, value)
        http.end_headers()

    def _note(self, seen: Seen) -> None:
        with self._lock:
            self.answered.append(seen)


def reaching(dialect: str, url: str) -> dict[str, str]:
    """Return the settings with which a provider sends its requests to a server."""
    prefix = {"openai-responses": "OPENAI"}.get(dialect, dialect.upper())
    base = url if dialect in ("anthropic", "bedrock") else f"{url}/v1"
    return {f"{prefix}_BASE_URL": base, f"{prefix}_ENDPOINT_KEY": "key-for-the-loopback"}


def whole_answer(path: str, reply: Says) -> dict[str, Any]:
    """Return an answer in the form of the API that has a path."""
    if path.endswith("/messages") or "rawPredict" in path:
        return message(reply)
    return response(reply) if path.endswith("/responses") else completion(reply)


def streamed_answer(path: str, reply: Says) -> bytes:
    """Return the stream of an answer, in the form of the API that has a path."""
    if path.endswith("/invoke-with-response-stream"):
        return b"".join(bedrock_frame(event) for event in message_parts(reply))
    if path.endswith("/messages") or "streamRawPredict" in path:
        events = message_events(reply)
    else:
        is_responses = path.partition("?")[0].endswith("/responses")
        events = response_events(reply) if is_responses else completion_events(reply)
    return "".join(events).encode()


def message(reply: Says) -> dict[str, Any]:
    """Return an answer in the form of Anthropic's Messages API."""
    stops = {"end": "end_turn", "length": "max_tokens", "tool": "tool_use"}
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    for id, name, arguments in reply.calls:
        content.append({"type": "tool_use", "id": id, "name": name, "input": arguments})
    whole: dict[str, Any] = {
        "id": "msg-1",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": stops.get(reply.stop, reply.stop),
        "stop_sequence": None,
    }
    if reply.usage is not None:
        given, output, cached, reasoning = reply.usage
        whole["usage"] = {
            "input_tokens": given,
            "output_tokens": output,
            "cache_read_input_tokens": cached,
            "output_tokens_details": {"thinking_tokens": reasoning},
        }
    return whole


def message_events(reply: Says) -> Iterator[str]:
    """Yield an answer as the events of Anthropic's stream."""
    for part in message_parts(reply):
        yield _sse(part)


def message_parts(reply: Says) -> Iterator[dict[str, Any]]:
    """Yield the content of each event of Anthropic's stream."""
    whole = message(reply)
    start = {**whole, "content": [], "stop_reason": None}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(whole["content"]):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        text = block["text"] if is_text else json.dumps(block["input"])
        for piece in _pieces(text):
            kind = {"type": "text_delta", "text": piece}
            if not is_text:
                kind = {"type": "input_json_delta", "partial_json": piece}
            yield {"type": "content_block_delta", "index": index, "delta": kind}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": whole.get("usage") or {}}
    yield {"type": "message_stop"}


def bedrock_frame(event: dict[str, Any], *, exception: str = "") -> bytes:
    """Return an event as Bedrock sends it: in a binary frame, or as an exception of that type."""
    if exception:
        content = json.dumps(event).encode()
        headers = {":exception-type": exception, ":message-type": "exception"}
    else:
        content = json.dumps({"bytes": b64encode(json.dumps(event).encode()).decode()}).encode()
        headers = {":event-type": "chunk", ":message-type": "event"}
    headers |= {":content-type": "application/json"}
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = pack(">II", 16 + len(head) + len(content), len(head))
    frame = prelude + pack(">I", crc32(prelude)) + head + content
    return frame + pack(">I", crc32(frame))


def response(reply: Says) -> dict[str, Any]:
    """Return an answer in the form of OpenAI's Responses API."""
    reasons = {"length": "max_output_tokens"}
    output: list[dict[str, Any]] = []
    if reply.text or not reply.calls:
        part = {"type": "output_text", "text": reply.text, "annotations": []}
        if reply.stop == "refusal":
            part = {"type": "refusal", "refusal": reply.text}
        said = {"id": "msg-1", "type": "message", "role": "assistant", "status": "completed"}
        output.append({**said, "content": [part]})
    for number, (id, name, arguments) in enumerate(reply.calls):
        call = {"id": f"fc-{number}", "type": "function_call", "status": "completed"}
        output.append({**call, "call_id": id, "name": name, "arguments": json.dumps(arguments)})
    is_whole = reply.stop in ("end", "tool", "refusal")
    whole: dict[str, Any] = {
        "id": "resp-1",
        "object": "response",
        "created_at": 1,
        "model": reply.model,
        "status": "completed" if is_whole else "incomplete",
        "error": None,
        "incomplete_details": None if is_whole else {"reason": reasons.get(reply.stop, reply.stop)},
        "output": output,
    }
    if reply.usage is not None:
        given, answered, cached, reasoning = reply.usage
        whole["usage"] = {
            "input_tokens": given + cached,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
            "output_tokens": answered,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": given + cached + answered,
        }
    return whole


def response_events(reply: Says) -> Iterator[str]:
    """Yield an answer as the events of the stream of the Responses API."""
    return streamed_response(response(reply))


def streamed_response(whole: dict[str, Any]) -> Iterator[str]:
    """Yield a whole answer of the Responses API as the events of a stream."""
    number = 0

    def event(kind: str, **fields: Any) -> str:
        nonlocal number
        number += 1
        return _sse({"type": f"response.{kind}", "sequence_number": number, **fields})

    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    begun |= {"incomplete_details": None}
    yield event("created", response=begun)
    yield event("in_progress", response=begun)
    for index, item in enumerate(whole["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        is_call = item["type"] == "function_call"
        empty = {**item, "arguments": ""} if is_call else {**item, "content": []}
        yield event("output_item.added", output_index=index, item=empty)
        if is_call:
            for piece in _pieces(item["arguments"]):
                yield event("function_call_arguments.delta", **at, delta=piece)
            yield event("function_call_arguments.done", **at, arguments=item["arguments"])
        parts = item["content"] if item["type"] == "message" else []
        for place, part in enumerate(parts):
            name = "refusal" if part["type"] == "refusal" else "text"
            kind = "refusal" if name == "refusal" else "output_text"
            inside = {**at, "content_index": place}
            yield event("content_part.added", **inside, part={**part, name: ""})
            for piece in _pieces(part[name]):
                yield event(f"{kind}.delta", **inside, delta=piece)
            yield event(f"{kind}.done", **inside, **{name: part[name]})
            yield event("content_part.done", **inside, part=part)
        yield event("output_item.done", output_index=index, item=item)
    yield event(str(whole["status"]), response=whole)


def completion(reply: Says) -> dict[str, Any]:
    """Return an answer in the form of OpenAI's Chat Completions API."""
    stops = {"end": "stop", "tool": "tool_calls", "refusal": "stop"}
    said: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.stop == "refusal":
        said |= {"content": None, "refusal": reply.text}
    if reply.calls:
        said["tool_calls"] = [
            {
                "id": id,
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for id, name, arguments in reply.calls
        ]
    finish = stops.get(reply.stop, reply.stop)
    choice = {"index": 0, "message": said, "finish_reason": finish}
    whole: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": reply.model,
        "choices": [choice],
    }
    if reply.usage is not None:
        given, output, cached, reasoning = reply.usage
        whole["usage"] = {
            "prompt_tokens": given + cached,
            "completion_tokens": output,
            "total_tokens": given + cached + output,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }
        if reply.cost is not None:
            whole["usage"]["cost"] = reply.cost
    return whole


def completion_events(reply: Says) -> Iterator[str]:
    """Yield an answer as the chunks of OpenAI's stream."""
    whole = completion(reply)
    usage = whole.pop("usage", None)
    choice = whole["choices"][0]
    said, base = choice["message"], {**whole, "object": "chat.completion.chunk"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        one = {"index": 0, "delta": delta, "finish_reason": finish}
        return _sse({**base, "choices": [one]}, names_type=False)

    yield chunk({"role": "assistant", "content": ""})
    for field in ("content", "refusal"):
        for piece in _pieces(said[field] or ""):
            yield chunk({field: piece})
    for index, call in enumerate(said.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        first = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        yield chunk({"tool_calls": [first]})
        for piece in _pieces(arguments):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, choice["finish_reason"])
    if usage is not None:
        yield _sse({**base, "choices": [], "usage": usage}, names_type=False)
    yield "data: [DONE]\n\n"


def _pieces(text: str) -> list[str]:
    size = max(5, len(text) // 1000)
    return [text[at : at + size] for at in range(0, len(text), size)]


def _sse(event: dict[str, Any], *, names_type: bool = True) -> str:
    name = f"event: {event['type']}\n" if names_type else ""
    return f"{name}data: {json.dumps(event)}\n\n"
