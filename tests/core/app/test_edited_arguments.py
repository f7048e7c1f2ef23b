"""A person approves a call with other arguments: these are checked, recorded and sent."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kando.app.group_worker import GroupWorker
from kando.app.providers import Provider
from kando.app.run import Run
from kando.app.store import Store, open_store
from kando.emit import call_tool, create
from kando.errors import InvalidData, KandoError
from kando.kit import Kit
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.llm_executor import provider_executor
from kando.responders.policies import Ask, Deny
from kando.runtime import Runtime
from kando.schema.events import (
    APPROVAL_GRANTED,
    INBOX_REFUSED,
    OBJECT_CREATED,
    TOOL_CALLED,
    TOOL_RETURNED,
    KandoEvent,
    make_event,
)

Open = Callable[..., Store]


class Bank:
    """A kit that transfers an amount once a person has approved it; it notes each transfer."""

    def __init__(self, version: str = "1", effect: str = "write") -> None:
        self.version, self.effect = version, effect
        self.sent: list[tuple[Any, str]] = []

    def kit(self) -> Kit:
        kit = Kit("bank", version=self.version)
        kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

        @kit.tool("transfer", effect=self.effect)
        def transfer(amount: int, idempotency_key: str, to: str = "bob") -> str:
            self.sent.append((amount, idempotency_key))
            return f"{amount} to {to}"

        @kit.policy
        def careful(intent: KandoEvent) -> Any:
            if intent.data["arguments"]["amount"] > 999:
                return Deny("more than the bank has")
            return Ask("transfer?")

        @kit.policy(type="Report")
        def gated(event: KandoEvent) -> Ask:
            return Ask("publish?")

        @kit.responder(OBJECT_CREATED, type="Go")
        def on_go(event: KandoEvent, world: object) -> Any:
            yield call_tool("transfer", {"amount": 50}, about="go")
            yield create("Report", {}, id="report")

        return kit


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    def opened(bank: Bank, name: str = "runs") -> Store:
        url = f"sqlite:{tmp_path / f'{name}.sqlite'}"
        return open_store(url, kits=[bank.kit()], environ={"KANDO_PLUGINS": ""})

    return opened


def call_of(run: Run) -> str:
    return next(each.event_id for each in run.approvals() if each.type == TOOL_CALLED)


def answers(run: Run) -> list[dict[str, Any]]:
    return [e.data for e in run.events() if e.type == TOOL_RETURNED]


def amounts(bank: Bank) -> list[int]:
    return [amount for amount, _ in bank.sent]


def test_the_tool_runs_with_the_approved_arguments_and_the_ledger_keeps_both(opened: Open) -> None:
    bank = Bank()
    with opened(bank) as store:
        run = store.start("bank", "x")
        run.approve(call_of(run), {"amount": 7, "to": "eve"}, by="ann")
        run.resume()

        assert amounts(bank) == [7]
        by_type = {e.type: e for e in run.events()}
        assert by_type[TOOL_CALLED].data["arguments"] == {"amount": 50}
        granted = by_type[APPROVAL_GRANTED]
        assert (granted.actor, granted.data["arguments"]) == ("ann", {"amount": 7, "to": "eve"})
        assert answers(run) == [
            {
                "cause_object_id": "go",
                "result": "7 to eve",
                "approved_arguments": {"amount": 7, "to": "eve"},
            }
        ]
        (decided,) = (e for e in run.approvals(decided=True) if e.type == TOOL_CALLED)
        assert decided.decision is not None
        assert decided.decision.text() == 'granted by ann with {"amount":7,"to":"eve"}'
        run.replay(strict=True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"amount": "7"}, "amount"),
        ({"to": "eve"}, "amount"),
        ({"amount": 7, "currency": "EUR"}, "currency"),
        ({"amount": 7, "idempotency_key": "mine"}, "idempotency_key"),
        ({"amount": True}, "amount"),
        ({"amount": float("nan")}, r"arguments\.amount"),
        ({"amount": 1000}, "more than the bank has"),
        ([7], "object"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_before_anything_is_recorded(
    opened: Open, arguments: Any, named: str
) -> None:
    bank = Bank()
    with opened(bank) as store:
        run = store.start("bank", "x")
        length, call = run.length(), call_of(run)
        with pytest.raises(InvalidData, match=named):
            run.approve(call, arguments)
        run.resume()
        assert (run.length(), bank.sent) == (length, [])
        # The question is still open.
        run.approve(call, {"amount": 8})
        run.resume()
        assert amounts(bank) == [8]


def test_only_a_tool_call_can_be_approved_with_other_arguments(opened: Open) -> None:
    with opened(Bank()) as store:
        run = store.start("bank", "x")
        with pytest.raises(InvalidData, match="held events, which cannot be approved with other"):
            run.approve("report", {"amount": 7})
        assert run.approve("report").is_new


def test_the_same_arguments_change_nothing(opened: Open) -> None:
    edited, plain = Bank(), Bank()
    for bank, name, arguments in ((edited, "a", {"amount": 50}), (plain, "b", None)):
        with opened(bank, name) as store:
            run = store.start("bank", "x")
            run.approve(call_of(run), arguments)
            run.resume()
            assert answers(run) == [{"cause_object_id": "go", "result": "50 to bob"}]
            run.replay(strict=True)
    ends = [bank.sent[0][1].partition("/")[2] for bank in (edited, plain)]
    assert ends[0] == ends[1]


def test_the_idempotency_key_of_a_changed_call_is_its_own(opened: Open) -> None:
    bank = Bank()
    with opened(bank) as store:
        run = store.start("bank", "x")
        branches = [run.fork(at=run.length()) for _ in range(3)]
        for each, arguments in zip(branches, ({"amount": 7}, {"amount": 8}, None), strict=True):
            each.approve(call_of(each), arguments)
            each.resume()

        keys = [key for _, key in bank.sent]
        assert amounts(bank) == [7, 8, 50]
        assert len(set(keys)) == 3
        assert all(key.startswith(keys[2]) for key in keys)


def test_a_branch_is_served_the_answer_to_the_call_as_it_was_sent(opened: Open) -> None:
    bank = Bank()
    with opened(bank) as store:
        run = store.start("bank", "x")
        other, same = (run.fork(at=run.length()) for _ in range(2))
        run.approve(call_of(run), {"amount": 7})
        run.resume()
        # The parent has made this call, and not the one that it was asked for.
        same.approve(call_of(same), {"amount": 7})
        same.resume()
        assert amounts(bank) == [7]
        assert answers(same) == [{**answers(run)[0], "cached": True}]
        other.approve(call_of(other))
        other.resume()
        assert amounts(bank) == [7, 50]
        for each in (run, same, other):
            each.replay(strict=True)


def test_a_branch_is_not_served_the_answer_to_the_call_as_it_was_asked(opened: Open) -> None:
    bank = Bank()
    with opened(bank) as store:
        run = store.start("bank", "x")
        branch = run.fork(at=run.length())
        run.approve(call_of(run))
        run.resume()
        branch.resume()
        branch.approve(call_of(branch), {"amount": 8})
        branch.resume()
        assert amounts(bank) == [50, 8]
        assert answers(branch)[0]["result"] == "8 to bob"
        branch.replay(strict=True)


def test_a_branch_that_was_forked_after_the_approval_asks_again_about_the_call_as_it_was_asked(
    opened: Open,
) -> None:
    bank = Bank()
    with opened(bank) as store:
        run = store.start("bank", "x")
        run.approve(call_of(run), {"amount": 7})
        run.resume()
        granted = next(e.position for e in run.events() if e.type == APPROVAL_GRANTED)
        branch = run.fork(at=granted + 1)
        branch.resume()
        assert amounts(bank) == [7]
        branch.approve(call_of(branch))
        branch.resume()
        assert amounts(bank) == [7, 50]
        branch.replay(strict=True)


def test_a_worker_sends_the_approved_arguments(opened: Open) -> None:
    bank = Bank()
    with opened(bank) as store:
        run = store.start("bank", "x", group="crew")
        GroupWorker(store.context, "crew").work(until_idle=True)
        run.approve(call_of(run), {"amount": 7})
        run.offer("crew")
        GroupWorker(store.context, "crew").work(until_idle=True)

        assert amounts(bank) == [7]
        assert answers(run)[0]["approved_arguments"] == {"amount": 7}
        run.replay(strict=True)


def test_an_approval_outlives_a_pause_and_a_restart_with_another_version(opened: Open) -> None:
    with opened(Bank()) as store:
        run = store.start("bank", "x")
        run.approve(call_of(run), {"amount": 7})
        run.pause()
        run.resume()
    bank = Bank("2")
    with opened(bank) as store:
        run = store.run(run.id)
        run.resume()
        run.resume()
        assert amounts(bank) == [7]
        assert run.replay(strict=True).is_strict


def test_a_decision_that_the_run_refuses_can_be_made_again(opened: Open) -> None:
    bank = Bank()
    with opened(bank) as store:
        run = store.start("bank", "x")
        run.approve(call_of(run), {"amount": 7})
    narrow = Bank("2")
    kit = narrow.kit()

    @kit.policy
    def later(intent: KandoEvent) -> Any:
        return Deny("only the asked amount") if intent.data["arguments"]["amount"] != 50 else None

    url = store.url
    with open_store(url, kits=[kit], environ={"KANDO_PLUGINS": ""}) as store:
        run = store.run(run.id)
        run.resume()
        (refused,) = (e.data["reason"] for e in run.events() if e.type == INBOX_REFUSED)
        assert "only the asked amount" in refused
        assert narrow.sent == []
        assert run.approve(call_of(run)).is_new
        run.resume()
        assert amounts(narrow) == [50]
        run.replay(strict=True)


def test_a_process_without_the_kit_cannot_check_arguments_and_records_nothing(
    opened: Open,
) -> None:
    with opened(Bank()) as store:
        run = store.start("bank", "x")
        length = run.length()
    with open_store(store.url, environ={"KANDO_PLUGINS": ""}) as bare:
        run = bare.run(run.id)
        with pytest.raises(KandoError, match="bank"):
            run.approve(call_of(run), {"amount": 7})
        assert run.status().unread == 0
        assert run.length() == length


def test_an_import_names_the_approved_arguments_and_the_run_sends_them(
    opened: Open, tmp_path: Path
) -> None:
    file = tmp_path / "run.jsonl"
    with opened(Bank()) as store:
        run = store.start("bank", "x")
        run.approve(call_of(run), {"amount": 7})
        run.resume()
        granted = next(e.position for e in run.events() if e.type == APPROVAL_GRANTED)
        run.export(file, at=granted + 1)
    bank = Bank()
    with opened(bank, "elsewhere") as store:
        lines = file.read_bytes().splitlines(keepends=True)
        with pytest.raises(InvalidData, match=r'with \{"amount":7\}'):
            store.import_run(lines)
        store.import_run(lines, accepts_approvals=True)
        imported = store.run(run.id)
        imported.resume()
        assert amounts(bank) == [7]
        assert answers(imported)[0]["approved_arguments"] == {"amount": 7}
        imported.replay(strict=True)


def test_a_tool_that_reads_the_world_gets_the_approved_arguments() -> None:
    kit, ledger = Kit("reader", version="1"), MemoryLedgerStore("r1")

    @kit.tool("look")
    def look(id: str, world: Any) -> str:
        return f"{id}: {world.get_object(id) is not None}"

    kit.policy(lambda intent: Ask("look?"))
    runtime = Runtime(ledger, kit.create(), kits=[kit], edge_logic=())
    runtime.run([create("Go", {}, id="go"), call_tool("look", {"id": "secret"})])
    asked = next(e.id for e in ledger.read_all() if e.type == "approval.requested")
    data = {"approval": asked, "arguments": {"id": "go"}}
    granted = make_event(APPROVAL_GRANTED, "", "ann", [asked], data)
    runtime.record([granted], is_own=True, is_external=True)
    runtime.run([])

    (returned,) = (e for e in ledger.read_all() if e.type == TOOL_RETURNED)
    assert returned.data == {"result": "go: True", "approved_arguments": {"id": "go"}}


def test_a_process_that_is_killed_in_the_call_sends_the_approved_arguments_again(
    tmp_path: Path,
) -> None:
    code = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from kando import Kit, call_tool, create, open_store
        from kando.responders.policies import Ask

        kit, notes, is_killed = Kit("bank", version="1"), Path(sys.argv[1]), len(sys.argv) > 3
        kit.seeds(lambda goal, run_id: [create("Go", {}, id="go")])

        @kit.tool("transfer")
        def transfer(amount: int, idempotency_key: str) -> str:
            with notes.open("a") as file:
                file.write(f"{amount} {idempotency_key}\\n")
            if is_killed:
                os._exit(9)
            return "sent"

        kit.policy(lambda intent: Ask("transfer?"))

        @kit.responder("object.created", type="Go")
        def on_go(event, world):
            yield call_tool("transfer", {"amount": 50})

        with open_store(sys.argv[2], kits=[kit], environ={"KANDO_PLUGINS": ""}) as store:
            run = store.run("@last") if next(iter(store.runs()), None) else store.start("bank", "x")
            for asked in run.approvals():
                run.approve(asked.event_id, {"amount": 7})
            run.resume()
            print([e.data.get("result") for e in run.events() if e.type == "tool.returned"])
    """)
    store = f"sqlite:{tmp_path / 'runs.sqlite'}"

    def work(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(tmp_path / "notes"), store, *more]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert work("killed").returncode == 9
    done = work()

    assert (done.returncode, done.stdout) == (0, "['sent']\n"), done.stderr
    first, second = (tmp_path / "notes").read_text().splitlines()
    assert first == second
    assert first.startswith("7 ")


