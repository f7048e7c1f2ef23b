"""Fetching pages: public addresses only, limits of size and time, and use in a run."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import pytest

from kando.schema.events import (
    APPROVAL_DENIED,
    APPROVAL_REQUESTED,
    TOOL_CALLED,
    TOOL_RETURNED,
    make_event,
)
from kits.diligence import _fetch
from kits.diligence._fetch import FetchRefused, Limits, Page, fetch, is_public

SMALL = Limits(bytes=10_000, seconds=60, redirects=3, chars=100)


class Pages(BaseHTTPRequestHandler):
    """A server whose path selects the behaviour of the response."""

    def do_GET(self) -> None:
        name, _, argument = self.path.strip("/").partition("/")
        getattr(self, f"_{name}")(argument)

    def _text(self, argument: str) -> None:
        self._send("text/plain", b"The moon is \x1b[31mcheese.")

    def _host(self, argument: str) -> None:
        self._send("text/plain", self.headers["Host"].encode())

    def _page(self, argument: str) -> None:
        self._send("text/html; charset=iso-8859-1", "<p>K\xe4se</p><script>x</script>".encode("l1"))

    def _binary(self, argument: str) -> None:
        self._send("image/png", b"\0")

    def _garbled(self, argument: str) -> None:
        self._send("text/plain", bytes(range(256)))

    def _unknown(self, argument: str) -> None:
        self._send("text/plain; charset=klingon", b"x")

    def _punycode(self, argument: str) -> None:
        self._send("text/html; charset=punycode", b"<p>kas-" + b"z" * 50)

    def _truncated(self, argument: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "400")
        self.end_headers()
        self.wfile.write(b"text")

    def _large(self, argument: str) -> None:
        self._send("text/plain", b"x" * 10_001)

    def _status(self, argument: str) -> None:
        self.send_response(int(argument))
        self.end_headers()

    def _to(self, argument: str) -> None:
        self.send_response(302)
        self.send_header("Location", argument)
        self.end_headers()

    def _loop(self, argument: str) -> None:
        self._to("/loop")

    def _drip(self, argument: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self._send_repeatedly(b"x")

    def _slow(self, argument: str) -> None:
        self._send_repeatedly(b"HTTP/1.1 200 OK\r\nX: ")

    def _send_repeatedly(self, what: bytes) -> None:
        # Until the client disconnects or the test ends.
        released: threading.Event = self.server.released  # type: ignore[attr-defined]
        try:
            while not released.wait(0.02):
                self.wfile.write(what)
        except OSError:
            pass

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def base() -> Iterator[str]:
    """Return the base URL of a server on the loopback interface."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.released = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def anywhere(address: str) -> bool:
    return True


def test_the_text_of_a_page_is_fetched_without_terminal_escapes(base: str) -> None:
    page = fetch(f"{base}/text", is_allowed=anywhere)

    sha256 = hashlib.sha256(b"The moon is \x1b[31mcheese.").hexdigest()
    assert page == Page(f"{base}/text", "text/plain", sha256, "The moon is cheese.")


def test_html_is_reduced_to_its_visible_text_in_any_encoding(base: str) -> None:
    assert fetch(f"{base}/page", is_allowed=anywhere).text.strip() == "K\xe4se"


def test_the_host_header_has_the_name_from_the_url(base: str) -> None:
    page = fetch(base.replace("127.0.0.1", "localhost") + "/host", is_allowed=anywhere)

    assert page.text.startswith("localhost:")


def test_a_redirect_is_followed_to_the_page(base: str) -> None:
    page = fetch(f"{base}/to//text", is_allowed=anywhere)

    assert (page.url, page.text) == (f"{base}/text", "The moon is cheese.")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/binary", "has the media type image/png, which is not text"),
        ("/garbled", "cannot be read: binary file"),
        ("/truncated", "ended after 4 of 400 bytes"),
        ("/large", "is larger than 10000 bytes"),
        ("/status/404", "returned HTTP status 404"),
        ("/status/204", "returned HTTP status 204"),
        ("/loop", "redirects more than 3 times"),
        ("/to/file:///etc/passwd", "is not an http or https URL"),
        ("/to/ftp://x.test/", "is not an http or https URL"),
    ],
)
def test_a_response_that_is_not_an_acceptable_page_is_refused_with_a_reason(
    base: str, path: str, reason: str
) -> None:
    with pytest.raises(FetchRefused, match=reason):
        fetch(f"{base}{path}", SMALL, is_allowed=anywhere)


@pytest.mark.parametrize(("path", "name"), [("/unknown", "klingon"), ("/punycode", "punycode")])
def test_an_unknown_charset_is_noted(base: str, path: str, name: str) -> None:
    page = fetch(f"{base}{path}", SMALL, is_allowed=anywhere)

    assert page.text
    assert page.notes == [f"unknown charset {name!r}"]


def test_the_text_of_a_page_is_cut_with_a_note(base: str) -> None:
    page = fetch(f"{base}/text", attrs.evolve(SMALL, chars=8), is_allowed=anywhere)

    assert (page.text, page.notes) == ("The moon", ["cut after 8 characters"])


@pytest.mark.parametrize("path", ["/drip", "/slow"])
def test_a_server_that_sends_byte_by_byte_is_stopped_at_the_deadline(base: str, path: str) -> None:
    with pytest.raises(FetchRefused, match="took too long"):
        fetch(f"{base}{path}", Limits(seconds=0.4), is_allowed=anywhere)


