"""The LLM provider of a run: offline, live if that is allowed, or the cache only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kando.app.cache import cache_of
from kando.app.opened import OpenedRun, open_run
from kando.app.providers import Provider, choose_provider, located_provider
from kando.app.store import Store
from kando.cache.asked import Asked, cached_answer, provider_identity
from kando.errors import ConfigurationError
from kando.plugins import Plugins, ProviderSpec
from kando.plugins.records import Offered
from kando.responders.base import AnswerPending
from kando.responders.llm_executor import provider_executor
from kando.schema.events import KandoEvent
from kando.settings import LLM, value_of
from kando_mcp.worker.daily_limit import DailyLimit

__all__ = ["allowed_provider", "open_provider", "reject_file_argument"]


def allowed_provider(
    named: str | None, default: str | None, plugins: Plugins, *, allows_live: bool
) -> str | None:
    """Return the provider that may answer, or None if only the cache may.

    Args:
        named: ``provider`` or ``provider:argument`` given by the client.
        default: the provider if the client gives none.
        plugins: the installed plugins.
        allows_live: whether the provider may cost money or need a network.

    Raises:
        UnknownPlugin: no installed plugin offers the provider.
        ConfigurationError: the client named a provider that is not allowed.
    """
    wanted = named or default
    if named and named != default:
        reject_file_argument(named, plugins)
    if not wanted or allows_live:
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
        msg, hint=f"{instead}, or ask a person to start kando-mcp with --allow-live-llm."
    )


def reject_file_argument(named: str, plugins: Plugins) -> None:
    """Reject a provider argument that could be the path of a file.

    Args:
        named: ``provider:argument`` or a model, given by the client.
        plugins: the installed plugins.

    Raises:
        ConfigurationError: the provider does not declare that its argument is a model.
    """
    name, _, argument = named.partition(":")
    offers = [o for o in plugins.providers() if name in (o.spec.name, o.qualified_name)]
    if argument and any(not offered.spec.models for offered in offers):
        msg = f"The argument of {name!r} could be a file, which a client must not name."
        raise ConfigurationError(
            msg,
            hint=f"Use {name} without an argument, or ask a person to set KANDO_LLM for kando-mcp.",
        )


def _offline(plugins: Plugins) -> list[Offered[ProviderSpec]]:
    return [offered for offered in plugins.providers() if offered.spec.is_offline]


def open_provider(
    store: Store,
    run: str,
    named: str | None,
    *,
    allows_live: bool,
    limit: DailyLimit | None = None,
    options: Mapping[str, Any] | None = None,
) -> Provider | None:
    """Open the provider of a run.

    Args:
        store: the store of the run.
        run: id of the run.
        named: given by the client; if None, the choice made at the fork, else ``KANDO_LLM``.
        allows_live: as for `allowed_provider`.
        limit: cost limit of all runs per day; None for no limit.
        options: of all requests, as for `kando.app.providers.choose_provider`.

    Returns:
        None for a demo, which contains its answers.

    Raises:
        KandoError: the provider is not allowed, or cannot be opened.
    """
    opened = open_run(store.context, run)
    chosen = None if named else opened.chosen_llm()
    if not (named or chosen) and opened.is_demo_of(opened.require_kit()):
        return None
    default = chosen or value_of(LLM, store.context.environ)
    allowed = allowed_provider(named, default, store.context.plugins, allows_live=allows_live)
    is_silent = allowed is None and not allows_live
    provider = (
        None
        if is_silent
        else choose_provider(allowed, store.context.plugins, store.context.environ, options=options)
    )
    if provider is None:
        return _cache_only(store, opened)
    store.context.close_later(provider.close)
    effect = provider.executor.effect
    if limit is None or effect is None:
        return provider
    executor = attrs.evolve(provider.executor, effect=limit.over(effect))
    return attrs.evolve(provider, executor=executor)


def _cache_only(store: Store, run: OpenedRun) -> Provider:
    """Return a provider that makes no calls.

    It knows only requests whose answer is cached; the others have no executor and stay pending.
    """
    chosen, plugins = run.choices, store.context.plugins
    name, argument = located_provider(chosen.llm, plugins) if chosen.llm else ("cache", "")
    cache = cache_of(store.context, run.id, chosen, read_only=True)
    wanted = Asked(chosen.model, provider_identity(name, argument) if chosen.llm else None)

    def is_cached(intent: KandoEvent) -> bool:
        return cached_answer(cache, intent.data, wanted) is not None

    def pend(request: dict[str, Any]) -> dict[str, Any]:
        raise AnswerPending

    executor = provider_executor(pend)
    assert executor.effect is not None
    effect = attrs.evolve(executor.effect, knows=is_cached)
    return Provider(name, argument, attrs.evolve(executor, effect=effect))
