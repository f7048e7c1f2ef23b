"""The metadata of installed distributions; no other module reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from kando.plugins.hookspecs import PROJECT
from kando.plugins.records import normalised

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint

__all__ = ["InstalledPlugin", "core_version", "damaged_distributions", "installed_plugins"]


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
    return _read_all()[0]


def damaged_distributions() -> list[tuple[str, str]]:
    """Return the path and the problem of each distribution whose metadata cannot be read.

    If it offers plugins, they are not found.
    """
    return sorted(_read_all()[1])


def _read_all() -> tuple[list[InstalledPlugin], list[tuple[str, str]]]:
    # Imported here because it takes tens of milliseconds, and built-in plugins do not need it.
    from importlib_metadata import distributions

    found: dict[str, list[InstalledPlugin]] = {}
    damaged: list[tuple[str, str]] = []
    for distribution in distributions():
        # One by one, because a damaged distribution, such as the remains of an interrupted
        # uninstall, must not hide the others.
        try:
            entry_points = distribution.entry_points.select(group=PROJECT)
            if not entry_points:
                continue
            name, version = _name_and_version(distribution.read_text)
        except Exception as error:
            damaged.append((_path_of(distribution), _problem(error)))
            continue
        plugins = [InstalledPlugin(entry.name, name, version, entry) for entry in entry_points]
        found.setdefault(normalised(name), plugins)
    by_name = [
        plugin for name in sorted(found) for plugin in sorted(found[name], key=lambda p: p.name)
    ]
    return by_name, damaged


def _path_of(distribution: object) -> str:
    # Only distributions in a folder have a path, which importlib_metadata does not publish.
    return str(getattr(distribution, "_path", distribution))


def _problem(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"its METADATA is missing, or has no {error.args[0]}"
    return f"{type(error).__name__}: {error}"


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