def test_a_refused_connection_is_reported_as_a_refused_fetch() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(FetchRefused, match="cannot be fetched"):
            fetch(f"http://127.0.0.1:{port}/", SMALL, is_allowed=anywhere)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0"])
def test_a_private_address_is_refused_in_every_notation(base: str, host: str) -> None:
    port = base.rpartition(":")[2]

    with pytest.raises(FetchRefused, match=r"is not a public address|cannot be fetched"):
        fetch(f"http://{host}:{port}/text", SMALL)


def test_a_redirect_to_a_private_address_is_refused(base: str) -> None:
    asked: list[str] = []

    def only_the_first(address: str) -> bool:
        asked.append(address)
        return len(asked) == 1

    with pytest.raises(FetchRefused, match="is not a public address"):
        fetch(f"{base}/to/{base}/text", SMALL, is_allowed=only_the_first)
    assert len(asked) == 2


def test_a_host_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("8.8.8.8", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)

    with pytest.raises(FetchRefused, match=r"10\.0\.0\.1"):
        fetch("http://rebound.test/", SMALL)


def test_the_connection_goes_to_the_address_that_was_checked(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(base.rpartition(":")[2])
    resolved: list[Any] = []
    real = socket.getaddrinfo

    def once(host: str, *arguments: Any, **named: Any) -> Any:
        if host == "acme.test":
            resolved.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        return real(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", once)

    page = fetch(f"http://acme.test:{port}/host", is_allowed=anywhere)

    assert resolved == ["acme.test"]
    assert page.text == f"acme.test:{port}"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://acme.test/",
        "http://",
        "http://user:secret@acme.test/",
        "http://acme.test:99999/",
        "http://acme.test/\r\nX: y",
        "http://[::1",
        "acme.test",
        "",
    ],
)
def test_a_url_that_is_not_an_http_page_is_refused(url: str) -> None:
    with pytest.raises(FetchRefused, match="is not an http or https URL"):
        fetch(url)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::808:808", True),
        *((address, False) for address in ("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1")),
        *((address, False) for address in ("192.168.1.1", "169.254.169.254", "100.64.0.1")),
        *(
            (address, False)
            for address in ("224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "::1")
        ),
        *((address, False) for address in ("fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1")),
        *((address, False) for address in ("::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a00:1")),
        *((address, False) for address in ("2002:7f00:1::", "2001:0:0:0:0:0:80ff:fffe")),
    ],
)
def test_is_public_distinguishes_public_from_private_addresses(
    address: str, expected: bool
) -> None:
    assert is_public(address) is expected


def test_a_page_that_the_goal_names_becomes_evidence(
    diligence: Any, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_loopback(monkeypatch)

    diligence.run(goal=f"Evaluate Acme Corp {base}/text", complete=stating("The moon is cheese."))

    (called,) = diligence.events(TOOL_CALLED)
    assert called.data["tool"] == "fetch_url"
    (claim,) = diligence.claims().values()
    assert (claim["source"], claim["confidence"]) == (f"{base}/text", 60)
    assert "sha256" in diligence.report()


def test_a_page_that_the_plan_names_is_read(
    diligence: Any, base: str, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_loopback(monkeypatch)

    def planning(request: dict[str, Any]) -> dict[str, Any]:
        is_plan = request["messages"][-1]["content"].startswith("Plan")
        planned = {"text": json.dumps({"summary": "", "pages": [f"{base}/text"]}), "cost_usd": 0.0}
        return planned if is_plan else answer(request)

    diligence.run({"a.txt": "FACT 1: Acme Corp sells anvils."}, planning)

    assert list(diligence.claims("reading")) == ["What a.txt says", f"What {base}/text says"]
    assert {each["status"] for each in diligence.claims("reading").values()} == {"completed"}


def test_a_page_beyond_the_limit_is_fetched_only_if_a_person_allows_it(diligence: Any) -> None:
    pages = [f"http://127.0.0.1/{n}" for n in range(5)]

    diligence.run(goal=f"Evaluate Acme Corp {' '.join(pages)}")

    assert len(diligence.events(TOOL_RETURNED)) == 3
    asked = diligence.events(APPROVAL_REQUESTED)
    assert [each.data["reason"] for each in asked] == ["It fetches more than 3 web pages."] * 2
    for each in asked:
        denied = {"approval": each.id, "reason": "three are enough"}
        decision = make_event(APPROVAL_DENIED, "", "person", [each.id], denied)
        diligence.runtime().record([decision], is_external=True)
    diligence.resume()
    assert "three are enough" in diligence.report()


def test_a_page_at_a_private_address_is_refused_and_reported(diligence: Any, base: str) -> None:
    world = diligence.run(goal=f"Evaluate Acme Corp {base}/text")

    (returned,) = diligence.events(TOOL_RETURNED)
    assert returned.data["error"]["type"] == "FetchRefused"
    assert "## Not read" in diligence.report()
    assert "is not a public address" in diligence.report()
    assert diligence.runtime(None).replay(strict=True) == world


def allow_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fetch, "fetch", lambda url: fetch(url, is_allowed=anywhere))


def stating(statement: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    found = {"note": "A page.", "statements": [{"statement": statement, "passages": [1]}]}
    return lambda request: {"text": json.dumps(found), "cost_usd": 0.0}
