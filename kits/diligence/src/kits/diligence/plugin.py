"""What this distribution offers to Kando."""

from __future__ import annotations

from kando.plugins import KitSpec, hookimpl

__all__ = ["kando_kits"]


@hookimpl
def kando_kits() -> list[KitSpec]:
    """Offer the kit."""
    return [KitSpec("diligence", "kits.diligence.kit:kit", "Due diligence on a company")]
