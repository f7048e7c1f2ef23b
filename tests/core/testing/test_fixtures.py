"""The fixtures for authors: runs, scripted models, crashes, and every installed substrate."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.testing.golden import assert_same_events
from kando.testing.ledgers import event
from kando.testing.runs import Crash, CrashingLedger, KandoRun, ScriptedLLM
from sample_kit import sample_kit

Run = Callable[..., KandoRun]
Script = Callable[..., ScriptedLLM]
CrashAt = Callable[..., CrashingLedger]


def test_a_run_is_answered_from_the_script(kando_run: Run, scripted_llm: Script) -> None:
    llm = scripted_llm({"Ada": "Good day."})

    run = kando_run(sample_kit(), "Ada", llm=llm)

    assert run.world.objects_of("Greeting")[0].data["text"] == "Good day."
    assert [request["messages"][0]["content"] for request in llm.requests] == ["Greet Ada."]


def test_a_request_without_a_scripted_answer_fails_the_test(
    kando_run: Run, scripted_llm: Script
) -> None:
    with pytest.raises(AssertionError, match=r"no answer to 'Greet Ada\.'"):
        kando_run(sample_kit(), "Ada", llm=scripted_llm({"Bob": "Hi."}))


def test_without_a_model_a_request_stays_pending(kando_run: Run) -> None:
    run = kando_run(sample_kit(), "Ada")

    assert run.world.objects_of("Greeting")[0].data["status"] == "pending"


def test_a_crashed_run_is_resumed_on_the_surviving_ledger(
    kando_run: Run, scripted_llm: Script, crash_at: CrashAt
) -> None:
    llm = scripted_llm(default="Hi.")
    whole = kando_run(sample_kit(), "Ada", llm=llm).events
    for n in range(1, len(whole)):
        ledger = crash_at(n)
        with pytest.raises(Crash):
            kando_run(sample_kit(), "Ada", llm=llm, ledger=ledger)
        assert ledger.inner.length() == n

        survived = KandoRun(sample_kit(), ledger.inner, (llm.executor,))
        survived.work()

        assert_same_events(survived.events, whole)


def test_every_installed_substrate_is_tested(
    installed_substrate: Substrate, installed_ledger: LedgerStore
) -> None:
    installed_ledger.append([event(0)])

    assert [info.id for info in installed_substrate.ledgers()] == ["r1"]


def test_the_installed_substrates_include_those_of_the_core(request: pytest.FixtureRequest) -> None:
    name = "test_every_installed_substrate_is_tested"
    tried = {item.name for item in request.session.items if item.name.startswith(name)}

    assert not tried or {f"{name}[memory]", f"{name}[sqlite]"} <= tried
