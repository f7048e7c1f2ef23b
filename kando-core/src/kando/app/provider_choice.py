"""The provider that a run is given when it is started, forked or offered to workers."""

from __future__ import annotations

from urllib.parse import urlsplit

from kando.app.context import Context
from kando.errors import ConfigurationError
from kando.schema.events import BRANCH_CHANGED, KandoEvent, make_event

__all__ = ["check_provider", "provider_event"]


def check_provider(context: Context, llm: str, *, hint: str) -> None:
    """Check that a ledger may keep the choice of a provider.

    Args:
        context: the plugins.
        llm: ``provider`` or ``provider:argument``.
        hint: the cure if it contains a user name or password.

    Raises:
        UnknownPlugin: no such provider is installed.
        ConfigurationError: the argument contains a user name or password.
    """
    name, _, argument = llm.partition(":")
    context.plugins.provider(name)
    if urlsplit(argument).password or urlsplit(argument).username:
        msg = f"--llm {name}:... contains a user name or password, which a ledger must not keep."
        raise ConfigurationError(msg, hint=hint)


def provider_event(context: Context, llm: str, actor: str) -> KandoEvent:
    """Return the event that records which provider answers the requests of a run from now on.

    Args:
        context: the plugins.
        llm: ``provider`` or ``provider:argument``.
        actor: that chooses it.

    Raises:
        UnknownPlugin, ConfigurationError: as for `check_provider`.
    """
    check_provider(context, llm, hint="Set KANDO_LLM for the process that works on the run.")
    return make_event(BRANCH_CHANGED, "", actor, [], {"llm": llm})
