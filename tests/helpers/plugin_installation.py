"""Installed distributions, written to disk and found through their metadata."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from textwrap import dedent

import pytest

from kando.plugins import Plugins


class Installation:
    """Distributions of one test, each in a directory of its own on ``sys.path``."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.distributions: list[str] = []
        self.modules: list[str] = []
        self._monkeypatch = monkeypatch

    def add(
        self,
        distribution: str,
        plugin: str,
        *,
        entry_point: str | None = None,
        version: str = "1.0",
        modules: dict[str, str] | None = None,
    ) -> str:
        """Install a distribution with one plugin module, and put it first on ``sys.path``.

        Args:
            distribution: its name.
            plugin: source of the plugin module.
            entry_point: its name; by default that of the distribution without ``kando-``.
            version: of the distribution.
            modules: source of other modules, by name.

        Returns:
            The plugin module's name.
        """
        directory = self.root / distribution
        stem = re.sub(r"[-_.]", "_", distribution)
        module = f"{stem}_plugin"
        name = entry_point or distribution.removeprefix("kando-")
        metadata = directory / f"{stem}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        (metadata / "entry_points.txt").write_text(f"[kando]\n{name} = {module}\n")
        for file, source in {module: plugin, **(modules or {})}.items():
            (directory / f"{file}.py").write_text(dedent(source))
            self.modules.append(file)
        self.distributions.append(distribution)
        self._monkeypatch.syspath_prepend(str(directory))
        importlib.invalidate_caches()
        return module

    def add_kit(
        self, distribution: str, kit: str, *, entry_point: str | None = None, version: str = "1.0"
    ) -> str:
        """Install a distribution whose plugin offers the kit `kit`; arguments as in `add`."""
        source = offering(f'KitSpec("{kit}", "some:kit")')
        return self.add(distribution, source, entry_point=entry_point, version=version)

    def plugins(self, **environ: str) -> Plugins:
        """Return a plugin manager that finds these distributions and no others."""
        return Plugins(environ={"KANDO_PLUGINS": ",".join(self.distributions), **environ})


def offering(*specs: str, hook: str = "kando_kits") -> str:
    """Return the source of a plugin module that offers `specs`."""
    return (
        f"from kando.plugins import *\n@hookimpl\ndef {hook}():\n    return [{', '.join(specs)}]\n"
    )
