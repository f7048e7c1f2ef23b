"""The metadata of installed distributions; no other module reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from kando.plugins.hookspecs import PROJECT
from kando.plugins.records import normalised

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint

__all__ = ["InstalledPlugin", "core_version", "installed_plugins"]


@attrs.frozen
class InstalledPlugin:
    """An entry point of the group ``kando`` whose module has not been imported.

    Attributes:
        name: of the entry point.
        distribution: name of the distribution, as its metadata spells it.
        version: of the distribution.
        entry_point: its ``load()`` imports the plugin.
    """

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    @property
    def key(self) -> str:
        """``distribution:name``, unique among plugins."""
        return f"{self.distribution}:{self.name}"

    @property
    def value(self) -> str:
        """The entry point's value, such as ``kando_acme.plugin``."""
        return self.entry_point.value

    def load(self) -> Any:
        """Import the plugin; exceptions of the import are not caught."""
        return self.entry_point.load()


def installed_plugins() -> list[InstalledPlugin]:
    """Return the plugins on ``sys.path``, sorted by distribution and entry point.

    If ``sys.path`` has several copies of a distribution, the first counts, as it does for imports.
    """
    # Imported here because it takes tens of milliseconds, and built-in plugins do not need it.
    from importlib_metadata import distributions

    found: dict[str, list[InstalledPlugin]] = {}
    for distribution in distributions():
        # One by one, because a damaged distribution, such as the remains of an interrupted
        # uninstall, must not hide the others.
        try:
            entry_points = distribution.entry_points.select(group=PROJECT)
            if not entry_points:
                continue
            name, version = _name_and_version(distribution.read_text)
        except Exception:
            continue
        plugins = [InstalledPlugin(entry.name, name, version, entry) for entry in entry_points]
        found.setdefault(normalised(name), plugins)
    return [
        plugin for name in sorted(found) for plugin in sorted(found[name], key=lambda p: p.name)
    ]


def _name_and_version(read_text: Callable[[str], str | None]) -> tuple[str, str]:
    """Parse the two headers directly: an e-mail parser takes longer than all other steps."""
    text = read_text("METADATA") or read_text("PKG-INFO") or ""
    headers: dict[str, str] = {}
    for line in text.splitlines():
        if not line:
            break
        header, _, value = line.partition(":")
        headers.setdefault(header.lower(), value.strip())
    return headers["name"], headers["version"]


def core_version() -> str:
    """Return ``kando-core 0.4.0``, or ``this kando-core`` if it was not installed."""
    from importlib_metadata import PackageNotFoundError, version

    try:
        return f"kando-core {version('kando-core')}"
    except PackageNotFoundError:
        return "this kando-core"
