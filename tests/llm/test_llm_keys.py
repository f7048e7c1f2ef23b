"""Where keys come from, where they are sent, and that they appear nowhere else."""

from __future__ import annotations

import logging
import os
from base64 import b64encode
from urllib.parse import quote, urlencode

import pytest

from kando.errors import KandoError
from kando_llm.anthropic import open_anthropic
from kando_llm.endpoints import SERVERS, endpoint_of
from kando_llm.errors import MissingKey, ProviderError
from kando_llm.keys import read_key
from kando_llm.openai import open_openai, open_openrouter
from kando_llm.scrubber import Scrubber
from wire import AT_ONCE, Fails, Says, reaching

ASKED = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
OPENERS = {"anthropic": open_anthropic, "openai": open_openai}
KEY = "sk-ant+planted/key=0123456789"


@pytest.mark.parametrize("provider", ["anthropic", "openai", "openrouter"])
def test_a_provider_without_its_key_cannot_be_opened(provider):
    opener = {**OPENERS, "openrouter": open_openrouter}[provider]

    with pytest.raises(MissingKey, match=rf"{provider.upper()}_API_KEY is not set.*_API_KEY_FILE"):
        opener("", {})


def test_a_key_is_read_from_a_variable_or_from_a_private_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)

    assert read_key("X_API_KEY", {"X_API_KEY": f" {KEY} "}) == KEY
    assert read_key("X_API_KEY", {"X_API_KEY_FILE": str(path)}) == KEY
    assert read_key("X_API_KEY", {"X_API_KEY": "first", "X_API_KEY_FILE": str(path)}) == "first"
    assert read_key("X_API_KEY", {"X_API_KEY": " "}) is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_file_that_is_open_to_other_users_is_refused_until_it_is_restricted(tmp_path, mode):
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(mode)
    environ = {"X_API_KEY_FILE": str(path)}

    with pytest.raises(MissingKey, match=rf"mode is {mode:o}.*chmod 600 ") as caught:
        read_key("X_API_KEY", environ)

    assert KEY not in str(caught.value)
    os.chmod(path, 0o600)
    assert read_key("X_API_KEY", environ) == KEY


@pytest.mark.parametrize("content", ["two words-of-a-key", "a\nb-c-d-e", "schlüssel", "", "\0"])
def test_a_malformed_key_file_is_refused_without_showing_its_content(tmp_path, content):
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(MissingKey, match="X_API_KEY_FILE does not hold a key") as caught:
        read_key("X_API_KEY", {"X_API_KEY_FILE": str(path)})

    assert not content or content not in str(caught.value)


