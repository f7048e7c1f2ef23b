"""Claude models on Bedrock and Vertex: which credentials sign a request, and where it goes."""

from __future__ import annotations

import importlib.util
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs
import pytest

from kando_llm.clouds import open_bedrock, open_vertex
from kando_llm.endpoints import SERVERS, endpoint_of
from kando_llm.errors import (
    BadReply,
    MissingKey,
    NotAllowed,
    Overloaded,
    ProviderError,
    RateLimited,
)
from kando_llm.prices import load_prices
from wire import Fails, Says, bedrock_frame, message_parts, reaching

HI = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
BEARER = "bedrock-token-0123456789"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret-of-aws-0123456789",
    "AWS_SESSION_TOKEN": "session-of-aws-0123456789",
    "AWS_REGION": "eu-west-1",
}
PLACE = {"CLOUD_ML_REGION": "us-east5", "ANTHROPIC_VERTEX_PROJECT_ID": "our-project"}
FRAMES = {"content-type": "application/vnd.amazon.eventstream"}
CALLS = (("c1", "look", {"at": "sky"}),)

needs_aws = pytest.mark.skipif(importlib.util.find_spec("boto3") is None, reason="no boto3")
try:
    HAS_GOOGLE = importlib.util.find_spec("google.auth") is not None
except ModuleNotFoundError:
    HAS_GOOGLE = False
