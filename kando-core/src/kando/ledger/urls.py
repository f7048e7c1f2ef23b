"""URLs of substrates, as they may be shown."""

from __future__ import annotations

import re

__all__ = ["redact_url"]


def redact_url(url: str) -> str:
    """Return a URL without its user, password and options: these are nobody else's business.

    Args:
        url: of a substrate. A file's, and what is none, are shown as they are.
    """
    scheme, _, rest = url.partition("://")
    if not rest or scheme.lower() == "sqlite":
        return url
    authority, *behind = re.split(r"[/?#]", rest, maxsplit=1)
    # An @ elsewhere than behind a user: what seems to be the host may be part of a password.
    if "@" in "".join(behind) or authority.count("@") > 1:
        return f"{scheme}:"
    host, path = authority.rpartition("@")[2], re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{host}{path[len(authority) :]}"
