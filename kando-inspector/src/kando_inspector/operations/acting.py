"""Operations that act on runs: start, resume, pause, cancel, delete, fork, approve and answer."""

from __future__ import annotations

from kando_inspector.table import Operation

__all__ = ["OPERATIONS"]

OPERATIONS: tuple[Operation, ...] = ()
