"""Whether an installed kit has changed, by the times of files: no plugin is imported to know it.

A run that becomes idle notes what was installed then. As long as that is unchanged, a look-up of its kit
would find the kit that became idle, in the same version, so commands that read the run skip the look-up.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from kando._lazy import IMPORTED_AT
from kando.errors import KandoError
from kando.settings import (
    DISABLED_PLUGINS,
    ONLY_PLUGINS,
    PREFERRED_PLUGINS,
    STRICT_PLUGINS,
    Setting,
    value_of,
)
from kando.world.snapshot import Installed

if TYPE_CHECKING:
    from kando.plugins import Plugins

__all__ = ["installed_with", "is_unchanged"]

#: The settings on which the look-up of a kit depends.
_SWITCHES: tuple[Setting[Any], ...] = (
    ONLY_PLUGINS,
    DISABLED_PLUGINS,
    PREFERRED_PLUGINS,
    STRICT_PLUGINS,
)

#: The endings of folders with the metadata of a distribution, and the files in them that count.
_METADATA = (".dist-info", ".egg-info", "EGG-INFO")
_METADATA_FILES = ("METADATA", "PKG-INFO", "entry_points.txt")

#: Folders in which each change of a distribution also changes its metadata.
_SITES = frozenset({"site-packages", "dist-packages"})

_STANDARD_LIBRARY = os.path.dirname(os.__file__)

#: A file that changed this long before the process began may be newer: file systems round times.
_ROUNDED_NS = 2_000_000_000

_MAX_FOLDERS, _MAX_FILES = 200, 5000


def installed_with(kit: str, plugins: Plugins, environ: Mapping[str, str]) -> Installed | None:
    """Return the installation of a kit that this process has imported.

    Args:
        kit: its name; an installed plugin offers it.
        plugins: the installed plugins, all of them imported.
        environ: as for `Plugins`.

    Returns:
        None if a file has changed since the process began, which may have imported it before that;
        or if the kit is not found.
    """
    try:
        offered = plugins.kit(kit)
    except KandoError:
        return None
    modules = {offered.spec.target.partition(":")[0]}
    modules |= {each.entry_point.partition(":")[0] for each in plugins.plugins(load=False)}
    folders = _folders({name.partition(".")[0] for name in modules})
    if len(folders) > _MAX_FOLDERS:
        return None
    digest, newest = _read(folders, environ)
    return Installed(folders, digest) if newest < IMPORTED_AT - _ROUNDED_NS else None


def is_unchanged(installed: Installed, environ: Mapping[str, str]) -> bool:
    """Whether a look-up of a kit in this process finds the same as when `installed` was noted.

    Args:
        installed: as `installed_with` returned it, maybe in another process.
        environ: as for `Plugins`.
    """
    digest, _ = _read(installed.folders, environ)
    return digest == installed.digest


def _folders(plugins: set[str]) -> tuple[str, ...]:
    """Return the folders of the imported modules on which the version of a kit may depend.

    These are the modules of plugins and kits, and all others that are edited where they are.

    Args:
        plugins: top-level modules of plugins and kits.
    """
    found: set[str] = set()
    for name, module in [*sys.modules.items()]:
        top, path = name.partition(".")[0], getattr(module, "__file__", None)
        if path is None or top in sys.stdlib_module_names or top in ("kando", "__main__"):
            continue
        folder = os.path.dirname(path)
        is_edited = folder != _STANDARD_LIBRARY and _SITES.isdisjoint(PurePath(folder).parts)
        if top in plugins or is_edited:
            found.add(folder)
    return tuple(sorted(found))


def _read(folders: tuple[str, ...], environ: Mapping[str, str]) -> tuple[str, int]:
    """Return a digest of all on which a look-up depends, and the time of the newest change in ns."""
    read = [repr([value_of(each, environ) for each in _SWITCHES])]
    newest = 0
    for path, found in _files(folders):
        newest = max(newest, found.st_mtime_ns, found.st_ctime_ns)
        read.append(f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}")
        if len(read) > _MAX_FILES:
            # No note matches it.
            return "", sys.maxsize
    return hashlib.sha256("\n".join(read).encode(errors="surrogatepass")).hexdigest(), newest


def _files(folders: tuple[str, ...]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the metadata of all distributions in the order of ``sys.path``, and the files of folders."""
    for place in sys.path:
        for path in _metadata_in(place or "."):
            try:
                yield path, os.stat(path)
            except OSError:
                continue
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                files = [(each.path, each.stat()) for each in entries if each.is_file()]
        except OSError:
            continue
        yield from sorted(files)


def _metadata_in(place: str) -> list[str]:
    """Return the paths that the metadata of the distributions in an entry of ``sys.path`` may have."""
    try:
        names = sorted(os.listdir(place))
    except NotADirectoryError:
        # A zip file.
        return [place]
    except OSError:
        return []
    folders = [os.path.join(place, name) for name in names if name.endswith(_METADATA)]
    return [os.path.join(folder, file) for folder in folders for file in _METADATA_FILES]
