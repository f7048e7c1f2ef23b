"""The substrate: opening a cluster by its URL."""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import urlsplit

from kando.errors import StoreError

__all__ = ["open_eventstore"]


def open_eventstore(url: str, *, read_only: bool = False) -> NoReturn:
    """Refuse to open a cluster: this version does not store ledgers in one.

    Args:
        url: ``esdb:``, ``kurrentdb:``, ``http:`` or ``https:``.
        read_only: whether nothing would be written.

    Raises:
        StoreError: always; the message shows the URL without a password.
    """
    host = urlsplit(url).hostname or url.partition(":")[0]
    msg = f"This version of kando-eventstore cannot store ledgers in EventStoreDB ({host})."
    raise StoreError(msg, hint="Unset EVENTSTORE_URL, or say --ledger sqlite:PATH.")