def test_a_model_that_asked_for_a_call_reads_what_was_run(tmp_path: Path) -> None:
    kit = Kit("bank", version="1", prompts={"go": "Transfer 50."})
    requests, sent = list[Any](), list[int]()
    kit.seeds(lambda goal, run_id: [create("Go", {"text": goal}, id="go")])
    kit.policy(lambda intent: Ask("transfer?"))

    @kit.tool("transfer")
    def transfer(amount: int) -> str:
        sent.append(amount)
        return "sent"

    @kit.llm_responder(OBJECT_CREATED, type="Go", prompt="go", tools=["transfer"])
    def on_go(event: KandoEvent, world: object) -> dict[str, Any]:
        return {}

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        requests.append(request)
        call = {"id": "c", "name": "transfer", "arguments": {"amount": 50}}
        calls = {"tool_calls": [call]} if len(requests) == 1 else {}
        return {"text": "done", "model": "m", "cost_usd": 0.0, **calls}

    provider = Provider("scripted", "", provider_executor(complete))
    url = f"sqlite:{tmp_path / 'runs.sqlite'}"
    with open_store(url, kits=[kit], environ={"KANDO_PLUGINS": ""}) as store:
        run = store.start("bank", "x", llm=provider)
        run.approve(call_of(run), {"amount": 7})
        run.resume(llm=provider)

        assert sent == [7]
        said = requests[1]["messages"][-1]["content"]
        assert said == '[A person approved this call with other arguments: {"amount":7}]\nsent'
        assert run.status().state == "finished"
        run.replay(strict=True)
