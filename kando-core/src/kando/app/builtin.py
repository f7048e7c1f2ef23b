"""The plugins of kando-core itself, which use the same hooks as any other plugin."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from kando.plugins import Plugins, SubstrateSpec, hookimpl

__all__ = ["installed_plugins"]


@hookimpl
def kando_substrates() -> list[SubstrateSpec]:
    """Offer the embedded substrates."""
    return [
        SubstrateSpec(
            "sqlite", "kando.app.substrates:open_sqlite", ("sqlite",), "A SQLite file; durable"
        ),
        SubstrateSpec(
            "memory",
            "kando.app.substrates:open_memory",
            ("memory",),
            "Memory; lost when the process ends",
        ),
    ]


def installed_plugins(environ: Mapping[str, str]) -> Plugins:
    """Return the installed plugins, including built-in ones."""
    plugins = Plugins(environ=environ)
    plugins.register(sys.modules[__name__], name="builtin")
    return plugins
