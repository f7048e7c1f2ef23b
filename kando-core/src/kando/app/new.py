"""Create a package with a kit, a substrate or a provider, ready to be installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from kando.errors import ConfigurationError
from kando.plugins import PLUGIN_API

__all__ = ["KINDS", "TEMPLATES", "write_package"]

#: The kinds of packages, each with the summary of its package.
KINDS = {
    "kit": "A kit for Kando.",
    "substrate": "A substrate for Kando: a place for ledgers.",
    "provider": "A provider of language models for Kando.",
}

#: The templates of a kit other than the default one, and what each shows.
TEMPLATES = {
    "chat": "a conversation with a model that may call a tool",
    "tools": "tools with a context and settings, and a policy that has a person allow the writes",
    "pipeline": "typed objects, and a chain of responders",
}

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")

_SUFFIX = ".tmpl"


def write_package(
    kind: str, name: str, into: Path, template: str | None = None
) -> tuple[Path, list[Path]]:
    """Write a package, and return its folder and its files relative to the folder.

    A kit ``weather`` becomes the distribution ``kando-kit-weather`` with the module
    ``kando_kit_weather``; a substrate or provider ``toy`` becomes ``kando-toy``.

    Args:
        kind: one of `KINDS`.
        name: of the kit, substrate or provider: a-z, 0-9 and hyphens, starting with a letter.
        into: folder in which to create the folder of the package.
        template: of a kit: one of `TEMPLATES`; the default one if None.

    Raises:
        ConfigurationError: the name is malformed, its distribution is installed, the folder already
            exists, or there is no such template.
    """
    if template is not None and (kind != "kit" or template not in TEMPLATES):
        msg = f"A {kind} has no template {template!r:.80}."
        raise ConfigurationError(msg, hint=f"A kit has the templates {', '.join(TEMPLATES)}.")
    if not _NAME.fullmatch(name):
        msg = f"{name!r:.80} is not a valid name of a {kind}."
        raise ConfigurationError(msg, hint="Use a-z, 0-9 and hyphens, starting with a letter.")
    distribution = f"kando-kit-{name}" if kind == "kit" else f"kando-{name}"
    if _is_installed(distribution):
        msg = f"A distribution {distribution!r} is already installed, and would be replaced."
        raise ConfigurationError(msg, hint="Choose another name, or uninstall it first.")
    folder = into / distribution
    if folder.exists():
        msg = f"{str(folder)!r} already exists; nothing was written."
        raise ConfigurationError(msg, hint="Choose another name, or another folder with --into.")
    values = {
        "name": name,
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "summary": KINDS[kind],
        "core": _requirement(version("kando-core")),
        "api": str(PLUGIN_API),
    }
    written = []
    templates = files("kando.app") / "templates"
    own = [kind if template is None else f"{kind}_{template}"]
    for part in ["every", *(["every_kit"] if kind == "kit" else []), *own]:
        for path, text in _templates(templates / part, Path()):
            target = Path(*(_file_name(step, values["package"]) for step in path.parts))
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            content = Template(text).substitute(values)
            (folder / target).write_text(content, encoding="utf-8")
            written.append(target)
    return folder, sorted(written)


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _templates(folder: Traversable, path: Path) -> Iterator[tuple[Path, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, path / entry.name)
        elif entry.name.endswith(_SUFFIX):
            yield path / entry.name, entry.read_text(encoding="utf-8")


def _file_name(step: str, package: str) -> str:
    if step == "PACKAGE":
        return package
    # Templates are stored without a leading dot, since build tools skip dot files.
    name = step.removesuffix(_SUFFIX)
    return f".{name.removeprefix('dot-')}" if name.startswith("dot-") else name


def _requirement(core: str) -> str:
    """Return the requirement for versions of kando-core with the same plugin API."""
    major, minor = core.split(".")[:2]
    return f"kando-core>={core},<{major}.{int(minor) + 1}"
