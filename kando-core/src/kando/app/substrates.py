"""Choose and open the substrate: from a URL, the environment, or in the user's data directory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from kando.errors import ConfigurationError
from kando.ledger.substrate import Substrate
from kando.settings import LEDGER, value_of

if TYPE_CHECKING:
    from kando.plugins import Plugins

__all__ = [
    "default_path",
    "is_in_memory",
    "open_memory",
    "open_sqlite",
    "open_substrate",
    "sqlite_path",
    "substrate_url",
]

_FILE_NAME = "kando.sqlite"


def default_path() -> Path:
    """Return the SQLite file for ledgers if no substrate is configured."""
    import platformdirs

    return Path(platformdirs.user_data_dir("kando", appauthor=False)) / _FILE_NAME


def substrate_url(url: str | None, environ: Mapping[str, str]) -> str:
    """Return the URL of the substrate to use.

    It is the first of `url`, ``KANDO_LEDGER`` and ``EVENTSTORE_URL`` that is set, else a SQLite file
    in the user's data directory.
    """
    return url or value_of(LEDGER, environ) or f"sqlite:{default_path()}"


def open_substrate(
    url: str, plugins: Callable[[], Plugins], *, read_only: bool = False
) -> Substrate:
    """Open the substrate that a URL names.

    Args:
        url: ``sqlite:PATH``, ``memory:``, or one with a scheme of an installed plugin.
        plugins: returns the installed plugins; called unless the scheme is built in.
        read_only: create and change nothing.

    Raises:
        ConfigurationError: the URL is malformed.
        UnknownPlugin: no installed plugin offers the scheme.
        StoreError: the substrate cannot be opened.
    """
    scheme, colon, _ = url.partition(":")
    if not colon or len(scheme) < 2:
        msg = f"{url!r} is not the URL of a substrate."
        raise ConfigurationError(msg, hint=f"For a SQLite file write sqlite:{url}.")
    # A plugin cannot claim a built-in scheme, so these need no plugins.
    built_in = {"sqlite": open_sqlite, "memory": open_memory}.get(scheme.lower())
    if built_in is not None:
        return built_in(url, read_only=read_only)
    installed = plugins()
    offered = installed.substrate(scheme.lower())
    opener: Any = installed.resolve(offered)
    opened = opener(url, read_only=read_only)
    if not isinstance(opened, Substrate):
        msg = (
            f"Substrate {offered.spec.name!r} returned a {type(opened).__name__}, not a Substrate."
        )
        raise ConfigurationError(msg, hint="Report this to the authors of the plugin.")
    return opened


def is_in_memory(substrate: Substrate) -> bool:
    """Whether a substrate is in memory, and stands for a file that did not exist."""
    # A module that was never imported has made no substrate.
    memory = sys.modules.get("kando.ledger.memory")
    return memory is not None and isinstance(substrate, memory.MemorySubstrate)


def sqlite_path(url: str) -> Path:
    """Return the file that ``sqlite:PATH``, or ``sqlite:///absolute/path``, names.

    Raises:
        ConfigurationError: the URL names no file.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or not path:
        msg = f"{url!r} names no file."
        raise ConfigurationError(msg, hint="Write sqlite:relative/path or sqlite:/absolute/path.")
    return Path(path).expanduser()


def open_sqlite(url: str, *, read_only: bool = False) -> Substrate:
    """Open a SQLite substrate from ``sqlite:PATH``, or ``sqlite:///absolute/path``."""
    from kando.ledger.memory import MemorySubstrate
    from kando.ledger.sqlite_substrate import SQLiteSubstrate

    file = sqlite_path(url)
    if read_only and not file.exists():
        # Nothing is recorded there yet, and a reader must not create the file.
        return MemorySubstrate()
    return SQLiteSubstrate(file, read_only=read_only)


def open_memory(url: str, *, read_only: bool = False) -> Substrate:
    """Open a substrate in memory, which is lost when the process ends."""
    from kando.ledger.memory import MemorySubstrate

    return MemorySubstrate()
