"""What this distribution offers to Kando."""

from __future__ import annotations

from kando.plugins import KitSpec, hookimpl

__all__ = ["kando_kits"]


@hookimpl
def kando_kits() -> list[KitSpec]:
    """Offer the kit `research`."""
    return [KitSpec("research", "kits.research.kit:kit", "Answer a goal from cited sources")]
