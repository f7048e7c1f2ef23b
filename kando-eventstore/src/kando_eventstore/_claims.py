"""Claims: one stream per ledger, of which the server keeps the last event."""

from __future__ import annotations

from kando.ledger.claims import Claim, Worker, decode_claim, encode_claim, next_claim
from kando_eventstore._streams import NO_EVENTS, NewEvent, Streams

__all__ = ["Claims", "claim_stream"]

_CHANGED = "claim.changed"


class Claims:
    """The claims of a server's ledgers.

    Args:
        streams: of the server.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def claim(
        self, ledger_id: str, worker: Worker, seconds: float, *, take_over: bool
    ) -> Claim | None:
        """Claim a ledger; see `kando.ledger.substrate.Substrate.claim`."""
        while True:
            last, revision = self._last(ledger_id)
            claim = next_claim(ledger_id, last, worker, seconds, take_over=take_over)
            if claim is None or self._append(claim, revision):
                return claim

    def replace(self, claim: Claim, by: Claim) -> bool:
        """Store a claim anew; return False if it was released, or the ledger was claimed again."""
        while True:
            last, revision = self._last(claim.ledger_id)
            if last is None or not last.is_held or last.epoch != claim.epoch:
                return False
            if self._append(by, revision):
                return True

    def last(self, ledger_id: str) -> Claim | None:
        """Return the last claim of a ledger, released or not; None if there was none."""
        return self._last(ledger_id)[0]

    def _last(self, ledger_id: str) -> tuple[Claim | None, int]:
        last = self._streams.last(claim_stream(ledger_id))
        return (None, NO_EVENTS) if last is None else (decode_claim(last.data), last.revision)

    def _append(self, claim: Claim, revision: int) -> bool:
        stream = claim_stream(claim.ledger_id)
        if revision == NO_EVENTS:
            self._streams.keep_last(stream)
        return self._streams.append(
            stream, [NewEvent(_CHANGED, encode_claim(claim))], after=revision
        )


def claim_stream(ledger_id: str) -> str:
    """Return the name of the stream of a ledger's claims."""
    return f"claim:{ledger_id}"