needs_google = pytest.mark.skipif(not HAS_GOOGLE, reason="no google-auth")


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch) -> Iterator[None]:
    """Fail if a test connects to another machine: a server of credentials, for example."""
    connect, elsewhere = socket.socket.connect, []

    def guarded(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            elsewhere.append(address)
            raise OSError("no network in this test")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield
    assert elsewhere == []


@pytest.fixture
def opened():
    providers = []

    def keep(provider):
        providers.append(provider)
        return provider

    yield keep
    for provider in providers:
        provider.close()


@pytest.fixture
def own(wire, monkeypatch):
    """Return a function that starts a server in place of a cloud's own."""

    def start(provider, *replies):
        server = wire(*replies)
        base = server.url if provider == "bedrock" else f"{server.url}/v1"
        monkeypatch.setitem(SERVERS, provider, attrs.evolve(SERVERS[provider], base_url=base))
        return server

    return start


@needs_aws
def test_a_request_to_bedrock_is_signed_with_the_keys_in_the_environment(own, opened):
    server = own("bedrock", Says("It is blue.", "tool", CALLS, usage=(11, 7, 3, 2)))
    pieces: list[str] = []

    answer = opened(open_bedrock(MODEL, KEYS)).stream(HI, pieces.append)

    (seen,) = server.seen
    assert seen.path == (
        "/model/us.anthropic.claude-haiku-4-5-20251001-v1:0/invoke-with-response-stream"
    )
    signature = seen.headers["authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/bedrock/aws4_request" in signature
    assert seen.headers["x-amz-security-token"] == KEYS["AWS_SESSION_TOKEN"]
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in f"{seen.headers} {seen.body}"
    assert (answer["text"], answer["stop"]) == ("It is blue.", "tool")
    assert answer["tool_calls"] == [{"id": "c1", "name": "look", "arguments": {"at": "sky"}}]
    assert len(pieces) > 1
    assert answer["usage"]["input_tokens"] == 14


@needs_aws
def test_a_token_of_bedrock_takes_precedence_over_keys(own, opened):
    server = own("bedrock", Says())

    opened(open_bedrock(MODEL, {**KEYS, "AWS_BEARER_TOKEN_BEDROCK": BEARER}))(HI)

    assert server.seen[0].headers["authorization"] == f"Bearer {BEARER}"
    assert "x-amz-security-token" not in server.seen[0].headers


@needs_aws
def test_keys_of_a_profile_sign_a_request(own, opened, monkeypatch, tmp_path):
    server, path = own("bedrock", Says()), tmp_path / "credentials"
    path.write_text(
        "[team]\naws_access_key_id = AKIDOFTEAM\naws_secret_access_key = secret-of-team-0123\n"
        "region = eu-north-1\n"
    )
    for name, value in {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_PROFILE": "team"}.items():
        monkeypatch.setenv(name, value)

    opened(open_bedrock(MODEL, {"AWS_PROFILE": "team"}))(HI)

    signature = server.seen[0].headers["authorization"]
    assert "Credential=AKIDOFTEAM/" in signature
    assert "/eu-north-1/" in signature


@needs_aws
def test_another_server_than_bedrock_gets_the_key_that_is_set_for_it(wire, opened, monkeypatch):
    server = wire(Says())
    for name, value in {**KEYS, "AWS_BEARER_TOKEN_BEDROCK": BEARER}.items():
        monkeypatch.setenv(name, value)
    environ = {**KEYS, "AWS_BEARER_TOKEN_BEDROCK": BEARER, "BEDROCK_BASE_URL": server.url}

    opened(open_bedrock(MODEL, environ))(HI)
    opened(open_bedrock(MODEL, {**environ, **reaching("bedrock", server.url)}))(HI)
    pair = "AKIDOFGATEWAY:secret-of-gateway-0123:token-of-gateway-0123"
    opened(open_bedrock(MODEL, {**environ, "BEDROCK_ENDPOINT_KEY": pair}))(HI)

    sent = [seen.headers["authorization"] for seen in server.seen]
    assert sent[:2] == ["Bearer none", "Bearer key-for-the-loopback"]
    assert sent[2].startswith("AWS4-HMAC-SHA256 Credential=AKIDOFGATEWAY/")
    assert server.seen[2].headers["x-amz-security-token"] == "token-of-gateway-0123"
    everything = str([seen.headers for seen in server.seen])
    assert "of-aws" not in everything
    assert "AKIDEXAMPLE" not in everything
    assert "secret-of-gateway" not in everything


@needs_aws
def test_headers_for_anthropic_replace_no_signature(own, opened, monkeypatch):
    server = own("bedrock", Says())
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "Authorization: Bearer other\nX-Team: hats")

    opened(open_bedrock(MODEL, KEYS))(HI)

    assert server.seen[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert "x-team" not in server.seen[0].headers


@needs_aws
@pytest.mark.parametrize(
    ("exception", "kind"),
    [
        ("throttlingException", RateLimited),
        ("serviceUnavailableException", Overloaded),
        ("internalServerException", Overloaded),
        ("modelStreamErrorException", Overloaded),
    ],
)
@pytest.mark.parametrize("after", [0, 3])
def test_an_exception_in_a_stream_of_bedrock_is_its_error(own, opened, exception, kind, after):
    frames = [bedrock_frame(part) for part in message_parts(Says("It is blue."))][:after]
    frames.append(bedrock_frame({"message": "Wait a little."}, exception=exception))
    own("bedrock", Fails(200, b"".join(frames).decode("latin-1"), FRAMES))

    with pytest.raises(kind, match="Wait a little"):
        opened(open_bedrock(MODEL, {**KEYS, "KANDO_LLM_RETRIES": "0"}))(HI)


@needs_aws
@pytest.mark.parametrize("how", ["cut", "missing-end", "checksum"])
def test_a_damaged_stream_of_bedrock_is_a_bad_reply(own, opened, how):
    frames = [bedrock_frame(part) for part in message_parts(Says("It is blue."))]
    if how == "missing-end":
        del frames[-1]
    whole = b"".join(frames)
    if how == "checksum":
        whole = whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:]
    reply = Fails(200, whole.decode("latin-1"), FRAMES)
    own("bedrock", Says("It is blue.", cut=700) if how == "cut" else reply)

    with pytest.raises(BadReply):
        opened(open_bedrock(MODEL, {**KEYS, "KANDO_LLM_RETRIES": "0"}))(HI)


@needs_aws
def test_errors_of_bedrock_are_judged_like_all_others(own, opened):
    environ = {**KEYS, "KANDO_LLM_RETRIES": "0"}
    own("bedrock", Fails(400, {"message": "Input is too long for requested model."}, {}))
    answer = opened(open_bedrock(MODEL, environ))(HI)
    assert answer["error"]["type"] == "RequestRejected"

    own("bedrock", Fails(403, {"message": "The security token is expired"}, {}))
    with pytest.raises(NotAllowed, match="security token is expired"):
        opened(open_bedrock(MODEL, environ))(HI)

    own("bedrock", Fails(429, {"message": "Too many requests"}, {}))
    with pytest.raises(RateLimited):
        opened(open_bedrock(MODEL, environ))(HI)


@needs_aws
def test_bedrock_without_a_region_or_credentials_is_an_error_with_the_cure():
    with pytest.raises(ProviderError, match=r"No region is set.*AWS_REGION"):
        open_bedrock(MODEL, {})
    with pytest.raises(MissingKey, match=r"none are found.*AWS_BEARER_TOKEN_BEDROCK"):
        open_bedrock(MODEL, {"AWS_REGION": "us-east-1"})
    with pytest.raises(MissingKey, match=r"profile \(nowhere\) could not be found"):
        open_bedrock(MODEL, {"AWS_REGION": "us-east-1", "AWS_PROFILE": "nowhere"})
    with pytest.raises(ProviderError, match="AWS_REGION is malformed"):
        open_bedrock(MODEL, {"AWS_REGION": "evil.example/x"})


@needs_aws
def test_an_answer_of_bedrock_costs_what_the_model_that_was_asked_costs(own, opened):
    own("bedrock", Says(usage=(1_000_000, 0, 0, 0), model="claude-haiku-4-5-20251001"))

    regional = opened(open_bedrock(MODEL, KEYS))(HI)
    worldwide = opened(open_bedrock(MODEL.replace("us.", "global."), KEYS))(HI)

    assert regional["model"] == "claude-haiku-4-5-20251001"
    assert 0 < worldwide["cost_usd"] < regional["cost_usd"]


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("bedrock", "arn:aws:bedrock:us-east-1:1:inference-profile/" + MODEL),
        ("vertex", "claude-haiku-4-5@20251001"),
        ("vertex", "claude-haiku-4-5"),
    ],
)
def test_models_of_a_cloud_have_prices_under_its_own_names(provider, model):
    prices = load_prices({})

    assert prices.worst_case(provider, model, 1000, 1000) is not None
    assert prices.worst_case(provider, f"{model}-other", 1000, 1000) is None


