"""A scripted model: a loopback server with OpenAI's API that answers each turn as its script says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["ENDLESS", "FIX", "WRONG", "Model", "Step", "serving"]

#: A tool's name and its arguments, or the text of the last answer.
Step = tuple[str, dict[str, str]] | str

_RIGHT = "def add(a, b):\n    return a + b\n"
_READ: Step = ("read_file", {"path": "calc.py"})
_TESTS: Step = ("run_tests", {})

#: Reads, runs the tests, mends, runs the tests: five calls of the model and four of tools.
FIX: Sequence[Step] = (
    _READ,
    _TESTS,
    ("write_file", {"path": "calc.py", "content": _RIGHT}),
    _TESTS,
    "add is mended.",
)

#: The same with a wrong edit.
WRONG: Sequence[Step] = (
    _READ,
    _TESTS,
    ("write_file", {"path": "calc.py", "content": _RIGHT.replace("+", "*")}),
    _TESTS,
    "The tests still fail.",
)

#: Seconds for which a request waits for two others.
_PATIENCE = 5

#: Reads again and again.
ENDLESS: Sequence[Step] = (_READ,) * 100


class Model:
    """The answers of the server, and how often it was asked.

    Attributes:
        script: the step of a request is the one after those that its messages already have.
        asked: the number of the step of each request, in the order of their arrival.
        held: the number of the step whose next request is held back until `release`.
        is_together: whether a request is answered only when three have arrived, if they do.
        last_result: the last result of a tool that was sent.
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: Sequence[Step] = FIX
        self.asked: list[int] = []
        self.held: int | None = None
        self.is_together = False
        self.last_result = ""
        self._together = threading.Barrier(3)
        self.is_holding = threading.Event()
        self._released = threading.Event()

    def reset(self, script: Sequence[Step], held: int | None = None) -> None:
        """Start again with a script, and hold back the first request for one of its steps."""
        self.script, self.asked, self.held = script, [], held
        self.is_holding, self._released = threading.Event(), threading.Event()

    def release(self) -> None:
        """Answer the request that is held back."""
        self._released.set()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the completion of a request."""
        number = sum(each["role"] == "assistant" for each in request["messages"])
        results = [each["content"] for each in request["messages"] if each["role"] == "tool"]
        self.last_result = str(results[-1]) if results else ""
        self.asked.append(number)
        if self.is_together:
            self._meet()
        if number == self.held:
            self.held = None
            self.is_holding.set()
            self._released.wait(60)
        return _completion(number, self.script[number])

    def _meet(self) -> None:
        try:
            self._together.wait(_PATIENCE)
        except threading.BrokenBarrierError:
            self._together.reset()


def _completion(number: int, step: Step) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    if isinstance(step, str):
        message["content"] = step
    else:
        function = {"name": step[0], "arguments": json.dumps(step[1])}
        message["tool_calls"] = [{"id": f"call-{number}", "type": "function", "function": function}]
    return {
        "id": f"answer-{number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "scripted",
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "stop" if isinstance(step, str) else "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


@contextmanager
def serving() -> Iterator[Model]:
    """Serve a scripted model on the loopback interface."""
    model = Model("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(model.answer(request)).encode()
            try:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                # The process that asked was killed.
                self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield model
    finally:
        model.release()
        server.shutdown()
        server.server_close()
