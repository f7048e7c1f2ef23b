"""Claims of processes on ledgers, and their slots in lanes of calls: leases that end with them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import attrs
import msgspec

__all__ = [
    "Claim",
    "Slot",
    "Worker",
    "calls_lane",
    "decode_claim",
    "decode_slot",
    "encode_claim",
    "encode_slot",
    "has_room",
    "local_worker",
    "new_slot",
    "next_claim",
    "this_process",
]

_EXACTNESS = 1e-9


@attrs.frozen
class Worker:
    """A process that works on ledgers.

    Attributes:
        host: name of its machine.
        pid: process id on that machine.
        boot: identifies the machine since its last start, and the namespace of the process id;
            empty if unknown.
        started: start time of the process, in the unit of its system; empty if unknown.
        group: the responder group whose workers make the calls of the run; empty if the process
            makes them itself.
    """

    host: str
    pid: int
    boot: str = ""
    started: str = ""
    group: str = ""

    def may_be_alive(self) -> bool:
        """Whether the process may be alive; True on another machine, where that cannot be checked."""
        # Not at the top: most commands that read find no claim.
        import socket

        if self.host != socket.gethostname() or (self.boot and self.boot != _boot()):
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        state, started = _state_and_start(self.pid)
        # A zombie has ended but was not reaped.
        return state != "Z" and (not self.started or not started or started == self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@attrs.frozen
class Claim:
    """The claim of a process on a ledger: while it is live, no other process works on the ledger.

    Attributes:
        ledger_id: of the run or branch.
        worker: that holds the claim.
        epoch: number of the claim; it grows with each claim of the ledger.
        since: time of the claim, timezone-aware.
        until: end of the lease unless it is renewed, by the clock of the holder; None once the
            claim is released.
    """

    ledger_id: str
    worker: Worker
    epoch: int
    since: datetime
    until: datetime | None

    @property
    def is_held(self) -> bool:
        """Whether the claim was not released."""
        return self.until is not None

    def is_live(self) -> bool:
        """Whether its holder may still work on the ledger."""
        if self.until is None or self.until <= datetime.now(UTC):
            return False
        return self.worker.may_be_alive()

    def released(self) -> Claim:
        """Return the claim as it is stored once it is released."""
        return attrs.evolve(self, until=None)

    def renewed(self, seconds: float) -> Claim:
        """Return the claim with a lease that ends in `seconds` from now."""
        return attrs.evolve(self, until=datetime.now(UTC) + timedelta(seconds=seconds))


@attrs.frozen
class Slot:
    """The right of a process to make one of the limited number of calls of a lane.

    Attributes:
        lane: what the calls have in common, such as the tool.
        worker: that holds the slot.
        token: distinguishes the slots of a lane.
        until: end of the lease unless it is renewed, by the clock of the holder; timezone-aware.
        weight: part of the limit of the lane that it takes; 1 where calls are counted.
    """

    lane: str
    worker: Worker
    token: str
    until: datetime
    weight: float = 1.0

    def is_live(self) -> bool:
        """Whether its holder may still make the call."""
        return self.until > datetime.now(UTC) and self.worker.may_be_alive()

    def renewed(self, seconds: float) -> Slot:
        """Return the slot with a lease that ends in `seconds` from now."""
        return attrs.evolve(self, until=datetime.now(UTC) + timedelta(seconds=seconds))


def calls_lane(run_id: str) -> str:
    """Return the lane in which workers of groups hold a slot while they make a call of a run."""
    return f"run/{run_id}"


def new_slot(lane: str, worker: Worker, seconds: float, weight: float = 1.0) -> Slot:
    """Return a new slot, for a substrate to store if the lane has room (see `has_room`)."""
    import secrets

    return Slot(lane, worker, secrets.token_hex(8), datetime.now(UTC), weight).renewed(seconds)


def has_room(live: Iterable[Slot], limit: float, weight: float = 1.0) -> bool:
    """Whether another slot of a lane fits.

    Args:
        live: the live slots of the lane.
        limit: of the sum of their weights.
        weight: of the new slot.
    """
    # Sums of floating-point weights are not exact.
    return sum(slot.weight for slot in live) + weight <= limit + _EXACTNESS


def next_claim(
    ledger_id: str,
    last: Claim | None,
    worker: Worker,
    seconds: float,
    *,
    take_over: bool,
    after: int = 0,
) -> Claim | None:
    """Return the claim that a worker gets after `last`, for a substrate to store.

    Args:
        ledger_id: of the run or branch.
        last: the last claim of the ledger, released or not; None if there was none.
        worker: that asks for the claim.
        seconds: until its lease ends.
        take_over: grant it even if `last` is live.
        after: last epoch of a deleted ledger of the same id; 0 if there was none.

    Returns:
        None if `last` is live.
    """
    if last is not None and not take_over and last.is_live():
        return None
    epoch = (last.epoch if last is not None else after) + 1
    return Claim(ledger_id, worker, epoch, datetime.now(UTC), None).renewed(seconds)


def encode_claim(claim: Claim) -> bytes:
    """Encode a claim as JSON, for a substrate to store."""
    return msgspec.json.encode(claim)


def decode_claim(body: bytes) -> Claim:
    """Decode what `encode_claim` encoded."""
    return msgspec.json.decode(body, type=Claim)


def encode_slot(slot: Slot) -> bytes:
    """Encode a slot as JSON, for a substrate to store."""
    return msgspec.json.encode(slot)


def decode_slot(body: bytes) -> Slot:
    """Decode what `encode_slot` encoded."""
    return msgspec.json.decode(body, type=Slot)


def this_process(group: str = "") -> Worker:
    """Return this process as a worker."""
    return local_worker(os.getpid(), group)


def local_worker(pid: int, group: str = "") -> Worker:
    """Return a living process of this machine as a worker.

    Args:
        pid: its process id.
        group: see `Worker`.
    """
    import socket

    return Worker(socket.gethostname(), pid, _boot(), _state_and_start(pid)[1], group)


def _boot() -> str:
    """Return what identifies this machine since its start; known only on Linux."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            # Containers share the machine's id, but number their processes independently.
            return f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _state_and_start(pid: int) -> tuple[str, str]:
    """Return the state of a process and its start in clock ticks; empty where unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
    except OSError:
        return "", ""
    return (after_name[0].decode(), after_name[19].decode()) if len(after_name) > 19 else ("", "")
