"""The plugin: the provider that this distribution offers."""

from __future__ import annotations

from kando.plugins import ProviderSpec, hookimpl

__all__ = ["kando_providers"]


@hookimpl
def kando_providers() -> list[ProviderSpec]:
    """Offer the provider."""
    return [
        ProviderSpec(
            "llamacpp",
            "kando_llamacpp.provider:open_llamacpp",
            summary="A model in this process, llamacpp:FILE.gguf; no key, no network",
            is_offline=True,
            reads_file=True,
        )
    ]
