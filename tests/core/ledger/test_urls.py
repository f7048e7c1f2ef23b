"""The secrets in a URL are redacted before it is shown."""

import pytest

from kando.ledger.urls import redact_url


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("sqlite:/data/a@b.sqlite", "sqlite:/data/a@b.sqlite"),
        ("sqlite:///data/kando.sqlite", "sqlite:///data/kando.sqlite"),
        ("memory:", "memory:"),
        ("http://localhost:2113", "http://localhost:2113"),
        ("https://me:secret@db:2113?TlsCaFile=/etc/ca.pem", "https://db:2113"),
        ("esdb://me:secret@a:1,b:2,c:3?Tls=true", "esdb://a:1,b:2,c:3"),
        ("postgresql://me:secret@db/runs?password=secret", "postgresql://db/runs"),
        ("https://me:sec/ret@db", "https:"),
        ("https://me:sec?ret@db", "https:"),
        ("https://me:sec#ret@db", "https:"),
        ("https://me:sec@ret@db", "https:"),
    ],
)
def test_user_password_and_options_of_a_url_are_redacted(url: str, seen: str) -> None:
    assert redact_url(url) == seen
