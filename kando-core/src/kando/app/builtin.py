"""What kando-core itself offers, through the same hooks as any plugin."""

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
            "sqlite", "kando.app.substrates:open_sqlite", ("sqlite",), "a SQLite file, durable"
        ),
        SubstrateSpec(
            "memory",
            "kando.app.substrates:open_memory",
            ("memory",),
            "memory, ends with the process",
        ),
    ]


def installed_plugins(environ: Mapping[str, str]) -> Plugins:
    """Return the plugins that are installed, the built-in ones among them."""
    plugins = Plugins(environ=environ)
    plugins.register(sys.modules[__name__], name="builtin")
    return plugins
