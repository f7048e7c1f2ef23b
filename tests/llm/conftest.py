"""Loopback servers, and runs against them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from live_runs import Runs, make_runs
from plugin_installation import Installation
from wire import Reply, Seen, Wire

_SETTINGS = (
    "ANTHROPIC_",
    "OPENAI_",
    "KANDO_",
    "AWS_",
    "GOOGLE_",
    "BEDROCK_",
    "VERTEX_",
    "CLOUD_ML_",
)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the surrounding environment from the SDKs."""
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith(_SETTINGS):
            monkeypatch.delenv(name)
    # The libraries of clouds look for credentials on the machine and in the network around it.
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    """Return a function that starts a server; it sends its replies in order and repeats the last."""
    with ExitStack() as stack:

        def start(*replies: Reply, answer: Callable[[Seen, int], Reply] | None = None) -> Wire:
            def in_order(seen: Seen, before: int) -> Reply:
                return replies[min(before, len(replies) - 1)]

            return stack.enter_context(Wire(answer or in_order))

        yield start


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return files with a key and with a certificate for localhost that no system trusts."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = (
        x509.CertificateBuilder(name, name, secret.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    pem, folder = serialization.Encoding.PEM, tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    private = serialization.PrivateFormat.PKCS8
    key.write_bytes(secret.private_bytes(pem, private, serialization.NoEncryption()))
    chain.write_bytes(builder.sign(secret, hashes.SHA256()).public_bytes(pem))
    return key, chain


@pytest.fixture(params=["anthropic", "openai"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Return the name of a provider with an SDK."""
    name: str = request.param
    return name


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    """Return a starter of runs on a SQLite ledger, with short waits."""
    installation = Installation(tmp_path / "plugins", monkeypatch)
    environ = {"KANDO_LLM_RETRIES": "2", "KANDO_LLM_TIMEOUT": "20"}
    yield make_runs(installation, tmp_path / "runs.db", environ)
    for name in installation.modules:
        sys.modules.pop(name, None)
