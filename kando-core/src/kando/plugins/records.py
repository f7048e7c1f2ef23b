"""The results of the plugin manager: records with their origin, and loaded plugins."""

from __future__ import annotations

import re
from typing import Generic, TypeVar

import attrs

from kando.plugins.specs import (
    CommandSpec,
    ExporterSpec,
    KitSpec,
    ProviderSpec,
    RecallSpec,
    SubstrateSpec,
    ToolProtocolSpec,
)

__all__ = ["BUILT_IN", "LoadedPlugin", "Offered", "Spec", "normalised", "origin_of"]

#: Any of the records that a hook may return.
Spec = TypeVar(
    "Spec",
    bound=KitSpec
    | SubstrateSpec
    | ProviderSpec
    | ToolProtocolSpec
    | ExporterSpec
    | RecallSpec
    | CommandSpec,
)

#: Default distribution of plugins that were registered in the process.
BUILT_IN = "built in"


def normalised(name: str) -> str:
    """Return the name of a distribution in normalised form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def origin_of(distribution: str, version: str) -> str:
    """Return ``kando-acme 1.2``, or the distribution alone if it has no version."""
    return f"{distribution} {version}".rstrip()


@attrs.frozen
class Offered(Generic[Spec]):
    """A record that a plugin offers, with its origin.

    Attributes:
        spec: the record.
        distribution: that ships the plugin; ``built in`` if it was registered in the process.
        version: of the distribution; empty if it has none.
    """

    spec: Spec
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """Distribution and version: ``kando-acme 1.2``."""
        return origin_of(self.distribution, self.version)

    @property
    def qualified_name(self) -> str:
        """``distribution/name``, which resolves even if other plugins claim the name."""
        return f"{self.distribution}/{self.spec.name}"


@attrs.frozen
class LoadedPlugin:
    """A plugin that was loaded, or that failed.

    Attributes:
        name: of its entry point, or the name it was registered with.
        distribution: that ships it; ``built in`` if it was registered in the process.
        version: of the distribution; empty if it has none.
        entry_point: the entry point's value, such as ``kando_acme.plugin``; empty if registered.
        seconds: duration of its import.
        hooks: that it implements, sorted; empty if it could not be loaded.
        error: its problems, in one line; None if it has none.
        exception: the first that was raised, with its traceback; None if none was raised.
    """

    name: str
    distribution: str
    version: str
    entry_point: str
    seconds: float
    hooks: tuple[str, ...]
    error: str | None = None
    exception: BaseException | None = attrs.field(default=None, eq=False)

    @property
    def origin(self) -> str:
        """Distribution and version: ``kando-acme 1.2``."""
        return origin_of(self.distribution, self.version)

    @property
    def key(self) -> str:
        """``distribution:name``, unique among plugins."""
        return f"{self.distribution}:{self.name}"
