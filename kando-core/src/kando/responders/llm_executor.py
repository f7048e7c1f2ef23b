"""The LLM executor: answers ``llm.request`` with ``llm.response``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import attrs

from kando.cache.asked import Asked, asked_in, cached_answer
from kando.cache.llm import LLMCache, request_key
from kando.cache.recorded import put_recorded
from kando.responders._repair import SchemaRepair
from kando.responders.base import Effect, Responder
from kando.responders.event_loop import awaited
from kando.responders.executor import answer_inline
from kando.responders.idempotency import call_context, call_variant
from kando.responders.options import DEFAULT_MAX_TOKENS, option_names, without_unset
from kando.schema.events import (
    ECHOED,
    LLM_REQUEST,
    LLM_RESPONSE,
    KandoEvent,
)
from kando.world.graph import World

__all__ = ["Complete", "LLMExecutorResponder", "LLMFunction", "provider_executor"]

#: ``llm_fn(messages, model, max_tokens) -> (text, cost_usd)``
LLMFunction = Callable[
    [list[dict[str, Any]], str, int], tuple[str, float] | Awaitable[tuple[str, float]]
]

#: ``complete(request) -> answer``: takes the data of an ``llm.request``, returns that of its
#: ``llm.response``.
Complete = Callable[[dict[str, Any]], dict[str, Any]]

# Requests are sent as they are written, to whichever provider there is.
_AS_WRITTEN = Asked()


def LLMExecutorResponder(llm_fn: LLMFunction, *, name: str = "llm") -> Responder:
    """Return an executor that answers requests by calling `llm_fn`.

    A request that the runtime's cache can answer needs no call: its answer has ``cached: true`` and
    costs 0.

    Args:
        llm_fn: ``llm_fn(messages, model, max_tokens) -> (text, cost_usd)``; may run in another
            thread. It may be an async function, which runs on the event loop of the process.
        name: the actor of the answers.
    """

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        model = request.get("model", "default")
        max_tokens = request.get("max_tokens") or DEFAULT_MAX_TOKENS
        text, cost = awaited(llm_fn(request["messages"], model, max_tokens))
        # The function takes nothing else.
        dropped = [name for name in option_names(request) if name != "max_tokens"]
        dropped += ["tools"] if request.get("tools") else []
        answer = {"text": text, "model": model, "cost_usd": cost}
        return {**answer, "dropped": dropped} if dropped else answer

    return provider_executor(answer, name=name)


def provider_executor(complete: Complete, *, name: str = "llm") -> Responder:
    """Return an executor that answers requests through a provider's `complete`.

    An answer to a request with an ``output_schema`` has valid ``data``. An invalid answer is sent
    back once, within the same call; if the second is invalid too, it has an ``error``.

    Args:
        complete: takes the data of an ``llm.request`` and returns that of the ``llm.response``;
            may run in another thread, and may be an async function. Its optional attribute ``worst_case_usd(request)`` returns the
            maximum cost of a request in US dollars, or None if it is unknown.
        name: the actor of the answers.
    """

    complete = SchemaRepair(complete)

    def call(intent: KandoEvent) -> dict[str, Any]:
        with call_context(intent):
            # A provider reads an option that is absent as one that has its default.
            return _with_echo(intent, complete(without_unset(intent.data)))

    effect = Effect(
        LLM_RESPONSE,
        call,
        recall,
        remember,
        _dedup_key,
        keep=keep,
        worst_case_usd=_worst_case_of(complete),
    )

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        return answer_inline(effect, event, world)

    return Responder(name, frozenset({LLM_REQUEST}), fn, effect=effect)


def asking(
    executor: Responder, sent: Asked, wanted: Asked, *, key_variant: str | None = None
) -> Responder:
    """Return an executor that sends requests otherwise, and notes in each answer what was asked.

    Args:
        executor: as `provider_executor` returned it.
        sent: the model and the provider that requests are sent to.
        wanted: whose cached answers may stand for theirs.
        key_variant: makes the idempotency keys of its requests differ from those of other
            executors; None for the same keys.
    """
    effect = executor.effect
    if effect is None:
        return executor
    variant = "/".join(each for each in (sent.model, key_variant) if each)

    def call(intent: KandoEvent) -> dict[str, Any]:
        asked = sent.of(intent.data)
        with call_variant(variant):
            answer = effect.call(attrs.evolve(intent, data=asked.sent(intent.data)))
        # An answer that is not a JSON object is refused where answers are recorded.
        return asked.noted(answer) if isinstance(answer, dict) else answer

    evolved = attrs.evolve(
        effect,
        call=call,
        recall=partial(recall, asked=wanted),
        remember=partial(remember, asked=wanted),
        dedup_key=partial(_dedup_key, asked=wanted),
        keep=partial(keep, asked=wanted),
        worst_case_usd=lambda request: effect.worst_case_usd(sent.of(request).sent(request)),
    )

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        return answer_inline(evolved, event, world)

    return attrs.evolve(executor, fn=fn, effect=evolved)


def _worst_case_of(complete: Complete) -> Callable[[dict[str, Any]], float | None]:
    estimate: Callable[[dict[str, Any]], float | None] | None
    estimate = getattr(complete, "worst_case_usd", None)

    def worst_case(request: dict[str, Any]) -> float | None:
        try:
            return estimate(without_unset(request)) if estimate is not None else None
        except Exception:
            # If the request is malformed, its call reports it.
            return None

    return worst_case


def recall(intent: KandoEvent, world: World, asked: Asked = _AS_WRITTEN) -> dict[str, Any] | None:
    """Return the cached answer to a request, or None.

    It costs nothing, unless it is an unrecorded answer to this same request (see `keep`).

    Args:
        intent: the request.
        world: whose context has the cache.
        asked: how the request would be sent.
    """
    cache = world.context.get("cache")
    if cache is None:
        return None
    asked = asked.of(intent.data)
    known = cached_answer(cache, intent.data, asked)
    if isinstance(known, dict):
        free = {**known, "cost_usd": 0.0, "cached": True}
        return _with_echo(intent, asked.noted(free))
    kept = cache.get_at(asked.key_at(_own_key(cache, intent, asked)))
    return kept if isinstance(kept, dict) else None


def keep(
    intent: KandoEvent, answer: dict[str, Any], world: World, asked: Asked = _AS_WRITTEN
) -> None:
    """Store an answer that could not be recorded, so that a resume does not repeat the call."""
    cache = world.context.get("cache")
    if cache is not None:
        asked = asked_in(answer, asked.model)
        own = _own_key(cache, intent, asked)
        # Found by this provider, and by any.
        cache.put_at({asked.key_at(own), own}, answer)


def remember(
    intent: KandoEvent, answer: dict[str, Any], world: World, asked: Asked = _AS_WRITTEN
) -> None:
    """Put an answer of a model into the runtime's cache, unless it is an error or came from the cache.

    Args:
        intent: the request.
        answer: its data, which may say what was asked.
        world: whose context has the cache.
        asked: what was asked, if the answer does not say; its provider does not count.
    """
    cache = world.context.get("cache")
    if cache is not None:
        put_recorded(cache, intent, answer, asked.model)


def _own_key(cache: LLMCache, intent: KandoEvent, asked: Asked) -> str:
    """Return the key for the unrecorded answer to this request alone, whatever its options were."""
    request = cache.key_of(intent.data, attrs.evolve(asked, options=None).replaced())
    return request_key({"answer_to": intent.id, "in": intent.source, "request": request})


def _dedup_key(intent: KandoEvent, world: World, asked: Asked = _AS_WRITTEN) -> str | None:
    # Without a cache every request needs a call of its own.
    cache = world.context.get("cache")
    return None if cache is None else cache.key_of(intent.data, asked.of(intent.data).replaced())


def _with_echo(intent: KandoEvent, answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with the fields that it echoes from its intent."""
    return {**answer, **{field: intent.data[field] for field in ECHOED if field in intent.data}}
