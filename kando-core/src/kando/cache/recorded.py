"""Recorded answers of models in the cache, which is a fold over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kando.cache.asked import asked_in, put_answer
from kando.cache.llm import LLMCache
from kando.schema.events import ECHOED, OBSERVED, KandoEvent, RecordedEvent
from kando.schema.firing import Firing
from kando.views.answered import OBSERVED_TYPES, OpenRequests
from kando.views.pending import is_by_hand

__all__ = ["cached_while_read", "put_recorded", "restore_answer"]


def put_recorded(
    cache: LLMCache, intent: KandoEvent, answer: dict[str, Any], model: str | None
) -> None:
    """Put the answer of a model into a cache, unless it is an error, by hand or from the cache.

    Args:
        cache: for the answer.
        intent: the request.
        answer: its data, as recorded.
        model: that was chosen for the run, if the answer does not say what was asked.
    """
    has_text = "text" in answer and "error" not in answer and not is_by_hand(answer)
    if has_text and not answer.get("cached"):
        kept = {k: v for k, v in answer.items() if k not in (*ECHOED, OBSERVED)}
        put_answer(cache, intent.data, kept, asked_in(answer, model))


def cached_while_read(
    items: Iterable[RecordedEvent | Firing],
    cache: LLMCache,
    start: int = 0,
    requests: OpenRequests[RecordedEvent] | None = None,
) -> Iterator[RecordedEvent | Firing]:
    """Yield the items of a ledger, and put their answers into a cache, which is a fold over them.

    Args:
        items: events and firings, in order.
        cache: for the answers.
        start: position of the first event whose answer is put into it.
        requests: those that are open before the first of the events; none if omitted.
    """
    requests = requests or OpenRequests()
    for item in items:
        for event in item.outputs if isinstance(item, Firing) else (item,):
            if event.type in OBSERVED_TYPES:
                for intent in requests.observe(event, event):
                    if event.position >= start:
                        put_recorded(cache, intent, event.data, requests.choices.model)
        yield item


def restore_answer(
    cache: LLMCache, intent: RecordedEvent, answer: RecordedEvent, model: str | None
) -> None:
    """Put a recorded answer into a cache.

    Args:
        cache: for the answer.
        intent: the request.
        answer: its ``llm.response``.
        model: that was chosen for the run then, if any.
    """
    put_recorded(cache, intent, answer.data, model)
