"""Each planted fault fails the test of the conformance suite that is named for it."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando.emit import ask, create, emit
from kando.errors import InvalidData, LedgerDeleted
from kando.kit import Kit
from kando.ledger.claims import Claim, Slot, Worker, calls_lane
from kando.ledger.inbox import InboxEntry
from kando.ledger.interface import LedgerStore, Link
from kando.ledger.memory import MemoryLedgerStore, MemorySubstrate
from kando.ledger.sqlite import SQLiteLedgerStore
from kando.ledger.substrate import LedgerInfo, Substrate
from kando.schema.events import LLM_RESPONSE, OBJECT_CREATED, KandoEvent, RecordedEvent
from kando.testing.kits import KitContract
from kando.testing.ledgers import LedgerContract
from kando.testing.providers import ProviderSuite
from kando.testing.recalls import RecallSuite
from kando.testing.substrates import SubstrateContract
from kando.text.relevance import Recall
from sample_kit import sample_kit

Plant = Callable[[Kit], None]


def name_of(value: Any) -> str:
    return value if isinstance(value, str) else value.__name__


# -- ledgers ---------------------------------------------------------------------------------------


class LosesAnEvent(MemoryLedgerStore):
    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        kept = events[:-1] if len(events) > 1 else events
        return super().append(kept, expected_length=expected_length) + len(events) - len(kept)


class Reorders(MemoryLedgerStore):
    def _read(self, start: int, stop: int) -> Iterator[RecordedEvent]:
        return iter([*super()._read(start, stop)][::-1])


class AcceptsAStaleLength(MemoryLedgerStore):
    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        return super().append(events)


class KeepsHalfOfARefusedBatch(MemoryLedgerStore):
    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        for event in events:
            super().append([event], expected_length=expected_length)
            expected_length = None
        return self.length()


class AcceptsATakenId(MemoryLedgerStore):
    def _position_of(self, event_id: str) -> int | None:
        return None


class RoundsTheTime(MemoryLedgerStore):
    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        rounded = [attrs.evolve(e, timestamp=e.timestamp.replace(microsecond=0)) for e in events]
        return super().append(rounded, expected_length=expected_length)


class ReadsWhatCameLater(MemoryLedgerStore):
    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        position = from_position
        # Not for ever: the reader may append at each event.
        while position < from_position + 50 and (event := self.at(position)) is not None:
            yield event
            position += 1


class HasAChainOfItsOwn(MemoryLedgerStore):
    def digest(self, position: int) -> bytes:
        return bytes(32) if position > 1 else super().digest(position)


class ForgetsWhenItCloses(MemoryLedgerStore):
    """A ledger that claims to be durable and is not."""


class LosesEvery501stEvent(MemoryLedgerStore):
    def _read(self, start: int, stop: int) -> Iterator[RecordedEvent]:
        return (each for n, each in enumerate(super()._read(start, stop)) if n % 501 != 500)


class RepeatsTheFirstEventOfAPage(MemoryLedgerStore):
    def _read(self, start: int, stop: int) -> Iterator[RecordedEvent]:
        for n, each in enumerate(super()._read(start, stop)):
            if n and n % 1000 == 0:
                yield each
            yield each


class LosesLinksBeyondAPage(MemoryLedgerStore):
    def links(self, start: int, stop: int, *, excluding: Collection[str] = ()) -> Iterator[Link]:
        return islice(super().links(start, stop, excluding=excluding), 500)


class ForgetsTheVersion(MemoryLedgerStore):
    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        first = [
            attrs.evolve(each, version=1) if isinstance(each, RecordedEvent) else each
            for each in events
        ]
        return super().append(first, expected_length=expected_length)


class ReadsLaterPagesAsTheyAreNow(MemoryLedgerStore):
    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        first = self.length()
        yield from islice(super().read(from_position), 500)
        if first - from_position > 500:
            yield from super().read(from_position + 500)


class CutsLongText(MemoryLedgerStore):
    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        cut = [attrs.evolve(each, data=self._cut(each.data)) for each in events]
        return super().append(cut, expected_length=expected_length)

    def _cut(self, data: dict[str, Any]) -> dict[str, Any]:
        return {name: v[:65_536] if isinstance(v, str) else v for name, v in data.items()}


class WritesLater(SQLiteLedgerStore):
    """A ledger that is written when it is closed, or read."""

    _waiting: list[KandoEvent]

    def append(self, events: list[KandoEvent], *, expected_length: int | None = None) -> int:
        self._waiting = [*getattr(self, "_waiting", []), *events]
        return super().length() + len(self._waiting)

    def read(self, from_position: int = 0) -> Iterator[RecordedEvent]:
        self._write()
        return super().read(from_position)

    def close(self) -> None:
        self._write()
        super().close()

    def _write(self) -> None:
        waiting, self._waiting = getattr(self, "_waiting", []), []
        super().append(waiting)


class SuiteOfWritesLater(LedgerContract):
    def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
        return WritesLater(run_id, path)


def test_a_ledger_that_is_written_later_is_caught(tmp_path: Path) -> None:
    assert fails(SuiteOfWritesLater, "test_what_a_killed_process_appended_is_kept", tmp_path)


FAULTY_LEDGERS = {
    LosesEvery501stEvent: "test_events_beyond_a_page_are_read_back_from_any_position",
    RepeatsTheFirstEventOfAPage: "test_events_beyond_a_page_are_read_back_from_any_position",
    LosesLinksBeyondAPage: "test_links_and_events_about_an_object_cross_pages",
    ForgetsTheVersion: "test_the_version_of_an_event_is_kept",
    ReadsLaterPagesAsTheyAreNow: "test_a_reader_across_pages_sees_no_event_that_is_appended_later",
    CutsLongText: "test_data_of_any_size_is_kept",
    LosesAnEvent: "test_append_returns_the_length_afterwards",
    Reorders: "test_reading_starts_at_a_position",
    AcceptsAStaleLength: "test_an_append_with_a_wrong_expected_length_is_refused_and_writes_nothing",
    KeepsHalfOfARefusedBatch: "test_a_batch_with_data_that_is_not_json_is_refused_as_a_whole",
    AcceptsATakenId: "test_a_batch_with_a_taken_id_is_refused_as_a_whole",
    RoundsTheTime: "test_every_field_of_an_event_is_read_back",
    ReadsWhatCameLater: "test_a_reader_sees_the_ledger_as_it_was_at_the_start",
    HasAChainOfItsOwn: "test_the_hash_chain_covers_every_event",
    ForgetsWhenItCloses: "test_appended_events_persist_when_the_ledger_is_reopened",
}


@pytest.mark.parametrize(("store", "named"), FAULTY_LEDGERS.items(), ids=name_of)
def test_a_faulty_ledger_is_caught(store: type[MemoryLedgerStore], named: str, tmp_path: Path):
    class Suite(LedgerContract):
        def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
            return store(run_id)

    assert fails(Suite, named, tmp_path, ledger=lambda: store("r1"))


# -- substrates ------------------------------------------------------------------------------------


class ReusesAnId(MemorySubstrate):
    def create(self, ledger_id: str) -> MemoryLedgerStore:
        return self._ledgers.get(ledger_id) or super().create(ledger_id)


class CreatesWhatItOpens(MemorySubstrate):
    def open(self, ledger_id: str) -> MemoryLedgerStore:
        return self._ledgers.get(ledger_id) or super().create(ledger_id)


class CopiesTheWholeParent(MemorySubstrate):
    def fork(self, parent_id: str, position: int, branch_id: str) -> MemoryLedgerStore:
        return super().fork(parent_id, self.open(parent_id).length(), branch_id)


class OverwritesTheCache(MemorySubstrate):
    def cache(self, ledger_id: str, key: str, response: bytes) -> None:
        self._cache[(ledger_id, key)] = response


class DeliversTwice(MemorySubstrate):
    def acknowledge(self, ledger_id: str, key: str) -> None:
        self._inboxes.get(ledger_id, {}).pop(key, None)


class ListsOldestFirst(MemorySubstrate):
    def ledgers(self) -> Iterator[LedgerInfo]:
        return reversed([*super().ledgers()])


class GrantsTwoClaims(MemorySubstrate):
    def claim(
        self, ledger_id: str, worker: Worker, seconds: float, *, take_over: bool = False
    ) -> Claim | None:
        return super().claim(ledger_id, worker, seconds, take_over=True)


class GrantsClaimsWithoutALock(MemorySubstrate):
    def claim(
        self, ledger_id: str, worker: Worker, seconds: float, *, take_over: bool = False
    ) -> Claim | None:
        is_free = (last := self.claim_of(ledger_id)) is None or not last.is_live()
        time.sleep(0.01)
        return super().claim(ledger_id, worker, seconds, take_over=take_over or is_free)


class ForgetsTheEpoch(MemorySubstrate):
    def release(self, claim: Claim) -> None:
        super().release(claim)
        self._claims.pop(claim.ledger_id, None)


class NeverEndsALease(MemorySubstrate):
    def claim(
        self, ledger_id: str, worker: Worker, seconds: float, *, take_over: bool = False
    ) -> Claim | None:
        return super().claim(ledger_id, worker, 3600, take_over=take_over)


class RenewsALostClaim(MemorySubstrate):
    def renew(self, claim: Claim, seconds: float) -> bool:
        return super().renew(claim, seconds) or True


class ReleasesTheClaimOfAnother(MemorySubstrate):
    def release(self, claim: Claim) -> None:
        if claim.ledger_id in self._claims:
            self._claims[claim.ledger_id] = self._claims[claim.ledger_id].released()


class WaitsForTheDead(MemorySubstrate):
    def claim(
        self, ledger_id: str, worker: Worker, seconds: float, *, take_over: bool = False
    ) -> Claim | None:
        unknown = attrs.evolve(worker, boot="", host="unknown")
        return super().claim(ledger_id, unknown, seconds, take_over=take_over)


class AcquiresOneSlotTooMany(MemorySubstrate):
    def acquire_slot(self, lane: str, limit: int, worker: Worker, seconds: float) -> Slot | None:
        return super().acquire_slot(lane, limit + 1, worker, seconds)


class SharesTheSlotsOfAllLanes(MemorySubstrate):
    def acquire_slot(self, lane: str, limit: int, worker: Worker, seconds: float) -> Slot | None:
        return super().acquire_slot("all", limit, worker, seconds)


class NeverEndsASlot(MemorySubstrate):
    def acquire_slot(self, lane: str, limit: int, worker: Worker, seconds: float) -> Slot | None:
        return super().acquire_slot(lane, limit, worker, 3600)


class RevivesASlot(MemorySubstrate):
    def renew_slot(self, slot: Slot, seconds: float) -> bool:
        self._slots[slot.lane][slot.token] = slot.renewed(seconds)
        return True


class KeepsTheSlotsOfTheDead(MemorySubstrate):
    def acquire_slot(self, lane: str, limit: int, worker: Worker, seconds: float) -> Slot | None:
        unknown = attrs.evolve(worker, boot="", host="unknown")
        return super().acquire_slot(lane, limit, unknown, seconds)


class CountsSlotsWithoutALock(MemorySubstrate):
    def acquire_slot(self, lane: str, limit: int, worker: Worker, seconds: float) -> Slot | None:
        is_free = len(self.slots(lane)) < limit
        time.sleep(0.01)
        return super().acquire_slot(lane, 99, worker, seconds) if is_free else None


class ListsOnePage(MemorySubstrate):
    def ledgers(self) -> Iterator[LedgerInfo]:
        return islice(super().ledgers(), 100)


class DeliversOnePage(MemorySubstrate):
    def inbox(self, ledger_id: str) -> list[InboxEntry]:
        return super().inbox(ledger_id)[:100]


class ForgetsOldResponses(MemorySubstrate):
    def cache(self, ledger_id: str, key: str, response: bytes) -> None:
        super().cache(ledger_id, key, response)
        if len(self._cache) > 100:
            del self._cache[next(iter(self._cache))]


class CutsSnapshots(MemorySubstrate):
    def store_snapshot(self, ledger_id: str, body: bytes) -> None:
        super().store_snapshot(ledger_id, body[: 1 << 20])


FAULTY_SUBSTRATES = {
    ListsOnePage: "test_more_ledgers_than_a_page_are_listed",
    DeliversOnePage: "test_more_entries_than_a_page_stay_in_order",
    ForgetsOldResponses: "test_more_responses_than_a_page_are_cached",
    CutsSnapshots: "test_a_snapshot_of_many_pages_is_kept",
    AcquiresOneSlotTooMany: "test_a_lane_has_as_many_slots_as_its_limit",
    SharesTheSlotsOfAllLanes: "test_a_lane_has_as_many_slots_as_its_limit",
    NeverEndsASlot: "test_a_slot_ends_with_its_lease_unless_it_is_renewed",
    RevivesASlot: "test_a_slot_ends_with_its_lease_unless_it_is_renewed",
    KeepsTheSlotsOfTheDead: "test_the_slot_of_a_dead_process_is_free_at_once",
    CountsSlotsWithoutALock: "test_of_several_threads_that_acquire_slots_as_many_succeed_as_there_are",
    GrantsTwoClaims: "test_a_live_claim_keeps_other_workers_out_until_it_is_released",
    GrantsClaimsWithoutALock: "test_of_several_threads_that_claim_a_ledger_one_succeeds",
    ForgetsTheEpoch: "test_a_live_claim_keeps_other_workers_out_until_it_is_released",
    NeverEndsALease: "test_a_claim_ends_with_its_lease_unless_it_is_renewed",
    RenewsALostClaim: "test_a_claim_that_is_taken_over_cannot_be_renewed",
    ReleasesTheClaimOfAnother: "test_a_claim_ends_with_its_lease_unless_it_is_renewed",
    WaitsForTheDead: "test_the_claim_of_a_dead_process_is_free_at_once",
    ReusesAnId: "test_a_taken_id_is_refused_for_runs_and_branches_alike",
    CreatesWhatItOpens: "test_an_unknown_ledger_is_refused_and_not_created",
    CopiesTheWholeParent: "test_a_branch_shares_the_prefix_and_has_a_tail_of_its_own",
    OverwritesTheCache: "test_a_cached_response_is_the_nearest_and_is_never_replaced",
    DeliversTwice: "test_an_inbox_keeps_order_and_accepts_each_key_once_even_after_it_was_taken",
    ListsOldestFirst: "test_a_created_ledger_is_opened_and_listed",
}


@pytest.mark.parametrize(("kind", "named"), FAULTY_SUBSTRATES.items(), ids=name_of)
def test_a_faulty_substrate_is_caught(kind: type[MemorySubstrate], named: str, tmp_path: Path):
    class Suite(SubstrateContract):
        def open_substrate(self, path: Path) -> Substrate:
            return kind()

    assert fails(Suite, named, tmp_path, substrate=kind)


# -- substrates that delete ------------------------------------------------------------------------


class LeavesTheInbox(MemorySubstrate):
    def delete(self, ledger_id: str) -> None:
        inbox = self._inboxes.get(ledger_id)
        super().delete(ledger_id)
        if inbox is not None:
            self._inboxes[ledger_id] = inbox


class LeavesTheCache(MemorySubstrate):
    def delete(self, ledger_id: str) -> None:
        left = {place: body for place, body in self._cache.items() if place[0] == ledger_id}
        super().delete(ledger_id)
        self._cache |= left


class LeavesTheSnapshot(MemorySubstrate):
    def delete(self, ledger_id: str) -> None:
        snapshot = self._snapshots.get(ledger_id)
        super().delete(ledger_id)
        if snapshot is not None:
            self._snapshots[ledger_id] = snapshot


class ReusesEpochs(MemorySubstrate):
    def delete(self, ledger_id: str) -> None:
        super().delete(ledger_id)
        self._deleted[ledger_id] = 0


class LeavesTheSlots(MemorySubstrate):
    def delete(self, ledger_id: str) -> None:
        slots = self._slots.get(calls_lane(ledger_id), {})
        super().delete(ledger_id)
        self._slots[calls_lane(ledger_id)] = slots


class DeletesTheParentOfABranch(MemorySubstrate):
    def delete(self, ledger_id: str) -> None:
        ledger = self.open(ledger_id)
        branches = [each for each in self._ledgers.values() if each._parent is ledger]
        for each in branches:
            each._parent = None
        super().delete(ledger_id)
        for each in branches:
            each._parent = ledger


class LosesTheBlobsOfOtherLedgers(MemorySubstrate):
    def delete(self, ledger_id: str) -> None:
        ledger = self.open(ledger_id)
        ledger.blobs([])
        super().delete(ledger_id)
        for each in self._ledgers.values():
            each.blobs([])
            for digest in ledger._blobs:
                each._blobs.pop(digest, None)


class StillReadsADeletedLedger(MemorySubstrate):
    def delete(self, ledger_id: str) -> None:
        ledger = self.open(ledger_id)
        super().delete(ledger_id)
        ledger._is_deleted = False


class DeletesTwice(MemorySubstrate):
    def delete(self, ledger_id: str) -> None:
        with suppress(LedgerDeleted):
            super().delete(ledger_id)


FAULTY_DELETIONS = {
    LeavesTheInbox: "test_an_id_is_free_again_or_refused_for_good",
    LeavesTheCache: "test_an_id_is_free_again_or_refused_for_good",
    LeavesTheSnapshot: "test_an_id_is_free_again_or_refused_for_good",
    ReusesEpochs: "test_an_id_is_free_again_or_refused_for_good",
    LeavesTheSlots: "test_the_jobs_and_slots_of_a_deleted_ledger_go_with_it",
    DeletesTheParentOfABranch: "test_a_ledger_with_branches_is_refused_and_unchanged",
    LosesTheBlobsOfOtherLedgers: "test_the_parts_that_other_ledgers_name_stay",
    StillReadsADeletedLedger: "test_a_ledger_object_of_a_deleted_ledger_says_so",
    DeletesTwice: "test_an_unknown_ledger_cannot_be_deleted_nor_one_twice",
}


@pytest.mark.parametrize(("kind", "named"), FAULTY_DELETIONS.items(), ids=name_of)
def test_a_faulty_deletion_is_caught(kind: type[MemorySubstrate], named: str, tmp_path: Path):
    assert fails(SubstrateContract, named, tmp_path, deleting=kind)


@pytest.mark.parametrize("named", sorted({*FAULTY_DELETIONS.values()}))
def test_a_sound_deletion_passes_these_tests(named: str, tmp_path: Path):
    assert not fails(SubstrateContract, named, tmp_path, deleting=MemorySubstrate)


# -- providers -------------------------------------------------------------------------------------

Complete = Callable[[dict[str, Any]], dict[str, Any]]

PLANTED_KEY = "sk-planted-key"


def sound(request: dict[str, Any]) -> dict[str, Any]:
    match request.get("messages"):
        case [*_, {"content": str(text)}]:
            return {"text": text, "model": "sound", "cost_usd": 0.0}
    raise InvalidData("No text.", hint="Give one.")


def answers_by_chance(request: dict[str, Any]) -> dict[str, Any]:
    return {**sound(request), "text": str(random.random())}


def changes_the_request(request: dict[str, Any]) -> dict[str, Any]:
    request["messages"] = [*request["messages"]][-1:]
    return sound(request)


def shows_its_key(request: dict[str, Any]) -> dict[str, Any]:
    return {**sound(request), "model": PLANTED_KEY}


def takes_anything(request: dict[str, Any]) -> dict[str, Any]:
    return {"text": "", "model": "lax", "cost_usd": 0.0}


def adds_a_field(request: dict[str, Any]) -> dict[str, Any]:
    return {**sound(request), "request_id": "42"}


def answers_no_json(request: dict[str, Any]) -> dict[str, Any]:
    return {**sound(request), "cost_usd": Decimal("0.5")}


def counts_more_cached_than_read(request: dict[str, Any]) -> dict[str, Any]:
    return {**sound(request), "usage": {"input_tokens": 1, "cache_read_tokens": 2}}


FAULTY_PROVIDERS: dict[Complete, str] = {
    answers_by_chance: "test_measurements_are_under_observed",
    changes_the_request: "test_a_request_is_not_changed",
    shows_its_key: "test_no_secret_appears_in_output",
    takes_anything: "test_a_malformed_request_is_refused",
    adds_a_field: "test_an_answer_has_no_other_fields",
    answers_no_json: "test_an_answer_has_the_required_fields_in_exact_json",
    counts_more_cached_than_read: ("test_usage_totals_include_cached_and_reasoning_tokens"),
}


class Provider(ProviderSuite):
    secrets = (PLANTED_KEY,)


@pytest.mark.parametrize(("complete", "named"), FAULTY_PROVIDERS.items(), ids=name_of)
def test_a_faulty_provider_is_caught(complete: Complete, named: str, tmp_path: Path):
    assert fails(Provider, named, tmp_path, provider=lambda: complete)


# -- recalls ---------------------------------------------------------------------------------------


class Sound(Recall):
    """Ranks texts by the words that they share with the query."""

    def rank(self, query: str, texts: Sequence[str]) -> list[int]:
        wanted = {*query.lower().strip("?").split()}
        shared = [len(wanted & {*text.lower().strip(".").split()}) for text in texts]
        return sorted(range(len(texts)), key=lambda index: -shared[index])


class RanksFromOne(Sound):
    def rank(self, query: str, texts: Sequence[str]) -> list[int]:
        return [index + 1 for index in super().rank(query, texts)]


class PrefersTheFirst(Sound):
    def rank(self, query: str, texts: Sequence[str]) -> list[int]:
        return [*range(len(texts))]


class PrefersTheLast(Sound):
    def rank(self, query: str, texts: Sequence[str]) -> list[int]:
        return [*reversed(range(len(texts)))]


class NeedsATextAndAQuery(Sound):
    def rank(self, query: str, texts: Sequence[str]) -> list[int]:
        assert query.strip()
        assert len(texts) > 0
        return super().rank(query, texts)


FAULTY_RECALLS: list[tuple[type[Recall], str]] = [
    (RanksFromOne, "test_an_order_has_indexes_of_the_texts_each_at_most_once"),
    (PrefersTheFirst, "test_a_text_about_the_query_comes_first_wherever_it_stands"),
    (PrefersTheLast, "test_of_equal_texts_the_earlier_comes_first"),
    (NeedsATextAndAQuery, "test_no_texts_have_an_empty_order"),
    (NeedsATextAndAQuery, "test_any_text_and_any_query_has_an_order"),
]


def recall_suite(recall: type[Recall]) -> type[RecallSuite]:
    class Suite(RecallSuite):
        def open_recall(self) -> Recall:
            return recall()

    return Suite


@pytest.mark.parametrize(("recall", "named"), FAULTY_RECALLS)
def test_a_faulty_recall_is_caught(recall: type[Recall], named: str, tmp_path: Path):
    assert fails(recall_suite(recall), named, tmp_path, recall=recall)
    assert not fails(recall_suite(Sound), named, tmp_path, recall=Sound)


# -- kits ------------------------------------------------------------------------------------------


def draws_an_id_by_chance(kit: Kit) -> None:
    @kit.responder(LLM_RESPONSE)
    def by_chance(event: RecordedEvent, world: object) -> Iterator[KandoEvent]:
        yield create("Guest", {"name": "Eve"}, id=f"guest-{random.random()}")


def asks_the_clock(kit: Kit) -> None:
    @kit.responder(LLM_RESPONSE)
    def by_the_clock(event: RecordedEvent, world: object) -> Iterator[KandoEvent]:
        yield emit("noted", {"is_late": time.time() < 0})


def counts_in_memory(kit: Kit) -> None:
    seen: list[str] = []

    @kit.responder(LLM_RESPONSE)
    def counting(event: RecordedEvent, world: object) -> Iterator[KandoEvent]:
        yield emit("counted", {"n": len(COUNTED) + len(seen)})

    @kit.responder(OBJECT_CREATED)
    def count(event: RecordedEvent, world: object) -> None:
        seen.append(event.id)


def remembers_between_runs(kit: Kit) -> None:
    @kit.responder(LLM_RESPONSE)
    def remembering(event: RecordedEvent, world: object) -> Iterator[KandoEvent]:
        COUNTED.append(event.id)
        yield emit("counted", {"n": len(COUNTED)})


def mutates_the_world(kit: Kit) -> None:
    @kit.responder(LLM_RESPONSE)
    def mutating(event: RecordedEvent, world: Any) -> Iterator[KandoEvent]:
        world.objects_of("Guest")[0].data["name"] = "Mallory"
        yield emit("noted", {})


def creates_what_it_does_not_declare(kit: Kit) -> None:
    @kit.responder(LLM_RESPONSE)
    def creating(event: RecordedEvent, world: object) -> Iterator[KandoEvent]:
        yield create("Secret", {})


def never_ends(kit: Kit) -> None:
    @kit.responder(OBJECT_CREATED)
    def again(event: RecordedEvent, world: object) -> Iterator[KandoEvent]:
        yield create("Guest", {"name": "again"})


def does_nothing(kit: Kit) -> None:
    kit.responders[:] = kit.responders[:0]
    kit.edge_responders[:] = []
    kit.responder("never")(lambda event, world: None)


def names_two_alike(kit: Kit) -> None:
    kit.responder("never", name="sample.on_guest")(lambda event, world: None)


def replays_differently(kit: Kit) -> None:
    firings: list[str] = []

    @kit.responder(LLM_RESPONSE)
    def differing(event: RecordedEvent, world: object) -> Iterator[KandoEvent]:
        firings.append(event.id)
        yield emit("fired", {"times": len(firings)})


def trusts_every_answer(kit: Kit) -> None:
    @kit.responder(LLM_RESPONSE)
    def trusting(event: RecordedEvent, world: object) -> Iterator[KandoEvent]:
        yield emit("noted", {"text": event.data["text"]})


def asks_without_end(kit: Kit) -> None:
    @kit.responder(LLM_RESPONSE)
    def insisting(event: RecordedEvent, world: object) -> Iterator[KandoEvent]:
        if event.data.get("stop") == "refusal":
            yield ask([{"role": "user", "content": f"Once more, after {event.id}."}])


COUNTED: list[str] = []

FAULTY_KITS: dict[Plant, str] = {
    draws_an_id_by_chance: "test_the_same_goal_gives_the_same_ledger",
    asks_the_clock: "test_its_responders_are_pure",
    counts_in_memory: "test_a_run_interrupted_at_any_event_ends_with_the_same_ledger",
    remembers_between_runs: "test_the_same_goal_gives_the_same_ledger",
    replays_differently: "test_a_strict_replay_gives_the_same_ledger",
    mutates_the_world: "test_its_responders_do_not_change_the_world",
    creates_what_it_does_not_declare: "test_its_object_and_relation_types_are_declared",
    never_ends: "test_a_run_emits_events_and_ends",
    does_nothing: "test_a_run_emits_events_and_ends",
    trusts_every_answer: "test_an_error_as_answer_does_not_fail_the_run",
    asks_without_end: "test_a_refusal_of_the_model_does_not_fail_the_run",
    names_two_alike: "test_its_responders_have_unique_names",
}


@pytest.mark.parametrize(("plant", "named"), FAULTY_KITS.items(), ids=name_of)
def test_a_faulty_kit_is_caught(plant: Plant, named: str, tmp_path: Path):
    COUNTED.clear()

    class Suite(KitContract):
        is_installed = False
        max_events = 100
        _made: Kit | None = None

        def make_kit(self) -> Kit:
            # As with a plugin: one kit in the process for all callers.
            if plant is replays_differently and self._made is not None:
                return self._made
            self._made = sample_kit()
            plant(self._made)
            return self._made

    assert fails(Suite, named, tmp_path)


# -- running one test of a suite -------------------------------------------------------------------


def fails(suite: type[Any], name: str, tmp_path: Path, **fixtures: Callable[[], Any]) -> bool:
    """Run a test of a suite and return whether it fails."""
    test = getattr(suite(), name)
    wanted = inspect.signature(test).parameters
    for extra in _parameters(getattr(suite, name)):
        given = {key: make() for key, make in fixtures.items()} | {"tmp_path": tmp_path}
        try:
            test(**{key: value for key, value in given.items() if key in wanted}, **extra)
        except (Exception, pytest.fail.Exception):
            return True
    return False


def _parameters(test: Any) -> Sequence[dict[str, Any]]:
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    return [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]


SOUND_LEDGER = sorted({*FAULTY_LEDGERS.values()} - {FAULTY_LEDGERS[ForgetsWhenItCloses]})


@pytest.mark.parametrize("named", SOUND_LEDGER)
def test_a_sound_ledger_passes_these_tests(named: str, tmp_path: Path):
    class Suite(LedgerContract):
        def make_ledger(self, path: Path, run_id: str) -> LedgerStore:
            return MemoryLedgerStore(run_id)

    assert not fails(Suite, named, tmp_path, ledger=lambda: MemoryLedgerStore("r1"))


@pytest.mark.parametrize("named", sorted({*FAULTY_SUBSTRATES.values()}))
def test_a_sound_substrate_passes_these_tests(named: str, tmp_path: Path):
    assert not fails(SubstrateContract, named, tmp_path, substrate=MemorySubstrate)


@pytest.mark.parametrize("named", sorted({*FAULTY_PROVIDERS.values()}))
def test_a_sound_provider_passes_these_tests(named: str, tmp_path: Path):
    assert not fails(Provider, named, tmp_path, provider=lambda: sound)


@pytest.mark.parametrize("named", sorted({*FAULTY_KITS.values()}))
def test_a_sound_kit_passes_these_tests(named: str, tmp_path: Path):
    class Suite(KitContract):
        is_installed = False

        def make_kit(self) -> Kit:
            return sample_kit()

    assert not fails(Suite, named, tmp_path)
