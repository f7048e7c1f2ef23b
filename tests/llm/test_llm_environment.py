"""The environment: settings for one server reach no other, and this machine needs no proxy."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import ssl
from importlib.machinery import ModuleSpec
from pathlib import Path

import attrs
import pytest

from kando_llm.endpoints import SERVERS
from kando_llm.errors import ProviderError, Unreachable
from kando_llm.network import is_this_machine, network_of
from kando_llm.plugin import kando_providers
from wire import Says, Wire

ASKED = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
_NAME = re.compile(r"[\"']([A-Z][A-Z0-9]*_[A-Z0-9_]+)[\"']")
#: Setting these to a marker ends in an error, or is what the other tests of this file are about.
_NOT_MARKED = re.compile(r"_PROXY$|^SSL_CERT_|^DEFER_PYDANTIC_BUILD$")


#: With which the SDK finds the credentials of a cloud, if it is installed.
LIBRARIES = {"bedrock": "botocore", "vertex": "google.auth"}
#: The names that a cloud itself needs to find the model, and sends to any server of its API.
PLACE = {
    "bedrock": {"AWS_REGION": "us-east-1"},
    "vertex": {"CLOUD_ML_REGION": "us-east5", "ANTHROPIC_VERTEX_PROJECT_ID": "our-project"},
}


def spec_of(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return None


def variables_of_the_sdks() -> set[str]:
    """Return the names of all variables that the installed SDKs may read, from their sources."""
    found = set()
    for package in ("anthropic", "openai", "httpx2", "httpcore2", *LIBRARIES.values()):
        spec = spec_of(package)
        if spec is None:
            continue
        for path in Path(str(spec.origin)).parent.rglob("*.py"):
            text = path.read_text("utf-8")
            if "environ" in text or "getenv" in text or "ENV_" in text:
                found |= set(_NAME.findall(text))
    return {name for name in found if not _NOT_MARKED.search(name)}


def marker(name: str) -> str:
    value = f"marker-{name.lower().replace('_', '-')}-0123456789"
    if name.endswith("_CUSTOM_HEADERS"):
        names = ("Authorization", "x-api-key", "User-Agent", "Content-Type", "X-Gateway", "cookie")
        return "\n".join(f"{each}: {value}" for each in names)
    return value


def opened(provider: str, environ: dict[str, str]):
    spec = next(each for each in kando_providers() if each.name == provider)
    module, _, function = spec.target.partition(":")
    opener = getattr(importlib.import_module(module), function)
    return opener("some-model", environ)


def test_the_sdks_read_the_variables_that_this_file_knows():
    known = {"OPENAI_ORG_ID", "OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"}

    assert known | {"ANTHROPIC_AUTH_TOKEN", "OPENAI_ADMIN_KEY"} <= variables_of_the_sdks()


@pytest.mark.parametrize(
    ("provider", "names"),
    [
        ("bedrock", {"AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"}),
        ("vertex", {"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"}),
    ],
)
def test_the_libraries_of_clouds_read_the_variables_that_this_file_knows(provider, names):
    if spec_of(LIBRARIES[provider]) is None:
        pytest.skip(f"the extra {provider} is not installed")

    assert names <= variables_of_the_sdks()


@pytest.mark.parametrize("provider", SERVERS)
def test_no_variable_of_an_sdk_reaches_another_server(wire, monkeypatch, provider):
    if provider in LIBRARIES and spec_of(LIBRARIES[provider]) is None:
        pytest.skip(f"the extra {provider} is not installed")
    server, kind = wire(Says()), SERVERS[provider]
    for name in variables_of_the_sdks():
        monkeypatch.setenv(name, PLACE.get(provider, {}).get(name) or marker(name))
    base = server.url if provider in ("anthropic", "bedrock") else f"{server.url}/v1"
    own = {f"{kind.prefix}_BASE_URL": base, f"{kind.prefix}_ENDPOINT_KEY": "key-of-this-server"}

    complete = opened(provider, {**os.environ, **own})
    complete(ASKED)
    complete.close()

    (seen,) = server.seen
    assert "marker-" not in f"{seen.path} {seen.headers} {seen.body}"
    assert "key-of-this-server" in str(seen.headers)


@pytest.mark.parametrize(
    ("provider", "credentials"),
    [
        ("bedrock", {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-of-aws"}),
        ("vertex", {"VERTEX_ACCESS_TOKEN": "token-of-google-0123"}),
    ],
)
def test_no_variable_of_another_provider_reaches_a_cloud(wire, monkeypatch, provider, credentials):
    if spec_of(LIBRARIES[provider]) is None:
        pytest.skip(f"the extra {provider} is not installed")
    server, own = wire(Says()), {**PLACE[provider], **credentials}
    base = server.url if provider == "bedrock" else f"{server.url}/v1"
    monkeypatch.setitem(SERVERS, provider, attrs.evolve(SERVERS[provider], base_url=base))
    # Its own token and profile would be used.
    of_cloud = {"AWS_BEARER_TOKEN_BEDROCK", "AWS_SESSION_TOKEN"} if provider == "bedrock" else set()
    for name in variables_of_the_sdks() - of_cloud:
        monkeypatch.setenv(name, own.get(name) or marker(name))

    complete = opened(provider, {**os.environ, **own})
    complete(ASKED)
    complete.close()

    (seen,) = server.seen
    assert "marker-" not in f"{seen.path} {seen.headers} {seen.body}"


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_headers_of_a_provider_reach_its_own_server(wire, monkeypatch, provider):
    server = wire(Says())
    base = server.url if provider == "anthropic" else f"{server.url}/v1"
    monkeypatch.setitem(SERVERS, provider, attrs.evolve(SERVERS[provider], base_url=base))
    environ = {
        f"{provider.upper()}_API_KEY": "key-of-the-provider",
        f"{provider.upper()}_CUSTOM_HEADERS": "X-Team: hats",
        "OPENAI_ORG_ID": "org-acme",
        "OPENAI_PROJECT_ID": "project-acme",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    complete = opened(provider, environ)
    complete(ASKED)
    complete.close()

    headers = server.seen[0].headers
    assert headers["x-team"] == "hats"
    identity = {"openai": "org-acme"}.get(provider)
    assert headers.get("openai-organization") == identity


def test_a_server_set_with_a_base_url_gets_the_headers_that_are_set_for_it(wire):
    server = wire(Says())
    environ = {
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "OPENAI_ENDPOINT_HEADERS": "X-Gateway-Key: 0123456789\nX-Team: hats",
    }

    complete = opened("openai", environ)
    complete(ASKED)
    complete.close()

    assert server.seen[0].headers["x-gateway-key"] == "0123456789"
    assert server.seen[0].headers["x-team"] == "hats"


def test_malformed_headers_are_refused_without_showing_them():
    environ = {"VLLM_ENDPOINT_HEADERS": "X-Gateway-Key 0123456789"}

    with pytest.raises(ProviderError, match="VLLM_ENDPOINT_HEADERS does not hold") as caught:
        opened("vllm", environ)

    assert "0123456789" not in str(caught.value)


HERE = [
    "localhost",
    "LOCALHOST.",
    "models.localhost",
    "127.0.0.1",
    "127.8.9.10",
    "127.1",
    "::1",
    "::ffff:127.0.0.1",
    "0.0.0.0",
    "::",
    "ip6-localhost",
]


@pytest.mark.parametrize("host", HERE)
def test_loopback_addresses_and_names_are_this_machine(host):
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.example", "api.openai.com", "fe80::1", ""])
def test_other_hosts_are_not_this_machine(host):
    assert not is_this_machine(host)


def test_a_name_that_resolves_to_a_loopback_address_is_this_machine(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: found)

    assert is_this_machine("models")


VARIABLES = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_reached_without_a_proxy(wire, monkeypatch, variable, name):
    server, proxy = wire(Says()), wire(Says())
    monkeypatch.setenv(variable, proxy.url)
    url = server.url.replace("127.0.0.1", name)

    complete = opened("ollama", {**os.environ, "OLLAMA_BASE_URL": f"{url}/v1"})
    complete(ASKED)
    complete.close()

    assert (len(server.seen), len(proxy.seen)) == (1, 0)


@pytest.mark.parametrize("variable", VARIABLES)
def test_another_machine_is_reached_through_the_proxy(wire, variable):
    proxy = wire(Says())
    environ = {"VLLM_BASE_URL": "http://models.example:8000/v1", variable: proxy.url}

    complete = opened("vllm", environ)
    complete(ASKED)
    complete.close()

    assert proxy.seen[0].path == "http://models.example:8000/v1/chat/completions"


@pytest.mark.parametrize(
    ("listed", "is_direct"),
    [
        ("models.example", True),
        (".example", True),
        ("*.example", True),
        ("*", True),
        ("other.example, models.example:8000", True),
        ("models.example:9", False),
        ("els.example", False),
        ("", False),
    ],
)
def test_servers_in_no_proxy_are_reached_directly(listed, is_direct):
    environ = {"HTTP_PROXY": "proxy.example:3128", "NO_PROXY": listed}

    network = network_of("http://models.example:8000/v1", environ)

    assert network.proxy == (None if is_direct else "http://proxy.example:3128")


def test_networks_in_no_proxy_are_reached_directly():
    environ = {"https_proxy": "http://proxy.example", "no_proxy": "10.0.0.0/8,fd00::/8"}

    assert network_of("https://10.1.2.3/v1", environ).proxy is None
    assert network_of("https://[fd00::5]/v1", environ).proxy is None
    assert network_of("https://11.1.2.3/v1", environ).proxy == "http://proxy.example"


@pytest.mark.parametrize("url", ["ftp://proxy", "http://", "socks4://proxy:1080", "http://x:y:z"])
def test_a_proxy_that_cannot_be_used_is_an_error_that_names_its_variable(url):
    environ = {"VLLM_BASE_URL": "http://models.example/v1", "HTTP_PROXY": url}

    with pytest.raises(ProviderError, match="proxy in HTTP_PROXY cannot be used"):
        opened("vllm", environ)


def test_a_socks_proxy_without_its_package_is_an_error_with_the_cure(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "socksio" else find(name)
    )
    environ = {"VLLM_BASE_URL": "http://models.example/v1", "ALL_PROXY": "socks5h://u:secret@p:1"}

    with pytest.raises(ProviderError, match=r"ALL_PROXY is a SOCKS proxy.*httpx2\[socks\]") as got:
        opened("vllm", environ)

    assert "secret" not in str(got.value)


def test_a_proxy_that_does_not_answer_is_named_without_its_password():
    with Wire(lambda seen, before: Says()) as closed:
        url = closed.url.replace("http://", "http://user:secret@")
    environ = {
        "VLLM_BASE_URL": "http://models.example/v1",
        "HTTP_PROXY": url,
        "KANDO_LLM_RETRIES": "0",
    }
    complete = opened("vllm", environ)

    with pytest.raises(Unreachable, match=r"through the proxy in HTTP_PROXY: .*refused") as caught:
        complete(ASKED)
    complete.close()

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "reason"),
    [("SSL_CERT_FILE", "No such file"), ("SSL_CERT_DIR", "it is not a folder")],
)
def test_a_wrong_path_of_certificates_is_an_error_that_names_its_variable(variable, reason):
    environ = {"OPENAI_API_KEY": "sk-0123456789", variable: "/nowhere/ca.pem"}

    with pytest.raises(ProviderError, match=rf"{variable}, '/nowhere/ca.pem'.*{reason}"):
        opened("openai", environ)


def test_a_file_without_certificates_is_an_error(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")

    with pytest.raises(ProviderError, match="it holds no certificate"):
        opened("openai", {"OPENAI_API_KEY": "sk-0123456789", "SSL_CERT_FILE": str(path)})


def test_an_untrusted_certificate_is_an_error_with_the_cure(tmp_path, certificate):
    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    with Wire(lambda seen, before: Says(), context) as server:
        url = server.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
        environ = {"VLLM_BASE_URL": f"{url}/v1", "KANDO_LLM_RETRIES": "0"}
        untrusting = opened("vllm", environ)
        trusting = opened("vllm", {**environ, "SSL_CERT_FILE": str(chain)})

        with pytest.raises(Unreachable, match=r"certificate is not trusted.*SSL_CERT_FILE"):
            untrusting(ASKED)
        assert trusting(ASKED)["text"] == "Yes."
        untrusting.close()
        trusting.close()


def test_the_proxy_of_the_system_is_used_with_the_environment_of_the_process_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(
        "kando_llm.network.getproxies", lambda: {"https": "http://proxy.example:3128"}
    )
    url = "https://models.example/v1"

    with_files = {**os.environ, "KANDO_LLM_OPTIONS": '{"max_tokens": 4000}'}
    for environ in (os.environ, with_files):
        assert network_of(url, environ).proxy == "http://proxy.example:3128"
    assert network_of(url, {"KANDO_LLM": "openai"}).proxy is None