@needs_google
def test_a_token_is_sent_to_vertex_with_the_project_and_the_region_in_the_path(own, opened):
    server = own("vertex", Says("It is blue.", "tool", CALLS))
    environ = {**PLACE, "VERTEX_ACCESS_TOKEN": "token-of-google-0123"}

    answer = opened(open_vertex("claude-haiku-4-5@20251001", environ))(HI)

    (seen,) = server.seen
    assert seen.path == (
        "/v1/projects/our-project/locations/us-east5/publishers/anthropic/models/"
        "claude-haiku-4-5@20251001:streamRawPredict"
    )
    assert seen.headers["authorization"] == "Bearer token-of-google-0123"
    assert (answer["text"], answer["stop"]) == ("It is blue.", "tool")


@needs_google
def test_another_server_than_vertex_gets_the_key_that_is_set_for_it(wire, opened):
    server = wire(Says())
    environ = {**PLACE, "VERTEX_ACCESS_TOKEN": "token-of-google-0123"}
    environ["VERTEX_BASE_URL"] = f"{server.url}/v1"

    opened(open_vertex("claude-opus-5", environ))(HI)
    opened(open_vertex("claude-opus-5", {**environ, **reaching("vertex", server.url)}))(HI)

    sent = [seen.headers["authorization"] for seen in server.seen]
    assert sent == ["Bearer none", "Bearer key-for-the-loopback"]


class Tokens(BaseHTTPRequestHandler):
    """Answers requests for a token as Google's server does."""

    status, body = 200, {"access_token": "token-of-account-0123", "expires_in": 3600}

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        content = json.dumps(self.body).encode()
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Refused(Tokens):
    status, body = 400, {"error": "invalid_grant", "error_description": "Account disabled."}


