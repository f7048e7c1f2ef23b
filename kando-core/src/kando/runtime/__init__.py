"""The runtime: runs responders on a ledger; start reading in `kando.runtime.loop`."""

from kando.runtime.runtime import Runtime

__all__ = ["Runtime"]
