"""The providers that a server with limits of its operator may use: offline, live, or the cache only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kando.app.cache import cache_of
from kando.app.context import Context
from kando.app.daily_limit import DailyLimit
from kando.app.opened import OpenedRun
from kando.app.operator import OperatorLimits
from kando.app.providers import Provider, choose_provider, located_provider
from kando.cache.asked import Asked, cached_answer, provider_identity
from kando.errors import ConfigurationError
from kando.plugins import Plugins, ProviderSpec
from kando.plugins.records import Offered
from kando.responders.base import AnswerPending
from kando.responders.llm_executor import provider_executor
from kando.schema.events import KandoEvent
from kando.settings import LLM, value_of

__all__ = [
    "allowed_provider",
    "cache_only_provider",
    "open_allowed_provider",
    "reject_file_argument",
    "require_allowed_provider",
    "shared_provider",
]


def require_allowed_provider(context: Context, named: str | None, limits: OperatorLimits) -> None:
    """Reject a provider that a client names and the operator does not allow.

    Raises:
        UnknownPlugin: no installed plugin offers the provider.
        ConfigurationError: the provider is not allowed.
    """
    allowed_provider(named, value_of(LLM, context.environ), context.plugins, limits)


def allowed_provider(
    named: str | None, default: str | None, plugins: Plugins, limits: OperatorLimits
) -> str | None:
    """Return the provider that may answer, or None if only the cache may.

    Args:
        named: ``provider`` or ``provider:argument`` given by the client.
        default: the provider if the client gives none.
        plugins: the installed plugins.
        limits: of the operator.

    Raises:
        UnknownPlugin: no installed plugin offers the provider.
        ConfigurationError: the client named a provider that is not allowed.
    """
    wanted = named or default
    if named and named != default:
        reject_file_argument(named, plugins, limits)
    if not wanted or limits.allows_live_llm:
        return wanted
    name = wanted.partition(":")[0]
    if any(name in (o.spec.name, o.qualified_name) for o in _offline(plugins)):
        return wanted
    if not named:
        return None
    plugins.provider(name)
    offline = [o.spec.name for o in _offline(plugins)]
    instead = f"Use an offline provider ({', '.join(offline)})" if offline else "Install kando-llm"
    msg = f"Provider {name!r} calls a live model, which this server does not allow."
    raise ConfigurationError(
        msg, hint=f"{instead}, or ask a person to start {limits.program} with --allow-live-llm."
    )


def reject_file_argument(named: str, plugins: Plugins, limits: OperatorLimits) -> None:
    """Reject a provider argument that could be the path of a file.

    Args:
        named: ``provider:argument`` or a model, given by the client.
        plugins: the installed plugins.
        limits: of the operator.

    Raises:
        ConfigurationError: the provider does not declare that its argument is a model.
    """
    name, _, argument = named.partition(":")
    offers = [o for o in plugins.providers() if name in (o.spec.name, o.qualified_name)]
    if argument and any(not offered.spec.models for offered in offers):
        msg = f"The argument of {name!r} could be a file, which a client must not name."
        instead = f"Use {name} without an argument"
        hint = f"{instead}, or ask a person to set KANDO_LLM for {limits.program}."
        raise ConfigurationError(msg, hint=hint)


def _offline(plugins: Plugins) -> list[Offered[ProviderSpec]]:
    return [offered for offered in plugins.providers() if offered.spec.is_offline]


def open_allowed_provider(
    run: OpenedRun,
    named: str | None,
    limits: OperatorLimits,
    *,
    daily: DailyLimit | None = None,
    options: Mapping[str, Any] | None = None,
) -> Provider | None:
    """Open the provider of a run; the caller closes it.

    Args:
        run: the run.
        named: given by the client; if None, the choice made at the fork, else ``KANDO_LLM``.
        limits: of the operator.
        daily: makes its calls; None for no limit per day.
        options: of all requests, as for `kando.app.providers.choose_provider`.

    Returns:
        None for a demo, which contains its answers.

    Raises:
        KandoError: the provider is not allowed, or cannot be opened.
    """
    chosen = None if named else run.chosen_llm()
    if not (named or chosen) and run.is_demo_of(run.require_kit()):
        return None
    found = shared_provider(run.context, named, chosen, limits, daily=daily, options=options)
    return found or cache_only_provider(run)


def shared_provider(
    context: Context,
    named: str | None,
    chosen: str | None,
    limits: OperatorLimits,
    *,
    daily: DailyLimit | None = None,
    options: Mapping[str, Any] | None = None,
) -> Provider | None:
    """Open a provider for all runs that choose it; None if only their caches may answer.

    Args:
        context: the plugins and the settings.
        named: given by the client.
        chosen: the choice that the runs made at their fork.
        limits: of the operator.
        daily: makes its calls; None for no limit per day.
        options: of all requests, as for `kando.app.providers.choose_provider`.

    Raises:
        KandoError: the provider is not allowed, or cannot be opened.
    """
    default = chosen or value_of(LLM, context.environ)
    allowed = allowed_provider(named, default, context.plugins, limits)
    provider = None
    if allowed is not None or limits.allows_live_llm:
        provider = choose_provider(
            allowed, context.plugins, context.environ, context.listen, options
        )
    effect = provider.executor.effect if provider is not None else None
    if provider is None or daily is None or effect is None:
        return provider
    executor = attrs.evolve(provider.executor, effect=daily.over(effect))
    return attrs.evolve(provider, executor=executor)


def cache_only_provider(run: OpenedRun) -> Provider:
    """Return a provider that makes no calls.

    It knows only requests whose answer is cached; the others have no executor and stay pending.
    """
    chosen, plugins = run.choices, run.context.plugins
    name, argument = located_provider(chosen.llm, plugins) if chosen.llm else ("cache", "")
    cache = cache_of(run.context, run.id, chosen, read_only=True)
    wanted = Asked(chosen.model, provider_identity(name, argument) if chosen.llm else None)

    def is_cached(intent: KandoEvent) -> bool:
        return cached_answer(cache, intent.data, wanted) is not None

    def pend(request: dict[str, Any]) -> dict[str, Any]:
        raise AnswerPending

    executor = provider_executor(pend)
    assert executor.effect is not None
    effect = attrs.evolve(executor.effect, knows=is_cached)
    return Provider(name, argument, attrs.evolve(executor, effect=effect))
