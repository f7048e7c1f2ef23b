"""Virtual environments that hold some of what is installed here, made of links: no download."""

from __future__ import annotations

import re
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

__all__ = ["environment"]

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?[^;]*(;.*)?$")


def environment(folder: Path, names: Iterable[str]) -> Path:
    """Make an environment with some distributions and all they need; return its interpreter.

    Args:
        folder: where it is made.
        names: of distributions that are installed here.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "lib" / version / "site-packages"
    for each in _closure(names):
        for top in _top_levels(each):
            link = site / top
            if not link.exists():
                link.symlink_to(Path(str(each.locate_file(top))).resolve())
    return folder / "bin" / "python"


def _closure(names: Iterable[str]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            # Wanted under a condition that does not hold here.
            continue
        for requirement in found[name].requires or ():
            match = _REQUIREMENT.match(requirement)
            if match and "extra ==" not in (match[2] or ""):
                waiting.append(match[1])
    return list(found.values())


def _top_levels(each: Distribution) -> set[str]:
    tops = {file.parts[0] for file in each.files or ()}
    return {top for top in tops if top not in {"..", "__pycache__"}}
