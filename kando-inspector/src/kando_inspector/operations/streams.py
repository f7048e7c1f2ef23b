"""Streams of events as they are recorded: of one run, and of all runs."""

from __future__ import annotations

from kando_inspector.table import Operation

__all__ = ["OPERATIONS"]

OPERATIONS: tuple[Operation, ...] = ()
