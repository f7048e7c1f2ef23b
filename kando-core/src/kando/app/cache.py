"""The cache of a run: its own answers and those of its ancestors."""

from __future__ import annotations

import attrs

from kando.app.context import Context
from kando.app.opened import Choices, OpenedRun
from kando.cache.asked import Asked, asked_in, cached_answer
from kando.cache.llm import LLMCache, ScopedStore
from kando.cache.recorded import cached_while_read
from kando.ledger.substrate import Substrate
from kando.schema.events import (
    BRANCH_CREATED,
    LLM_REQUEST,
    LLM_RESPONSE,
    RecordedEvent,
)
from kando.views.pending import is_answer, is_by_hand
from kando.views.spending import CHARGED, amount_of, spent_by

__all__ = ["CacheUse", "cache_of", "cache_use"]


@attrs.frozen
class CacheUse:
    """Cache hits and misses of a run or branch.

    Attributes:
        run_id: of the run or branch.
        requests: its own LLM requests; on a branch the shared prefix does not count.
        hits: requests that were answered from the cache.
        misses: requests that were answered by a call.
        spent_usd: cost of the misses, in US dollars.
        saved_usd: original cost of the hits.
        shared_answers: number of answers in the prefix that a branch shares with its parent.
        shared_usd: cost of the shared answers that were paid for.
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
    """Count the cache hits and misses of a run or branch, from its ledger and its cache."""
    cache = None
    choices, use, intents = Choices(), CacheUse(run.id), dict[str, RecordedEvent]()
    for event in run.ledger.read_all():
        choices = choices.apply(event)
        if event.type == BRANCH_CREATED:
            # All answers so far are in the shared prefix.
            answers = use.shared_answers + use.hits + use.misses
            spent = use.shared_usd + use.spent_usd
            use = CacheUse(use.run_id, shared_answers=answers, shared_usd=spent)
        elif event.type == LLM_REQUEST:
            intents[event.id] = event
            use = attrs.evolve(use, requests=use.requests + 1)
        elif event.type in CHARGED:
            use = attrs.evolve(use, spent_usd=use.spent_usd + spent_by(event).llm_cost_usd)
        if event.type != LLM_RESPONSE or not is_answer(event) or is_by_hand(event.data):
            continue
        if event.data.get("cached") is True:
            cache = cache or cache_of(run.context, run.id, run.choices, read_only=True)
            intent = next((intents[id] for id in event.cause if id in intents), None)
            asked = asked_in(event.data, choices.model)
            saved = use.saved_usd + _cost_of_original(cache, intent, asked)
            use = attrs.evolve(use, hits=use.hits + 1, saved_usd=saved)
        else:
            use = attrs.evolve(use, misses=use.misses + 1)
    return use


def _cost_of_original(cache: LLMCache, intent: RecordedEvent | None, asked: Asked) -> float:
    known = cached_answer(cache, intent.data, asked) if intent is not None else None
    cost = amount_of(known.get("cost_usd")) if isinstance(known, dict) else None
    return cost or 0.0


def cache_of(
    context: Context, run_id: str, chosen: Choices | None = None, *, read_only: bool = False
) -> LLMCache:
    """Return the cache of a run or branch.

    Args:
        context: whose substrate contains the entries.
        run_id: of the run or branch.
        chosen: its choices: a branch that was forked with ``fresh`` uses no older entries.
        read_only: whether the caller only reads.
    """
    store = _SubstrateCache(context.substrate(read_only=read_only), run_id, read_only)
    fresh = chosen.fresh_id if chosen is not None else None
    return LLMCache(store=store if fresh is None else ScopedStore(store, f"branch:{fresh}"))


@attrs.define
class _SubstrateCache:
    """The entries of one ledger and its ancestors.

    A process may die after it has recorded an answer and before it caches it. So the ledgers of the
    ancestors are read once, at the first request that has no entry.
    """

    substrate: Substrate
    ledger_id: str
    has_all: bool = False
    is_durable = True

    def get(self, key: str) -> bytes | None:
        found = self.substrate.cached(self.ledger_id, key)
        if found is None and not self.has_all:
            self.has_all = True
            if self._cache_ancestors():
                found = self.substrate.cached(self.ledger_id, key)
        return found

    def _cache_ancestors(self) -> bool:
        """Cache the answers in the ledgers of all ancestors; False for a run, which has no ancestor."""
        info = self.substrate.info(self.ledger_id)
        has_parent = info.parent_id is not None
        while info.parent_id is not None:
            position, parent = info.fork_position or 0, info.parent_id
            cache = LLMCache(store=_SubstrateCache(self.substrate, parent, has_all=True))
            for _ in cached_while_read(self.substrate.open(parent).read_all(), cache, position):
                pass
            info = self.substrate.info(parent)
        return has_parent

    def put(self, key: str, response: bytes) -> None:
        # Recovery of a ledger caches all its answers, most of which are cached already.
        if self.substrate.cached(self.ledger_id, key) is None:
            self.substrate.cache_soon(self.ledger_id, key, response)
