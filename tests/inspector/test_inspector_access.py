"""Only clients with a token get in, at the names of the server, and each in its role."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from inspector_server import LOOK_TOKEN, TOKEN
from kando.errors import ConfigurationError
from kando_inspector.settings import Settings, token_from

Serve = Callable[..., TestClient]


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer(TOKEN[:-1]),
        bearer(TOKEN.upper()),
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer \xff"},
        {"cookie": f"kando_inspector={TOKEN}"},
        {"cookie": "kando_inspector=\xff"},
    ],
)
def test_a_request_without_the_token_is_refused(serve: Serve, headers: dict[str, str]) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    for path in ("/session", "/runs", "/runs/demo/world", "/nonsense"):
        answer = serve().get(f"/api/v1{path}", headers=encoded)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="kando"'
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unauthorized"


@pytest.fixture
def serve(served: Serve) -> Serve:
    return served


def test_a_token_is_exchanged_for_a_cookie_that_scripts_cannot_read(serve: Serve) -> None:
    client = serve()

    opened = client.post("/api/v1/session", json={"token": LOOK_TOKEN})

    assert opened.json()["role"] == "look"
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert LOOK_TOKEN not in cookie
    assert client.get("/api/v1/session").json()["role"] == "look"
    # Another server with the same tokens knows the cookie, too.
    again = serve()
    again.cookies.update(client.cookies)
    assert again.get("/api/v1/session").status_code == 200
    other = serve(token="another-" + "t" * 20, look_token=None)
    other.cookies.update(client.cookies)
    assert other.get("/api/v1/session").status_code == 401


def test_a_wrong_token_opens_no_session(serve: Serve) -> None:
    answer = serve().post("/api/v1/session", json={"token": "wrong"})

    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_a_client_has_the_role_of_its_token(serve: Serve) -> None:
    roles = {
        token: serve().get("/api/v1/session", headers=bearer(token)).json()["role"]
        for token in (TOKEN, LOOK_TOKEN)
    }
    read_only = serve(is_read_only=True).get("/api/v1/session", headers=bearer(TOKEN))

    assert roles == {TOKEN: "act", LOOK_TOKEN: "look"}
    assert read_only.json()["role"] == "look"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8350", 200),
        ("localhost:8350", 200),
        ("LOCALHOST", 200),
        ("[::1]:9", 200),
        ("example.com", 421),
        ("example.com:8350", 421),
        ("127.0.0.1.example.com", 421),
        ("localhost@example.com", 421),
        ("127.0.0.1:x", 421),
        ("192.168.1.7:8350", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_a_request_for_another_host_is_refused(serve: Serve, host: str, status: int) -> None:
    for path in ("/api/v1/session", "/", "/api/v1/openapi.json"):
        answer = serve().get(path, headers={**bearer(TOKEN), "host": host})

        assert answer.status_code == status, path


def test_a_server_for_other_machines_answers_to_numbers_and_to_given_names(serve: Serve) -> None:
    client = serve(host="0.0.0.0", allowed_hosts=("kando.example",))
    statuses = {
        host: client.get("/api/v1/session", headers={**bearer(TOKEN), "host": host}).status_code
        for host in ("192.168.1.7:8350", "kando.example", "other.example")
    }

    assert statuses == {"192.168.1.7:8350": 200, "kando.example": 200, "other.example": 421}


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8350", 200),
        ("https://127.0.0.1:8350", 200),
        ("http://127.0.0.1:9999", 403),
        ("http://example.com", 403),
        ("http://127.0.0.1:8350.example.com", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_page_of_another_origin_is_refused(serve: Serve, origin: str, status: int) -> None:
    answer = serve().get("/api/v1/session", headers={**bearer(TOKEN), "origin": origin})

    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/", "/app.js", "/missing", "/api/v1/runs", "/api/v1/session"])
def test_every_response_forbids_what_a_hostile_text_would_need(serve: Serve, path: str) -> None:
    headers = serve().get(path).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "no-cache" in headers["cache-control"]


def test_an_address_that_others_reach_needs_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.com"):
        with pytest.raises(ConfigurationError, match="no token"):
            Settings("memory:", {}, host)
        assert Settings("memory:", {}, host, token=TOKEN).host == host
    for host in ("127.0.0.1", "127.0.0.9", "::1", "localhost"):
        assert Settings("memory:", {}, host).token is None


@pytest.mark.parametrize("token", ["short", "with a space in the middle", "t\xf6" * 12, ""])
def test_a_token_that_no_client_can_send_is_refused_at_the_start(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        token_from(token, "KANDO_INSPECTOR_TOKEN", {})

    assert not token or token not in str(caught.value)


def test_a_token_may_come_from_the_environment_and_an_option_takes_precedence() -> None:
    environ = {"KANDO_INSPECTOR_TOKEN": TOKEN}

    assert token_from(None, "KANDO_INSPECTOR_TOKEN", environ) == TOKEN
    assert token_from(LOOK_TOKEN, "KANDO_INSPECTOR_TOKEN", environ) == LOOK_TOKEN
    assert token_from(None, "KANDO_INSPECTOR_LOOK_TOKEN", environ) is None
