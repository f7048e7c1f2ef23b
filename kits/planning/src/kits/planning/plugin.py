"""The plugin of this distribution: it registers the kit with Kando."""

from __future__ import annotations

from kando.plugins import KitSpec, hookimpl

__all__ = ["kando_kits"]


@hookimpl
def kando_kits() -> list[KitSpec]:
    """Register the kit `planning`."""
    return [
        KitSpec(
            "planning",
            "kits.planning.kit:kit",
            "Plan a goal as tasks and work on them",
            evaluation="kits.planning.evaluation:evaluation",
        )
    ]
