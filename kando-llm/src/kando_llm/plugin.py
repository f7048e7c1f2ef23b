"""The plugin: the providers that this distribution offers."""

from __future__ import annotations

from kando.plugins import ProviderSpec, hookimpl

__all__ = ["kando_providers"]


_PROVIDERS = [
    ProviderSpec(
        "anthropic",
        "kando_llm.anthropic:open_anthropic",
        key_env=("ANTHROPIC_API_KEY",),
        models=("claude-*",),
        summary="Claude models, anthropic:MODEL",
    ),
    ProviderSpec(
        "azure",
        "kando_llm.openai:open_azure",
        key_env=("AZURE_OPENAI_API_KEY",),
        summary="OpenAI models on Azure, azure:DEPLOYMENT",
    ),
    ProviderSpec(
        "bedrock",
        "kando_llm.clouds:open_bedrock",
        key_env=("AWS_BEARER_TOKEN_BEDROCK",),
        summary="Claude models on Amazon Bedrock, bedrock:MODEL",
    ),
    ProviderSpec(
        "deepseek",
        "kando_llm.openai:open_deepseek",
        key_env=("DEEPSEEK_API_KEY",),
        models=("deepseek-*",),
        summary="DeepSeek models, deepseek:MODEL",
    ),
    ProviderSpec(
        "echo",
        "kando_llm.offline_provider:open_echo",
        summary="Answers with the request's own words; offline, free",
        is_offline=True,
    ),
    ProviderSpec(
        "gemini",
        "kando_llm.openai:open_gemini",
        key_env=("GEMINI_API_KEY",),
        models=("gemini-*",),
        summary="Gemini models, gemini:MODEL",
    ),
    ProviderSpec(
        "groq",
        "kando_llm.openai:open_groq",
        key_env=("GROQ_API_KEY",),
        summary="Models that Groq serves, groq:MODEL",
    ),
    ProviderSpec(
        "lmstudio",
        "kando_llm.openai:open_lmstudio",
        summary="LM Studio on this machine, lmstudio:MODEL",
    ),
    ProviderSpec(
        "mistral",
        "kando_llm.openai:open_mistral",
        key_env=("MISTRAL_API_KEY",),
        models=("mistral-*", "ministral-*", "magistral-*", "codestral-*"),
        summary="Mistral models, mistral:MODEL",
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
        "openai-responses",
        "kando_llm.openai:open_openai_responses",
        key_env=("OPENAI_API_KEY",),
        summary="OpenAI models through the Responses API, openai-responses:MODEL",
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
        reads_file=True,
    ),
    ProviderSpec(
        "scripted",
        "kando_llm.offline_provider:open_scripted",
        summary="Answers from a JSON file, scripted:FILE; offline, free",
        is_offline=True,
        reads_file=True,
    ),
    ProviderSpec(
        "vertex",
        "kando_llm.clouds:open_vertex",
        key_env=("VERTEX_ACCESS_TOKEN",),
        summary="Claude models on Google's Vertex AI, vertex:MODEL",
    ),
    ProviderSpec(
        "vllm",
        "kando_llm.openai:open_vllm",
        summary="vLLM on this machine, vllm:MODEL",
    ),
    ProviderSpec(
        "xai",
        "kando_llm.openai:open_xai",
        key_env=("XAI_API_KEY",),
        models=("grok-*",),
        summary="Grok models, xai:MODEL",
    ),
]


@hookimpl
def kando_providers() -> list[ProviderSpec]:
    """Offer the providers."""
    return _PROVIDERS
