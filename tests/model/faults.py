"""Put known faults back into Kando, one at a time, and count the programs until one is found.

Run as a program: ``python tests/model/faults.py``. Each fault is one that people met, or that this
model found; it is patched into the running process, not into the sources. A fault whose place has
moved is reported as one that cannot be put back: then mend its line in `FAULTS`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

from machine import KNOWN, Difference, run_program
from programs import generate

__all__ = ["FAULTS", "put_back"]

Patch = tuple[str, Callable[[Any], Any]]

_ANSWERS = ("llm.response", "tool.returned")


def _nothing(original: Any) -> Any:
    return lambda *args, **named: None


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda original: lambda *args, **named: value


def _costs_nothing(original: Any) -> Any:
    return lambda *args: original({})


def _starts_before_it_saves(original: Any) -> Any:
    def save(self: Any) -> None:
        self.on_saved()
        original(self)

    return save


def _asks_today(original: Any) -> Any:
    def observe(self: Any, event: Any) -> None:
        verdicts = dict(self._verdicts)
        original(self, event)
        self._verdicts.clear()
        self._verdicts.update(verdicts)

    return observe


def _first_kit(original: Any) -> Any:
    return lambda known, event: known or original(known, event)


def _track_of_parents(original: Any) -> Any:
    def track(state: Any, event: Any, value: Any) -> None:
        halted = state.halted_by
        original(state, event, value)
        if event.type == "branch.created":
            state.halted_by = halted

    return track


def _charges_nothing_cached(original: Any) -> Any:
    def charge_of(kind: str, answer: Any) -> Any:
        return original(kind, {k: v for k, v in answer.items() if k != "cached"})

    return charge_of


def _all_of_them(original: Any) -> Any:
    return lambda handlers, *args: handlers


def _asks_the_world_of_today(original: Any) -> Any:
    return lambda self, responder, event: responder.handles(event, self.world)


def _forgets_what_is_known(original: Any) -> Any:
    def plan(self: Any, intent: Any, executor: Any, world: Any, known: Any = None) -> Any:
        return known if known is not None else original(self, intent, executor, world)

    return plan


def _takes_first(original: Any) -> Any:
    def entries(self: Any) -> Any:
        found = original(self)
        for entry in found:
            self.take(entry.key)
        return found

    return entries


#: Name of each fault, the number of its kind, and what it puts in place of what.
FAULTS: dict[str, tuple[str, list[Patch]]] = {
    "a bystander's answer counts as the answer": (
        "10",
        [
            ("kando.views.pending:is_answer", lambda original: lambda e: e.type in _ANSWERS),
        ],
    ),
    "a parked bystander closes the request": (
        "10",
        [
            (
                "kando.views.pending:failed_intent",
                lambda original: lambda data: data.get("intent", data.get("trigger")),
            )
        ],
    ),
    "failed attempts are not charged": (
        "07",
        [("kando.views.spending:_charge_of_failure", _costs_nothing)],
    ),
    "answers from the cache are charged": (
        "07",
        [("kando.views.spending:charge_of", _charges_nothing_cached)],
    ),
    "metrics leave out failed attempts": (
        "07",
        [("kando.views.metrics:_Account.add_spent", _nothing)],
    ),
    "a looser policy lets go what waits": (
        "02",
        [("kando.runtime.approval_gate:ApprovalGate._observe_request", _asks_today)],
    ),
    "objects pass the gate": (
        "03",
        [("kando.runtime.approval_gate:ApprovalGate._verdict_on_object", _nothing)],
    ),
    "a second answer is accepted": (
        "33",
        [("kando.runtime.approval_gate:ApprovalGate._require_open", _nothing)],
    ),
    "a branch of a cancelled run is cancelled": (
        "15",
        [("kando.views.pending:track", _track_of_parents)],
    ),
    "a run's kit is its first": ("16", [("kando.views.kit:kit_after", _first_kit)]),
    "strict replay accepts every output": (
        "12",
        [("kando.runtime.strict_replay:_agree", _always(True))],
    ),
    "responders that have handled an event are forgotten": (
        "04",
        [("kando.views.firings:remaining", _all_of_them)],
    ),
    "answers that return before their turn are dropped": (
        "01",
        [("kando.runtime.effects:Effects._keep_returned", _nothing)],
    ),
    "calls start before their intent is on disk": (
        "06",
        [("kando.runtime.commit:Committer.save", _starts_before_it_saves)],
    ),
    "limits of calls are not asked": (
        "07",
        [("kando.responders.budget:BudgetEnforcer.reasons_against_call", _always([]))],
    ),
    "a request that a person has answered is asked": (
        "33",
        [("kando.runtime.effects:Effects.withdraw", _nothing)],
    ),
    "an answer that waits is no answer to an equal request": (
        "30",
        [("kando.runtime.effects:Effects.plan", _forgets_what_is_known)],
    ),
    "a filter is asked with the world of today": (
        "14",
        [("kando.runtime.recorder:Recorder.is_handled", _asks_the_world_of_today)],
    ),
    "a branch buys an answer that was not cached": (
        "01",
        [("kando.app.cache:_SubstrateCache._cache_ancestors", _always(False))],
    ),
    "a message leaves the inbox before it is recorded": (
        "43",
        [("kando.app.inbox:SubstrateInbox.entries", _takes_first)],
    ),
}


@contextmanager
def put_back(patches: list[Patch]) -> Iterator[None]:
    """Put a fault back for a while, wherever the name was imported to.

    Raises:
        LookupError: the place is not there any more.
    """
    with ExitStack() as stack:
        for target, make in patches:
            module, _, path = target.partition(":")
            *outer, name = path.split(".")
            place: Any = import_module(module)
            for part in outer:
                place = getattr(place, part, None)
            original = getattr(place, name, None)
            if original is None:
                raise LookupError(target)
            replacement = make(original)
            if outer:
                stack.enter_context(mock.patch.object(place, name, replacement))
                continue
            for each in list(sys.modules.values()):
                if getattr(each, "__name__", "").startswith("kando") and (
                    vars(each).get(name) is original
                ):
                    stack.enter_context(mock.patch.object(each, name, replacement))
        yield


def programs_until_found(patches: list[Patch], most: int, seed: int) -> tuple[int, str] | None:
    """Return how many programs it takes to find a fault, and the check that finds it; or None."""
    with put_back(patches):
        for number in range(most):
            try:
                run_program(generate(seed + number), KNOWN)
            except Difference as error:
                return number + 1, error.check
            except Exception as error:
                return number + 1, type(error).__name__
    return None


def main() -> None:
    """Print the table: fault, case, programs until it is found, by which check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=400, help="programs for each fault")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    missed = 0
    print("| fault | case | programs until found | check |\n| --- | --- | --- | --- |")
    for name, (case, patches) in FAULTS.items():
        started = time.monotonic()
        try:
            found = programs_until_found(patches, options.most, options.seed)
        except LookupError as error:
            print(f"| {name} | {case} | cannot be put back: {error} | |", flush=True)
            continue
        missed += found is None
        count, check = found or (f"not in {options.most}", "")
        seconds = time.monotonic() - started
        print(f"| {name} | {case} | {count} ({seconds:.0f} s) | {check} |", flush=True)
    raise SystemExit(missed > 0)


if __name__ == "__main__":
    main()
