"""Which client is used, what URLs mean, and how a connection fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from kando.errors import ConfigurationError, KandoError, StoreError
from kando.ledger.urls import redact_url
from kando.plugins import Plugins
from kando_eventstore._client import client_library
from kando_eventstore._connection import Connection
from kando_eventstore._url import connection_string
from kando_eventstore.substrate import EventStoreSubstrate, open_eventstore
from kando_eventstore.testing import FakeEventStoreServer


@pytest.mark.parametrize(
    "scheme",
    [f"{name}{how}" for name in ("esdb", "kurrentdb", "kdb") for how in ("", "+discover")]
    + ["http", "https"],
)
def test_the_schemes_of_a_server_belong_to_the_package(scheme: str) -> None:
    assert Plugins(environ={}).substrate(scheme).distribution == "kando-eventstore"


@pytest.mark.parametrize(
    ("url", "string"),
    [
        ("http://localhost:2113", "esdb://localhost:2113?Tls=false"),
        ("https://me:secret@db:2113", "esdb://me:secret@db:2113?Tls=true"),
        ("http://a:1,b:2,c:3", "esdb://a:1,b:2,c:3?Tls=false"),
        ("esdb://db?Tls=false", "esdb://db?Tls=false"),
        ("kurrentdb://db?tls=False", "esdb://db?tls=False"),
        ("https://db?tls=false", "esdb://db?tls=false"),
        ("kurrentdb+discover://db?Tls=false", "esdb+discover://db?Tls=false"),
        (
            "https://me:secret@db?TlsCaFile=/etc/ca.pem",
            "esdb://me:secret@db?Tls=true&TlsCaFile=/etc/ca.pem",
        ),
    ],
)
def test_a_url_becomes_a_connection_string_that_both_clients_accept(url: str, string: str) -> None:
    assert connection_string(url) == string
    assert client_library().client is not None


@pytest.mark.parametrize(
    "url", ["esdb:", "http://", "https://host:2113", "esdb://me@host", "redis://host"]
)
def test_a_url_without_a_host_or_without_a_user_for_tls_or_of_another_server_is_refused(
    url: str,
) -> None:
    with pytest.raises(ConfigurationError, match="Write http"):
        connection_string(url)


def test_a_password_is_never_shown() -> None:
    url = "esdb://admin:changeit@db:2113?NoSuchOption=changeit"

    assert redact_url(url) == "esdb://db:2113"
    with pytest.raises(KandoError, match="esdb://db:2113") as caught:
        open_eventstore(url).info("r1")

    error: BaseException | None = caught.value
    while error is not None:
        assert "changeit" not in str(error)
        error = error.__cause__


@pytest.mark.parametrize(
    "url",
    [
        "https://me:sec/ret@db:2113",
        "https://me:12?34ret@db:2113",
        "https://me:sec#ret@db:2113",
        "esdb://me:sec/ret@db:2113?Tls=false",
        "https://me:sec@ret@db:2113",
    ],
)
def test_a_password_with_reserved_characters_is_refused_with_a_hint_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="%2F for /") as refused:
        connection_string(url)

    assert not any(part in str(refused.value) for part in ("sec", "ret", "12", "34"))
    assert redact_url(url) in ("https:", "esdb:")


def test_an_unreadable_file_in_an_option_is_named() -> None:
    url = "https://me:secret@db:2113?TlsCaFile=/no/such/ca.pem"

    with pytest.raises(ConfigurationError, match=r"/no/such/ca.pem cannot be read \(No such file"):
        open_eventstore(url).info("r1")


def test_an_unreachable_server_is_named_with_what_to_check() -> None:
    with (
        EventStoreSubstrate(Connection("http://127.0.0.1:1", first_patience=0.1)) as substrate,
        pytest.raises(StoreError, match=r"http://127.0.0.1:1 did not answer.*Use http:// for"),
    ):
        substrate.info("r1")


def test_a_closed_connection_is_refused(tmp_path: Path) -> None:
    with FakeEventStoreServer(tmp_path / "store") as server:
        substrate = open_eventstore(server.url)
        substrate.create("r1")
        substrate.close()
        with pytest.raises(StoreError, match=r"is closed.*Open a new one"):
            substrate.info("r1")


def test_without_a_client_the_error_names_the_package_to_install() -> None:
    code = """
import sys
sys.modules["kurrentdbclient"] = sys.modules["esdbclient"] = None
from kando.errors import StoreError
from kando_eventstore.substrate import open_eventstore
try:
    open_eventstore("http://localhost:2113")
except StoreError as error:
    print(error)
"""

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert "pip install 'kando-eventstore[kurrent]'" in result.stdout, result.stderr


def test_the_plugin_imports_no_client_before_a_server_is_opened() -> None:
    code = """
import sys
from kando.plugins import Plugins
plugins = Plugins(environ={})
plugins.resolve(plugins.substrate("http"))
print([name for name in ("grpc", "esdbclient", "kurrentdbclient") if name in sys.modules])
"""

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.stdout == "[]\n", result.stderr
