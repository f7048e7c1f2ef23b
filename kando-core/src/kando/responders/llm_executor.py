"""The LLM executor: answers ``llm.request`` with ``llm.response``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from kando.cache.llm import request_key
from kando.responders._repair import Repairing
from kando.responders.base import Effect, Responder
from kando.responders.executor import inline
from kando.responders.idempotency import calling_for
from kando.schema.events import ECHOED, LLM_REQUEST, LLM_RESPONSE, OBSERVED, KandoEvent
from kando.world.graph import World

__all__ = ["Complete", "LLMExecutorResponder", "LLMFunction", "asking", "provider_executor"]

#: ``llm_fn(messages, model, max_tokens) -> (text, cost_usd)``
LLMFunction = Callable[[list[dict[str, Any]], str, int], tuple[str, float]]

#: ``complete(request) -> answer``: the data of an ``llm.request`` to that of its ``llm.response``.
Complete = Callable[[dict[str, Any]], dict[str, Any]]

_DEFAULT_MAX_TOKENS = 1024


def LLMExecutorResponder(llm_fn: LLMFunction, *, name: str = "llm") -> Responder:
    """Return an executor that answers requests by calling `llm_fn`.

    A request that the runtime's cache can answer is not called: its answer says ``cached: true``
    and costs 0.

    Args:
        llm_fn: ``llm_fn(messages, model, max_tokens) -> (text, cost_usd)``; may run in a thread.
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

    An answer to a request with an ``output_schema`` has what fits it as its ``data``. One that does
    not fit is sent back once, within the same call; if that is no better, it has an ``error``.

    Args:
        complete: takes the data of an ``llm.request`` and returns that of the ``llm.response``;
            may run in a thread. Its attribute ``worst_case_usd(request)``, if it has one, returns
            what a request costs at most, in US dollars, or None if nobody knows.
        name: the actor of the answers.
    """

    complete = Repairing(complete)

    def call(intent: KandoEvent) -> dict[str, Any]:
        with calling_for(intent):
            return _addressed(intent, complete(intent.data))

    effect = Effect(
        LLM_RESPONSE,
        call,
        recall,
        remember,
        _sameness,
        keep=keep,
        worst_case_usd=_worst_case_of(complete),
    )

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        return inline(effect, event, world)

    return Responder(name, frozenset({LLM_REQUEST}), fn, effect=effect)


def asking(executor: Responder, model: str) -> Responder:
    """Return an executor that asks for `model`, whatever model a request names.

    What is asked is the request with that model in it: it is cached apart from the same request to
    another one.

    Args:
        executor: as `provider_executor` returned it.
        model: as its provider knows it.
    """
    effect = executor.effect
    assert effect is not None

    keeps = effect.keep

    def of(intent: KandoEvent) -> KandoEvent:
        return attrs.evolve(intent, data={**intent.data, "model": model})

    changed = attrs.evolve(
        effect,
        call=lambda intent: effect.call(of(intent)),
        recall=lambda intent, world: effect.recall(of(intent), world),
        remember=lambda intent, answer, world: effect.remember(of(intent), answer, world),
        sameness=lambda intent, world: effect.sameness(of(intent), world),
        keep=keeps and (lambda intent, answer, world: keeps(of(intent), answer, world)),
        worst_case_usd=lambda request: effect.worst_case_usd({**request, "model": model}),
    )

    def fn(event: KandoEvent, world: World) -> Iterator[KandoEvent]:
        return inline(changed, event, world)

    return attrs.evolve(executor, fn=fn, effect=changed)


def _worst_case_of(complete: Complete) -> Callable[[dict[str, Any]], float | None]:
    told: Callable[[dict[str, Any]], float | None] | None
    told = getattr(complete, "worst_case_usd", None)

    def worst_case(request: dict[str, Any]) -> float | None:
        try:
            return told(request) if told is not None else None
        except Exception:
            # What is wrong with the request its call will tell.
            return None

    return worst_case


def recall(intent: KandoEvent, world: World) -> dict[str, Any] | None:
    """Return the answer that the runtime's cache holds for a request, or None.

    It costs nothing, unless it is the one that was paid for by this very request and not recorded.
    """
    cache = world.context.get("cache")
    if cache is None:
        return None
    known = cache.get(intent.data)
    if isinstance(known, dict):
        return _addressed(intent, {**known, "cost_usd": 0.0, "cached": True})
    kept = cache.get(_own(intent))
    return kept if isinstance(kept, dict) else None


def keep(intent: KandoEvent, answer: dict[str, Any], world: World) -> None:
    """Keep an answer that could not be recorded, until the run goes on: it is not asked for again."""
    cache = world.context.get("cache")
    if cache is not None:
        cache.put(_own(intent), answer)


def remember(intent: KandoEvent, answer: dict[str, Any], world: World) -> None:
    """Give the runtime's cache an answer; errors and what came from it are not kept."""
    cache = world.context.get("cache")
    is_answer = "text" in answer and "error" not in answer
    if cache is not None and is_answer and not answer.get("cached"):
        kept = {k: v for k, v in answer.items() if k not in (*ECHOED, OBSERVED)}
        cache.put(intent.data, kept)


def _own(intent: KandoEvent) -> dict[str, Any]:
    return {"answer_to": intent.id, "in": intent.source}


def _sameness(intent: KandoEvent, world: World) -> str | None:
    # Without a cache an equal request is a new request.
    return request_key(intent.data) if world.context.get("cache") is not None else None


def _addressed(intent: KandoEvent, answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, **{field: intent.data[field] for field in ECHOED if field in intent.data}}