def test_a_missing_key_file_is_refused(tmp_path):
    with pytest.raises(MissingKey, match="No such file"):
        read_key("X_API_KEY", {"X_API_KEY_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize("provider", ["anthropic", "openai", "openrouter"])
def test_the_key_of_a_provider_is_sent_to_its_own_server_only(provider):
    server = SERVERS[provider]
    key = {server.key_env: "own-key-0123", f"{server.prefix}_ENDPOINT_KEY": "other-key-0123"}
    url = f"{server.prefix}_BASE_URL"

    own = endpoint_of(server, key)
    same = endpoint_of(
        server, {**key, url: f"{server.base_url}:443/v9".replace("/v1:443", ":443/v1")}
    )
    other = endpoint_of(server, {**key, url: "https://elsewhere.example/v1"})
    plain = endpoint_of(server, {**key, url: server.base_url.replace("https", "http")})

    assert (own.key, own.is_own, own.priced_as) == ("own-key-0123", True, provider)
    assert same.key == "own-key-0123"
    assert (other.key, other.is_own, other.priced_as) == (
        "other-key-0123",
        False,
        "elsewhere.example",
    )
    assert plain.key == "other-key-0123"


@pytest.mark.parametrize("url", ["nowhere", "ftp://x/v1", "http://", "http://u:p@host/v1"])
def test_a_malformed_base_url_is_refused(url):
    with pytest.raises(ProviderError, match="OPENAI_BASE_URL") as caught:
        endpoint_of(SERVERS["openai"], {"OPENAI_BASE_URL": url})

    assert "u:p" not in str(caught.value)


def test_no_key_of_another_server_is_ever_sent(wire, dialect, monkeypatch):
    """Not even one that an SDK finds in the environment by itself."""
    keys = {
        "ANTHROPIC_API_KEY": "sk-real-anthropic",
        "ANTHROPIC_AUTH_TOKEN": "sk-real-anthropic-token",
        "OPENAI_API_KEY": "sk-real-openai-key",
        "OPENAI_ADMIN_KEY": "sk-real-openai-admin",
        "OPENROUTER_API_KEY": "sk-real-openrouter",
        "ANTHROPIC_CUSTOM_HEADERS": "x-api-key: sk-real-anthropic\nx-more: Bearer sk-real-openai-key",
    }
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    server = wire(Says())
    environ = {**keys, **reaching(dialect, server.url)}
    with_key = OPENERS[dialect]("m", environ)
    del environ[f"{dialect.upper()}_ENDPOINT_KEY"]
    without_key = OPENERS[dialect]("m", environ)

    with_key(ASKED)
    without_key(ASKED)
    with_key.close()
    without_key.close()

    sent = [f"{each.path} {each.headers} {each.text}" for each in server.seen]
    assert "sk-real" not in "".join(sent)
    assert "key-for-the-loopback" in sent[0]
    assert "key-for-the-loopback" not in sent[1]


FORMS = {
    "plain": KEY,
    "URL-encoded": quote(KEY, safe=""),
    "lower-case URL-encoded": quote(KEY, safe="").lower().replace("sk-ant", "sk-ant"),
    "query": urlencode({"key": KEY}),
    "every character encoded": "".join(f"%{ord(c):02X}" for c in KEY),
    "JSON escapes": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "HTML escapes": "".join(f"&#{ord(c)};" for c in KEY),
    "Base64": b64encode(KEY.encode()).decode(),
    "Base64 of a login": b64encode(f"user:{KEY}".encode()).decode(),
    "Base64 of a longer login": b64encode(f"me:{KEY}, more".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_removed_in_every_encoding(form):
    cleaned = Scrubber({"X_API_KEY": KEY}).text(f"before {FORMS[form]} after")

    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert "[X_API_KEY]" in cleaned
    assert KEY not in cleaned
    assert "planted" not in cleaned


def everywhere(form: str) -> list[Fails | Says]:
    """Return replies of a server that echoes a key wherever it can."""
    key = FORMS[form]
    headers = {"x-request-id": key, "request-id": key, "x-echo": key, **AT_ONCE}
    body = {"error": {"type": key, "code": key, "message": f"Bad key {key}!", "param": key}}
    says = Says(
        f"Your key is {key}.",
        model=key,
        stop="tool",
        calls=((key, key, {key: [key, {"k": key}]}),),
        headers=headers,
    )
    statuses = [Fails(status, body, headers) for status in (400, 401, 404, 413, 429, 500, 302)]
    return [
        *statuses,
        Fails(400, f"<html>{key}</html>", headers),
        Fails(200, f'{{"id": "{key}', headers),
        Fails(200, f"plain {key}", {**headers, "content-type": "text/plain"}),
        Fails(200, {"choices": key, "content": key, "stop_reason": key, "model": key}, headers),
        says,
        Says(key, stop=key, headers=headers),
    ]


@pytest.mark.parametrize("form", ["plain", "URL-encoded", "Base64"])
def test_no_key_that_a_server_echoes_reaches_a_ledger_a_log_or_an_error(
    runs, wire, dialect, caplog, capfd, form
):
    for name in ("", "anthropic", "openai", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, name)
    shown: list[str] = []
    for reply in everywhere(form):
        server = wire(reply)
        environ = reaching(dialect, server.url) | {f"{dialect.upper()}_ENDPOINT_KEY": KEY}

        run, ended = runs.start("sky", dialect, **environ)

        assert KEY in server.seen[0].headers.get("authorization", "")
        if isinstance(ended, BaseException):
            assert isinstance(ended, KandoError)
            assert ended.__cause__ is None
            assert ended.__context__ is None
            shown += [str(ended), repr(ended), repr(vars(ended))]
        assert run
    shown += [runs.content(run), caplog.text, *capfd.readouterr()]
    assert "httpcore2" in caplog.text

    for each in shown:
        assert KEY not in each
        assert FORMS[form] not in each
        assert "planted" not in each


def test_a_key_is_not_split_between_streamed_pieces(wire, dialect):
    server = wire(Says(f"Your key is {KEY}, is it not?"))
    environ = reaching(dialect, server.url) | {f"{dialect.upper()}_ENDPOINT_KEY": KEY}
    provider, pieces = OPENERS[dialect]("m", environ), []

    provider.stream(ASKED, pieces.append)
    provider.close()

    name = f"[{dialect.upper()}_ENDPOINT_KEY]"
    assert "".join(pieces) == f"Your key is {name}, is it not?"
    assert len(pieces) > 1


def test_the_repr_of_a_provider_does_not_show_its_key(wire, dialect):
    provider = OPENERS[dialect]("m", reaching(dialect, wire(Says()).url))

    assert "key-for-the-loopback" not in repr(provider)
    provider.close()
