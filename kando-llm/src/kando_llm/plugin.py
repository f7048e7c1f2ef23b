"""The plugin: the providers that this distribution offers."""

from __future__ import annotations

from kando.plugins import ProviderSpec, hookimpl

__all__ = ["kando_providers"]


@hookimpl
def kando_providers() -> list[ProviderSpec]:
    """Offer the providers."""
    return [
        ProviderSpec(
            "anthropic",
            "kando_llm.anthropic:open_anthropic",
            key_env=("ANTHROPIC_API_KEY",),
            models=("claude-*",),
            summary="Claude models, anthropic:MODEL",
        ),
        ProviderSpec(
            "echo",
            "kando_llm.offline_provider:open_echo",
            summary="Answers with the request's own words; offline, free",
            is_offline=True,
        ),
        ProviderSpec(
            "lmstudio",
            "kando_llm.openai:open_lmstudio",
            summary="LM Studio on this machine, lmstudio:MODEL",
        ),
        ProviderSpec(
            "ollama",
            "kando_llm.openai:open_ollama",
            summary="Ollama on this machine, ollama:MODEL",
        ),
        ProviderSpec(
            "openai",
            "kando_llm.openai:open_openai",
            key_env=("OPENAI_API_KEY",),
            models=("gpt-*", "chatgpt-*", "o[0-9]*"),
            summary="OpenAI models, openai:MODEL; or the server at OPENAI_BASE_URL",
        ),
        ProviderSpec(
            "openai-compatible",
            "kando_llm.openai:open_compatible",
            summary="Any server with OpenAI's API, at OPENAI_COMPATIBLE_BASE_URL",
        ),
        ProviderSpec(
            "openrouter",
            "kando_llm.openai:open_openrouter",
            key_env=("OPENROUTER_API_KEY",),
            models=("*/*",),
            summary="Models of many vendors, openrouter:VENDOR/MODEL",
        ),
        ProviderSpec(
            "recorded",
            "kando_llm.cassette:open_recorded",
            summary="Plays back a recorded run, recorded:FILE; offline, free",
        ),
        ProviderSpec(
            "scripted",
            "kando_llm.offline_provider:open_scripted",
            summary="Answers from a JSON file, scripted:FILE; offline, free",
            is_offline=True,
        ),
        ProviderSpec(
            "vllm",
            "kando_llm.openai:open_vllm",
            summary="vLLM on this machine, vllm:MODEL",
        ),
    ]
