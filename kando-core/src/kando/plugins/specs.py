"""The records with which a plugin offers kits, substrates, providers, exporters, commands and more.

A record names its code by an import string. So everything that is installed can be listed without
importing it and the heavy libraries that it may need.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from kando.plugins.errors import InvalidSpec

__all__ = [
    "PLUGIN_API",
    "CommandSettings",
    "CommandSpec",
    "ExporterSpec",
    "KitSpec",
    "ProviderSpec",
    "RecallSpec",
    "SubstrateSpec",
    "ToolProtocolSpec",
]

#: Version of the hooks and records of this package. A plugin module may state the versions that it
#: supports: ``KANDO_PLUGIN_API = (1, 1)``, the lowest and the highest.
PLUGIN_API = 1

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_MODELS = re.compile(r"[!-~]*[!-)+-~][!-~]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXTENSION = re.compile(r"[a-z0-9]+")


def _check_name(spec: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        msg = f"{type(spec).__name__}: {value!r} is not a valid name."
        raise InvalidSpec(msg, hint="Use a-z, 0-9 and hyphens, starting with a letter.")


def _check_target(spec: Any, attribute: attrs.Attribute[str], value: str) -> None:
    if isinstance(value, str):
        module, colon, path = value.partition(":")
        if colon and all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
            return
    what = f"{type(spec).__name__} {spec.name!r}: {attribute.name}"
    msg = f"{what} {value!r} is not an import string."
    raise InvalidSpec(msg, hint='Write "package.module:attribute", not the object itself.')


def _check_optional_target(spec: Any, attribute: attrs.Attribute[str], value: str) -> None:
    if value != "":
        _check_target(spec, attribute, value)


def _check_text(spec: Any, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str):
        msg = f"{type(spec).__name__} {spec.name!r}: {attribute.name} {value!r} is not a string."
        raise InvalidSpec(msg, hint=f"Pass {attribute.name} as a string of one line.")


def _as_tuple(value: Iterable[str]) -> Any:
    # A single string is left for the validator to reject: as an iterable, it would silently become
    # a tuple of its letters.
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else value


def _check_each(pattern: re.Pattern[str], what: str) -> Any:
    def check(spec: Any, attribute: attrs.Attribute[tuple[str, ...]], value: Any) -> None:
        where = f"{type(spec).__name__} {spec.name!r}: {attribute.name}"
        if not isinstance(value, tuple):
            msg = f"{where} {value!r} is not a tuple."
            raise InvalidSpec(msg, hint=f"Write {attribute.name}=(...,), with the comma.")
        for item in value:
            if not isinstance(item, str) or not pattern.fullmatch(item):
                msg = f"{where} contains {item!r}, which is not a valid {what}."
                raise InvalidSpec(msg, hint=f"Each item must match {pattern.pattern}.")

    return check


@attrs.frozen
class KitSpec:
    """Offers a kit.

    Attributes:
        name: lower-case letters, digits and hyphens; users type it.
        target: import string ``module:attribute`` of the `kando.kit.Kit`.
        summary: one line for listings.
        evaluation: import string ``module:attribute`` of its `kando.evaluation.Evaluation`, which
            is imported when the kit is measured; empty if it has none.

    Raises:
        InvalidSpec: an argument is malformed.
    """

    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    summary: str = attrs.field(default="", validator=_check_text)
    evaluation: str = attrs.field(default="", validator=_check_optional_target)


@attrs.frozen
class SubstrateSpec:
    """Offers a substrate, a place where ledgers live.

    Attributes:
        name: lower-case letters, digits and hyphens.
        target: import string ``module:attribute`` of a function that opens a URL and returns a
            `kando.ledger.substrate.Substrate`.
        schemes: of the URLs that it opens, without the colon: ``("esdb", "kurrentdb")``. Its name is
            always one of them.
        summary: one line for listings.

    Raises:
        InvalidSpec: an argument is malformed.
    """

    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    schemes: tuple[str, ...] = attrs.field(
        default=(), converter=_as_tuple, validator=_check_each(_SCHEME, "URL scheme")
    )
    summary: str = attrs.field(default="", validator=_check_text)


@attrs.frozen
class ProviderSpec:
    """Offers an LLM provider.

    Attributes:
        name: the part before the colon in ``anthropic:some-model``.
        target: import string ``module:attribute``.
        key_env: environment variables that may hold its API key; the first that is set is used.
        summary: one line for listings.
        is_offline: whether it answers without a network and without cost. A host that must not
            spend money offers only such providers.
        models: patterns of the models that it has, such as ``claude-*``; they find the provider if
            a user names only a model.
        reads_file: whether its argument is the path of a file. Then only the person who chooses the
            provider of a run names it: a request, and so an imported run, cannot have it opened.

    Raises:
        InvalidSpec: an argument is malformed.
    """

    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    key_env: tuple[str, ...] = attrs.field(
        default=(), converter=_as_tuple, validator=_check_each(_VARIABLE, "environment variable")
    )
    summary: str = attrs.field(default="", validator=_check_text)
    is_offline: bool = False
    models: tuple[str, ...] = attrs.field(
        default=(), converter=_as_tuple, validator=_check_each(_MODELS, "pattern of models")
    )
    reads_file: bool = False


@attrs.frozen
class ToolProtocolSpec:
    """Offers a protocol of tool servers, such as MCP.

    Attributes:
        name: lower-case letters, digits and hyphens.
        target: import string ``module:attribute`` of a function that takes a
            `kando.responders.tool_servers.ToolServer` and the environment, and returns a
            `kando.responders.tool_servers.ToolSession` without connecting to the server.
        summary: one line for listings.

    Raises:
        InvalidSpec: an argument is malformed.
    """

    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    summary: str = attrs.field(default="", validator=_check_text)


@attrs.frozen
class ExporterSpec:
    """Offers a format of ``kando export``.

    Attributes:
        name: of the format: lower-case letters, digits and hyphens; users type it.
        target: import string ``module:attribute`` of a function that takes a `kando.app.run.Run` and
            the number of its events to export, and returns the file as an iterable of bytes.
        extensions: of the files that have this format unless ``--format`` names another, without
            the dot: ``("html",)``.
        summary: one line for listings.

    Raises:
        InvalidSpec: an argument is malformed.
    """

    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    extensions: tuple[str, ...] = attrs.field(
        default=(), converter=_as_tuple, validator=_check_each(_EXTENSION, "file extension")
    )
    summary: str = attrs.field(default="", validator=_check_text)


@attrs.frozen
class RecallSpec:
    """Offers a recall: a measure, such as vectors, by which the passages of documents are ranked.

    Attributes:
        name: lower-case letters, digits and hyphens; users type it.
        target: import string ``module:attribute`` of a function that takes the environment and
            returns a `kando.text.relevance.Recall`.
        summary: one line for listings.

    Raises:
        InvalidSpec: an argument is malformed.
    """

    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    summary: str = attrs.field(default="", validator=_check_text)


@attrs.frozen
class CommandSpec:
    """Offers a subcommand of ``kando``.

    Attributes:
        name: lower-case letters, digits and hyphens.
        target: import string ``module:attribute`` of a click command, whose ``obj`` is a
            `CommandSettings`.
        help: one line for ``kando --help``, which is printed without importing the target.

    Raises:
        InvalidSpec: an argument is malformed.
    """

    name: str = attrs.field(validator=_check_name)
    target: str = attrs.field(validator=_check_target)
    help: str = attrs.field(default="", validator=_check_text)


@attrs.frozen
class CommandSettings:
    """The settings of ``kando`` that a command of a plugin gets with ``click.pass_obj``.

    Attributes:
        substrate_url: URL of the substrate in use, chosen by ``--ledger``, by the environment, or
            by default.
        data_folder: the folder for files of Kando that belong to this user; it may not exist yet.
        environ: environment variables, with the options that take precedence over them.
    """

    substrate_url: str
    data_folder: Path
    #: Holds keys, which must not end up in a log.
    environ: Mapping[str, str] = attrs.field(repr=False)
