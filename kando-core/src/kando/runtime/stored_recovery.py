"""Verification of what a snapshot holds for recovery: the same state must follow from the ledger."""

from __future__ import annotations

from itertools import islice

import msgspec

from kando.responders.budget import BudgetEnforcer
from kando.runtime.approval_gate import OBSERVED_TYPES, ApprovalGate, GateState
from kando.runtime.declared_types import DeclaredTypes
from kando.runtime.effects import Effects
from kando.runtime.handlers import Handlers
from kando.runtime.loop import Loop
from kando.runtime.recorder import Recorder
from kando.runtime.recovery import RecoveryState
from kando.runtime.snapshots import RECOVERY, decode_state
from kando.world.snapshot import StoredSnapshot

__all__ = ["mismatched_recovery"]


def mismatched_recovery(stored: StoredSnapshot) -> list[str]:
    """Return the names of the sections of a snapshot from which a run would recover wrongly.

    The verdicts of policies are not compared: the kit may not be installed.
    """
    state = stored.view(RECOVERY, decode_state)
    if state is None:
        return []
    recorder = Recorder(stored.ledger, DeclaredTypes(()), BudgetEnforcer(), max_payload_bytes=0)
    gate = ApprovalGate((), recorder.source, recorder)
    recorder.on_recorded, recorder.observed_types = gate.observe, OBSERVED_TYPES
    loop = Loop(recorder, Handlers((), ()), Effects(1), gate, 0.0)
    loop.recover(islice(stored.ledger.read(0), stored.position))
    wrong = [] if _of_ledger(state) == _of_ledger(loop.state()) else [RECOVERY]
    lookups = recorder.lookups()
    # One that is damaged is ignored, with a warning.
    return wrong + [
        name for name in lookups if stored.view(name, bytes) not in (None, lookups[name])
    ]


def _of_ledger(state: RecoveryState) -> RecoveryState:
    gate = GateState(state.gate.events, "", {})
    return msgspec.structs.replace(state, gate=gate, cached_from=None)
