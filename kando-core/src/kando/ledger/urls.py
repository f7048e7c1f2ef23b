"""Redact the URLs of substrates before they are shown."""

from __future__ import annotations

import re

__all__ = ["redact_url"]


def redact_url(url: str) -> str:
    """Return a URL without its user, password and options, which are secret.

    Args:
        url: of a substrate. The URL of a file, and text that is not a URL, are not changed.
    """
    scheme, _, rest = url.partition("://")
    if not rest or scheme.lower() == "sqlite":
        return url
    authority, *remainder = re.split(r"[/?#]", rest, maxsplit=1)
    # With an @ in an unexpected place, the apparent host may be part of a password.
    if "@" in "".join(remainder) or authority.count("@") > 1:
        return f"{scheme}:"
    host, path = authority.rpartition("@")[2], re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{host}{path[len(authority) :]}"