@pytest.fixture
def account(tmp_path, monkeypatch):
    """Return a function that sets up an account of Google, whose tokens come from this machine."""
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    servers = []

    def set_up(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        about = {
            "type": "service_account",
            "project_id": "project-of-account",
            "private_key": key.decode(),
            "client_email": "kando@project-of-account.example",
            "token_uri": f"http://127.0.0.1:{server.server_address[1]}/token",
        }
        path = tmp_path / "account.json"
        path.write_text(json.dumps(about))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    yield set_up
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@needs_google
def test_the_account_of_this_machine_signs_requests_to_vertex(own, opened, account):
    server = own("vertex", Says())
    account(Tokens)

    complete = opened(open_vertex("claude-opus-5", {}))
    complete(HI)
    complete(HI)

    assert [each.headers["authorization"] for each in server.seen] == [
        "Bearer token-of-account-0123"
    ] * 2
    assert "/projects/project-of-account/locations/global/" in server.seen[0].path


@needs_google
def test_an_account_that_gets_no_token_is_a_fault_of_the_settings(own, opened, account):
    server = own("vertex", Says())
    account(Refused)

    with pytest.raises(
        NotAllowed, match=r"credentials of vertex cannot be used.*invalid_grant"
    ) as caught:
        opened(open_vertex("claude-opus-5", {}))(HI)

    assert server.seen == []
    assert caught.value.spent is None


@needs_google
def test_vertex_without_a_project_or_credentials_is_an_error_with_the_cure():
    with pytest.raises(MissingKey, match="gcloud auth application-default login"):
        open_vertex("claude-opus-5", {})
    with pytest.raises(ProviderError, match=r"No project is set.*ANTHROPIC_VERTEX_PROJECT_ID"):
        open_vertex("claude-opus-5", {"VERTEX_ACCESS_TOKEN": "token-0123456789"})
    with pytest.raises(ProviderError, match="CLOUD_ML_REGION is malformed"):
        open_vertex("claude-opus-5", {**PLACE, "CLOUD_ML_REGION": "evil.example/x"})


@pytest.mark.parametrize(
    ("opener", "provider", "module"),
    [(open_bedrock, "bedrock", "boto3"), (open_vertex, "vertex", "google.auth")],
)
def test_a_missing_extra_is_an_error_with_the_command_that_installs_it(
    monkeypatch, opener, provider, module
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == module else find(name)
    )

    with pytest.raises(ProviderError, match=rf"pip install 'kando-llm\[{provider}\]'"):
        opener("m", {**KEYS, **PLACE})


@pytest.mark.parametrize(
    ("provider", "host", "is_own"),
    [
        ("bedrock", "bedrock-runtime.us-east-1.amazonaws.com", True),
        ("bedrock", "bedrock-runtime-fips.us-gov-west-1.amazonaws.com", True),
        ("bedrock", "vpce-1-a.bedrock-runtime.us-east-1.vpce.amazonaws.com", True),
        ("bedrock", "bedrock-runtime.us-east-1.amazonaws.com.evil.example", False),
        ("bedrock", "evil.s3.amazonaws.com", False),
        ("vertex", "us-east5-aiplatform.googleapis.com", True),
        ("vertex", "aiplatform.googleapis.com", True),
        ("vertex", "aiplatform.eu.rep.googleapis.com", True),
        ("vertex", "us-east5-aiplatform-ours.p.googleapis.com", True),
        ("vertex", "evilaiplatform.googleapis.com.example", False),
        ("vertex", "storage.googleapis.com", False),
    ],
)
def test_credentials_of_a_cloud_are_for_its_own_servers(provider, host, is_own):
    server = SERVERS[provider]

    def found(url):
        return endpoint_of(server, {f"{server.prefix}_BASE_URL": url}).is_own

    assert found(f"https://{host}/v1") is is_own
    assert not found(f"http://{host}/v1")
