"""The plugin of this distribution: it registers the kit with Kando."""

from __future__ import annotations

from kando.plugins import KitSpec, hookimpl

__all__ = ["kando_kits"]


@hookimpl
def kando_kits() -> list[KitSpec]:
    """Register the kit `research`."""
    return [
        KitSpec(
            "research",
            "kits.research.kit:kit",
            "Answer a goal from cited sources",
            evaluation="kits.research.evaluation:evaluation",
        )
    ]
