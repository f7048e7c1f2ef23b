"""The cache of a run: its own answers and those of its line of descent."""

from __future__ import annotations

import attrs

from kando.app.changes import Choices
from kando.app.context import App, id_of
from kando.cache.llm import LLMCache
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate

__all__ = ["cache_of"]


def cache_of(
    app: App, ledger: LedgerStore, chosen: Choices | None = None, *, read_only: bool = False
) -> LLMCache:
    """Return the cache that a run or branch is served from.

    Args:
        app: where.
        ledger: of the run or branch.
        chosen: what was chosen for it: a branch that was forked afresh shares no entries with what
            was before it.
        read_only: whether nothing will be put into it.
    """
    substrate = app.substrate(read_only=read_only)
    cache = LLMCache(_SubstrateCache(substrate, id_of(ledger)))
    fresh = chosen.fresh_id if chosen is not None else None
    return cache if fresh is None else cache.scope(f"branch:{fresh}")


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
