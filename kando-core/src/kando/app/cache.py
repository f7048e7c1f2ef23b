"""The cache of a run: its own answers and those of its line of descent."""

from __future__ import annotations

import attrs

from kando.app.context import Context
from kando.app.opened import Choices, OpenedRun
from kando.cache.llm import LLMCache, ScopedStore
from kando.ledger.substrate import Substrate
from kando.schema.events import (
    BRANCH_CREATED,
    LLM_REQUEST,
    LLM_RESPONSE,
    RESPONDER_FAILED,
    RecordedEvent,
)
from kando.views.pending import is_answer
from kando.views.spending import spent_by

__all__ = ["CacheUse", "cache_of", "cache_use"]


@attrs.frozen
class CacheUse:
    """What the cache did for a run or branch.

    Attributes:
        run_id: of the run or branch.
        requests: that it asked itself; on a branch the shared prefix does not count.
        hits: of these, answered from the cache.
        misses: of these, answered by a call.
        spent_usd: what the calls cost, in US dollars.
        saved_usd: what the hits cost when they were called.
        shared_answers: how many answers a branch shares with its parent and did not ask for.
        shared_usd: what these cost.
    """

    run_id: str
    requests: int = 0
    hits: int = 0
    misses: int = 0
    spent_usd: float = 0.0
    saved_usd: float = 0.0
    shared_answers: int = 0
    shared_usd: float = 0.0


def cache_use(run: OpenedRun) -> CacheUse:
    """Count what the cache did for a run or branch, from its ledger and the cache itself."""
    chosen = run.choices
    cache = None
    use, intents = CacheUse(run.id), dict[str, RecordedEvent]()
    for event in run.ledger.read_all():
        if event.type == BRANCH_CREATED:
            # What was counted so far is shared.
            answers = use.shared_answers + use.hits + use.misses
            spent = use.shared_usd + use.spent_usd + use.saved_usd
            use = CacheUse(use.run_id, shared_answers=answers, shared_usd=spent)
        elif event.type == LLM_REQUEST:
            intents[event.id] = event
            use = attrs.evolve(use, requests=use.requests + 1)
        elif event.type == RESPONDER_FAILED:
            use = attrs.evolve(use, spent_usd=use.spent_usd + spent_by(event).llm_cost_usd)
        elif not is_answer(event):
            continue
        elif event.type == LLM_RESPONSE and not event.data.get("cached"):
            cost = use.spent_usd + spent_by(event).llm_cost_usd
            use = attrs.evolve(use, misses=use.misses + 1, spent_usd=cost)
        elif event.type == LLM_RESPONSE:
            cache = cache or cache_of(run.context, run.id, chosen, read_only=True)
            intent = intents.get(event.cause[0]) if event.cause else None
            saved = use.saved_usd + _cost_of_original(cache, intent, chosen.model)
            use = attrs.evolve(use, hits=use.hits + 1, saved_usd=saved)
    return use


def _cost_of_original(cache: LLMCache, intent: RecordedEvent | None, model: str | None) -> float:
    if intent is None:
        return 0.0
    # On a branch that asks another model, the shared requests asked for their own.
    for request in ({**intent.data, "model": model}, intent.data) if model else (intent.data,):
        known = cache.get(request)
        cost = known.get("cost_usd") if isinstance(known, dict) else None
        if isinstance(cost, int | float):
            return float(cost)
    return 0.0


def cache_of(
    context: Context, run_id: str, chosen: Choices | None = None, *, read_only: bool = False
) -> LLMCache:
    """Return the cache that a run or branch is served from.

    Args:
        context: whose substrate holds the entries.
        run_id: of the run or branch.
        chosen: what was chosen for it: a branch that was forked afresh shares no entries with what
            was before it.
        read_only: whether nothing will be put into it.
    """
    store = _SubstrateCache(context.substrate(read_only=read_only), run_id)
    fresh = chosen.fresh_id if chosen is not None else None
    return LLMCache(store=store if fresh is None else ScopedStore(store, f"branch:{fresh}"))


@attrs.frozen
class _SubstrateCache:
    """The entries of one ledger and its ancestors."""

    substrate: Substrate
    ledger_id: str

    def get(self, key: str) -> bytes | None:
        return self.substrate.cached(self.ledger_id, key)

    def put(self, key: str, response: bytes) -> None:
        # Recovering a ledger puts in what it holds, most of which is there already.
        if self.substrate.cached(self.ledger_id, key) is None:
            self.substrate.cache(self.ledger_id, key, response)
