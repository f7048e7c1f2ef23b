"""The plugin: it offers the recall ``minilm`` and imports nothing heavy."""

from __future__ import annotations

from kando.plugins import RecallSpec, hookimpl

__all__ = ["kando_recalls"]

KANDO_PLUGIN_API = (1, 1)


@hookimpl
def kando_recalls() -> list[RecallSpec]:
    """Offer the recall."""
    summary = "Sentence vectors of all-MiniLM-L6-v2, English, on this machine"
    return [RecallSpec("minilm", "kando_minilm.recall:open_minilm", summary)]
