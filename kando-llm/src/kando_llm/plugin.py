"""What this distribution offers to Kando."""

from __future__ import annotations

from kando.plugins import ProviderSpec, hookimpl

__all__ = ["kando_providers"]


@hookimpl
def kando_providers() -> list[ProviderSpec]:
    """Offer the providers."""
    return [
        ProviderSpec(
            "echo",
            "kando_llm.offline:open_echo",
            summary="Answers with the request's own words; offline, free",
            is_offline=True,
        ),
        ProviderSpec(
            "scripted",
            "kando_llm.offline:open_scripted",
            summary="Answers from a JSON file, scripted:FILE; offline, free",
            is_offline=True,
        ),
    ]
