"""Who answers a run's requests: an offline provider, a live one if that is allowed, or the cache."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kando.app.opened import open_run
from kando.app.providers import Provider, choose_provider
from kando.app.store import Store
from kando.errors import ConfigurationError
from kando.plugins import Plugins, ProviderSpec
from kando.plugins.records import Offered
from kando.responders.base import Responder
from kando.responders.llm_executor import recall
from kando.schema.events import LLM_REQUEST, LLM_RESPONSE, KandoEvent, make_event
from kando.world.graph import World
from kando_mcp.spending import Spending

__all__ = ["allowed_provider", "answering_provider", "refuse_files"]


def allowed_provider(
    named: str | None, default: str | None, plugins: Plugins, *, allows_live: bool
) -> str | None:
    """Return the provider that may answer, as it was named, or None if only the cache may.

    Args:
        named: by the client, ``provider`` or ``provider:argument``.
        default: instead, where the client names none.
        plugins: who offers which provider.
        allows_live: whether it may cost money or need a network.

    Raises:
        UnknownPlugin: no installed plugin offers it.
        ConfigurationError: the client named one that may not answer.
    """
    wanted = named or default
    if named and named != default:
        refuse_files(named, plugins)
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
    msg = f"Provider {name!r} calls a live model, which this server must not."
    raise ConfigurationError(
        msg, hint=f"{instead}, or have a person start kando-mcp with --allow-live-llm."
    )


def refuse_files(named: str, plugins: Plugins) -> None:
    """Refuse a provider's argument that may be the path of a file: clients name models only.

    Args:
        named: by the client, ``provider:argument``, or a model.
        plugins: who offers which provider.

    Raises:
        ConfigurationError: the provider does not say that its argument is a model.
    """
    name, _, argument = named.partition(":")
    offers = [o for o in plugins.providers() if name in (o.spec.name, o.qualified_name)]
    if argument and any(not offered.spec.models for offered in offers):
        msg = f"What follows {name!r} may be a file, which a client must not name."
        raise ConfigurationError(
            msg, hint=f"Say {name} alone, or have a person set KANDO_LLM for kando-mcp."
        )


def _offline(plugins: Plugins) -> list[Offered[ProviderSpec]]:
    return [offered for offered in plugins.providers() if offered.spec.is_offline]


def answering_provider(
    app: Store,
    run: str,
    named: str | None,
    *,
    allows_live: bool,
    max_usd_per_day: float | None,
) -> Provider | None:
    """Open the provider that answers a run's requests.

    Args:
        app: where the run is.
        run: its id.
        named: by the client; if None, what was chosen when the run was forked, else ``KANDO_LLM``.
        allows_live: as for `allowed_provider`.
        max_usd_per_day: most that all runs may spend in a day; None for no limit.

    Returns:
        None for a demo that answers itself.

    Raises:
        KandoError: it may not answer, or cannot be opened.
    """
    opened = open_run(app.context, run)
    chosen = opened.choices
    if not (named or chosen.llm) and opened.is_demo_of(opened.require_kit()):
        return None
    default = chosen.llm or app.context.environ.get("KANDO_LLM")
    allowed = allowed_provider(named, default, app.context.plugins, allows_live=allows_live)
    is_silent = allowed is None and not allows_live
    provider = (
        None if is_silent else choose_provider(allowed, app.context.plugins, app.context.environ)
    )
    if provider is None:
        return _cache_alone()
    app.context.close_later(provider.close)
    return provider if max_usd_per_day is None else _sparing(app, provider, max_usd_per_day)


def _sparing(app: Store, provider: Provider, max_usd_per_day: float) -> Provider:
    """Return a provider that makes no call once the day's money is spent, by whichever run."""
    effect = provider.executor.effect
    if effect is None:
        return provider
    call, spending = effect.call, Spending()

    def spare(intent: KandoEvent) -> dict[str, object]:
        if spending.today(app) >= max_usd_per_day:
            msg = f"The {max_usd_per_day} US dollars of this day (UTC) are spent."
            raise ConfigurationError(
                msg, hint="Resume the run tomorrow, or raise --max-usd-per-day."
            )
        return call(intent)

    executor = attrs.evolve(provider.executor, effect=attrs.evolve(effect, call=spare))
    return attrs.evolve(provider, executor=executor)


def _from_cache(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
    answer = recall(event, world)
    if answer is not None:
        yield make_event(LLM_RESPONSE, event.source, "", [event.id], answer)


def _cache_alone() -> Provider:
    # Not an executor: a request that the cache cannot answer stays pending.
    return Provider("cache", "", Responder("llm", frozenset({LLM_REQUEST}), _from_cache))
