"""The runtime: a cursor walking a ledger."""

from kando.runtime.runtime import Runtime

__all__ = ["Runtime"]
