"""Which LLM provider answers, and the executor that asks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kando.errors import ConfigurationError
from kando.plugins import Plugins
from kando.responders.base import Responder
from kando.responders.llm_executor import provider_executor

__all__ = ["KEY_ORDER", "Provider", "choose_provider", "keys_without_provider"]

#: The order in which keys are looked for when nobody names a provider.
KEY_ORDER = ("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY")


@attrs.frozen
class Provider:
    """A provider that was chosen.

    Attributes:
        name: as in its plugin.
        argument: what followed the first colon, such as a model.
        executor: the responder that answers requests through it.
    """

    name: str
    argument: str
    executor: Responder


def choose_provider(
    named: str | None, plugins: Plugins, environ: Mapping[str, str]
) -> Provider | None:
    """Return the provider that answers a run's requests, or None if there is none.

    The first of: `named`, ``KANDO_LLM``, the provider of the first key found in `KEY_ORDER`.

    Args:
        named: ``provider`` or ``provider:argument``, split at the first colon.
        plugins: who offers which provider.
        environ: where keys are looked for.

    Raises:
        UnknownPlugin: no installed plugin offers the provider.
        KandoError: the provider cannot be opened.
    """
    wanted = named or environ.get("KANDO_LLM")
    if not wanted:
        wanted = next(
            (
                offered.spec.name
                for key in KEY_ORDER
                if environ.get(key)
                for offered in plugins.providers()
                if key in offered.spec.key_env
            ),
            None,
        )
    if not wanted:
        return None
    name, _, argument = wanted.partition(":")
    opener: Any = plugins.resolve(plugins.provider(name))
    complete = opener(argument, environ)
    if not callable(complete):
        msg = f"Provider {name!r} opened {type(complete).__name__}, not a function."
        raise ConfigurationError(msg, hint="Report it to the authors of the plugin.")
    return Provider(name, argument, provider_executor(complete))


def keys_without_provider(plugins: Plugins, environ: Mapping[str, str]) -> list[str]:
    """Return the keys that are set although no installed provider uses them."""
    used = {key for offered in plugins.providers() for key in offered.spec.key_env}
    return [key for key in KEY_ORDER if environ.get(key) and key not in used]
