"""The texts of answers as they stream in, which no ledger holds yet."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

__all__ = ["Piece", "Texts"]

#: How much of an answer that streams in is kept for clients that begin to follow its run.
_KEPT_CHARS = 200_000


@attrs.frozen
class Piece:
    """A piece of an answer.

    Attributes:
        run_id: of the run or branch.
        request_id: of the request that is answered.
        text: of the piece; empty for the end of the answer.
        is_first: whether the answer begins, again if the request was sent before.
    """

    run_id: str
    request_id: str
    text: str
    is_first: bool = False


@attrs.define
class Texts:
    """The answers that stream in, by run and request."""

    _begun: dict[str, dict[str, str]] = attrs.field(factory=dict, init=False)

    def add(self, piece: Piece) -> None:
        """Add a piece; an answer that has ended is forgotten."""
        if not piece.text and not piece.is_first:
            of_run = self._begun.get(piece.run_id, {})
            of_run.pop(piece.request_id, None)
            if not of_run:
                self._begun.pop(piece.run_id, None)
            return
        of_run = self._begun.setdefault(piece.run_id, {})
        before = "" if piece.is_first else of_run.get(piece.request_id, "")
        of_run[piece.request_id] = (before + piece.text)[-_KEPT_CHARS:]

    def forget(self, run_id: str, request_id: str) -> None:
        """Forget an answer whose worker has died."""
        self.add(Piece(run_id, request_id, ""))

    def of_run(self, run_id: str) -> Iterator[Piece]:
        """Yield the texts so far of the answers that stream in for a run."""
        for request_id, text in list(self._begun.get(run_id, {}).items()):
            yield Piece(run_id, request_id, text, is_first=True)
