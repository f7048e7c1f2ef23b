"""The plugin of this distribution: it registers the kit with Kando."""

from __future__ import annotations

from kando.plugins import KitSpec, hookimpl

__all__ = ["kando_kits"]


@hookimpl
def kando_kits() -> list[KitSpec]:
    """Register the kit `diligence`."""
    return [
        KitSpec(
            "diligence",
            "kits.diligence.kit:kit",
            "Due diligence on a company",
            evaluation="kits.diligence.evaluation:evaluation",
        )
    ]
