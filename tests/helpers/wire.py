"""A loopback server with the wire formats of Anthropic and OpenAI, for good and bad replies."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from typing import Any, Self

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
        is_anthropic = seen.path.endswith("/messages")
        if not seen.body.get("stream"):
            whole = json.dumps(message(reply) if is_anthropic else completion(reply)).encode()
            self._head(http, 200, "application/json", reply.headers, len(whole))
            http.wfile.write(whole)
            self._note(seen)
            return
        events = message_events(reply) if is_anthropic else completion_events(reply)
        stream = "".join(events).encode()
        sent = stream if reply.cut is None else stream[: reply.cut]
        # With a length, so that the client can tell that the stream is incomplete.
        self._head(http, 200, "text/event-stream", reply.headers, len(stream))
        http.wfile.write(sent)
        if reply.cut is None:
            self._note(seen)

    def _drip(self, http: BaseHTTPRequestHandler, seen: Seen, reply: Drips) -> None:
        is_anthropic = seen.path.endswith("/messages")
        events = message_events(reply.says) if is_anthropic else completion_events(reply.says)
        sign, stream = b": at work\n\n", "".join(events).encode()
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
    prefix = dialect.upper()
    base = url if dialect == "anthropic" else f"{url}/v1"
    return {f"{prefix}_BASE_URL": base, f"{prefix}_ENDPOINT_KEY": "key-for-the-loopback"}


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
    whole = message(reply)
    start = {**whole, "content": [], "stop_reason": None}
    yield _sse({"type": "message_start", "message": start})
    for index, block in enumerate(whole["content"]):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield _sse({"type": "content_block_start", "index": index, "content_block": empty})
        text = block["text"] if is_text else json.dumps(block["input"])
        for piece in _pieces(text):
            kind = {"type": "text_delta", "text": piece}
            if not is_text:
                kind = {"type": "input_json_delta", "partial_json": piece}
            yield _sse({"type": "content_block_delta", "index": index, "delta": kind})
        yield _sse({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _sse({"type": "message_delta", "delta": delta, "usage": whole.get("usage") or {}})
    yield _sse({"type": "message_stop"})


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
