"""The LLM executor: answers ``llm.request`` with ``llm.response``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from kando.cache.llm import request_key
from kando.responders._repair import SchemaRepair
from kando.responders.base import Effect, Responder
from kando.responders.executor import answer_inline
from kando.responders.idempotency import call_context
from kando.schema.events import ECHOED, LLM_REQUEST, LLM_RESPONSE, OBSERVED, KandoEvent
from kando.world.graph import World

__all__ = ["Complete", "LLMExecutorResponder", "LLMFunction", "provider_executor", "with_model"]

#: ``llm_fn(messages, model, max_tokens) -> (text, cost_usd)``
LLMFunction = Callable[[list[dict[str, Any]], str, int], tuple[str, float]]

#: ``complete(request) -> answer``: takes the data of an ``llm.request``, returns that of its
#: ``llm.response``.
Complete = Callable[[dict[str, Any]], dict[str, Any]]

_DEFAULT_MAX_TOKENS = 1024


def LLMExecutorResponder(llm_fn: LLMFunction, *, name: str = "llm") -> Responder:
    """Return an executor that answers requests by calling `llm_fn`.

    A request that the runtime's cache can answer needs no call: its answer has ``cached: true`` and
    costs 0.

    Args:
        llm_fn: ``llm_fn(messages, model, max_tokens) -> (text, cost_usd)``; may run in another
            thread.
        name: the actor of the answers.
    """

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        model = request.get("model", "default")
        max_tokens = request.get("max_tokens", _DEFAULT_MAX_TOKENS)
        text, cost = llm_fn(request["messages"], model, max_tokens)
        return {"text": text, "model": model, "cost_usd": cost}

    return provider_executor(answer, name=name)


def provider_executor(complete: Complete, *, name: str = "llm") -> Responder:
    """Return an executor that answers requests through a provider's `complete`.

    An answer to a request with an ``output_schema`` has valid ``data``. An invalid answer is sent
    back once, within the same call; if the second is invalid too, it has an ``error``.

    Args:
        complete: takes the data of an ``llm.request`` and returns that of the ``llm.response``;
            may run in another thread. Its optional attribute ``worst_case_usd(request)`` returns the
            maximum cost of a request in US dollars, or None if it is unknown.
        name: the actor of the answers.
    """

    complete = SchemaRepair(complete)

    def call(intent: KandoEvent) -> dict[str, Any]:
        with call_context(intent):
            return _with_echo(intent, complete(intent.data))

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


def with_model(executor: Responder, model: str) -> Responder:
    """Return an executor that sends every request to `model` instead of the model it names.

    The cache sees the request with that model in it, so answers of different models are cached
    separately.

    Args:
        executor: as `provider_executor` returned it.
        model: as the provider names it.
    """
    effect = executor.effect
    assert effect is not None

    keep = effect.keep

    def changed(intent: KandoEvent) -> KandoEvent:
        return attrs.evolve(intent, data={**intent.data, "model": model})

    evolved = attrs.evolve(
        effect,
        call=lambda intent: effect.call(changed(intent)),
        recall=lambda intent, world: effect.recall(changed(intent), world),
        remember=lambda intent, answer, world: effect.remember(changed(intent), answer, world),
        dedup_key=lambda intent, world: effect.dedup_key(changed(intent), world),
        keep=keep and (lambda intent, answer, world: keep(changed(intent), answer, world)),
        worst_case_usd=lambda request: effect.worst_case_usd({**request, "model": model}),
    )

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        return answer_inline(evolved, event, world)

    return attrs.evolve(executor, fn=fn, effect=evolved)


def _worst_case_of(complete: Complete) -> Callable[[dict[str, Any]], float | None]:
    estimate: Callable[[dict[str, Any]], float | None] | None
    estimate = getattr(complete, "worst_case_usd", None)

    def worst_case(request: dict[str, Any]) -> float | None:
        try:
            return estimate(request) if estimate is not None else None
        except Exception:
            # If the request is malformed, its call reports it.
            return None

    return worst_case


def recall(intent: KandoEvent, world: World) -> dict[str, Any] | None:
    """Return the cached answer to a request, or None.

    It costs nothing, unless it is an unrecorded answer to this same request (see `keep`).
    """
    cache = world.context.get("cache")
    if cache is None:
        return None
    known = cache.get(intent.data)
    if isinstance(known, dict):
        return _with_echo(intent, {**known, "cost_usd": 0.0, "cached": True})
    kept = cache.get(_own_key(intent))
    return kept if isinstance(kept, dict) else None


def keep(intent: KandoEvent, answer: dict[str, Any], world: World) -> None:
    """Store an answer that could not be recorded, so that a resume does not repeat the call."""
    cache = world.context.get("cache")
    if cache is not None:
        cache.put(_own_key(intent), answer)


def remember(intent: KandoEvent, answer: dict[str, Any], world: World) -> None:
    """Put an answer into the runtime's cache, unless it is an error or came from the cache."""
    cache = world.context.get("cache")
    is_answer = "text" in answer and "error" not in answer
    if cache is not None and is_answer and not answer.get("cached"):
        kept = {k: v for k, v in answer.items() if k not in (*ECHOED, OBSERVED)}
        cache.put(intent.data, kept)


def _own_key(intent: KandoEvent) -> dict[str, Any]:
    return {"answer_to": intent.id, "in": intent.source}


def _dedup_key(intent: KandoEvent, world: World) -> str | None:
    # Without a cache every request needs a call of its own.
    return request_key(intent.data) if world.context.get("cache") is not None else None


def _with_echo(intent: KandoEvent, answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with the fields that it echoes from its intent."""
    return {**answer, **{field: intent.data[field] for field in ECHOED if field in intent.data}}
