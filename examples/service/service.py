"""A refund desk: requests come in on stdin, threads work on them, and a rule answers approvals."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from kando import Kit, call_tool, create, open_store, patch
from kando.responders.policies import Ask

kit = Kit("refunds", version="1")


@kit.settings
@attrs.frozen
class Settings:
    book: str = "payments.txt"


@kit.object
@attrs.frozen
class Refund:
    customer: str
    amount: int
    outcome: str = "pending"


@kit.seeds
def seeds(goal, run_id):
    customer, amount = goal.split()
    return [create(Refund(customer, int(amount)))]


@kit.tool(effect="idempotent")
def pay(customer: str, amount: int, settings: Settings, idempotency_key: str) -> str:
    """Pay an amount to a customer: once, however often the call is repeated."""
    book = Path(settings.book)
    if not book.exists() or idempotency_key not in book.read_text():
        with book.open("a") as lines:
            lines.write(f"{idempotency_key} {customer} {amount}\n")
    return f"paid {amount}"


@kit.policy
def large_amounts(intent):
    amount = intent.data["arguments"]["amount"]
    return Ask(f"{amount} is a large amount") if amount > 10 else None


@kit.responder("object.created", type=Refund)
def on_refund(event, world):
    refund = event.as_object(Refund)
    arguments = {"customer": refund.customer, "amount": refund.amount}
    yield call_tool("pay", arguments, about=event)


@kit.responder("tool.returned", type=Refund)
def on_paid(event, world):
    outcome = event.data.get("result") or event.data["error"]["message"]
    yield patch(event.object_id, {"outcome": outcome})


def work(run):
    """Work on a run to its end, and answer its approvals by a rule, unless a person was first."""
    run.resume()
    while asked := run.approvals():
        calls = {
            each.id: each.data["arguments"] for each in run.events() if "arguments" in each.data
        }
        for each in asked:
            if calls[each.intent]["amount"] <= 100:
                run.approve(each.event_id, by="rule")
            else:
                run.deny(each.event_id, reason="more than 100", by="rule")
        run.resume()
    (refund,) = run.world().all(Refund)
    return f"{run.id} {refund.customer}: {refund.outcome}"


def main(url):
    """Finish what an earlier process has left, then what stdin asks for."""
    with open_store(url, kits=[kit]) as store, ThreadPoolExecutor(4) as threads:
        left = [
            each for state in ("stopped", "waiting") for each in store.runs(state=state, limit=1000)
        ]
        runs = [store.run(each.run_id) for each in left]
        # A request is durable before the next line is read.
        runs += [store.start(kit, line, work=False) for line in sys.stdin if line.strip()]
        for result in threads.map(work, runs):
            print(result, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
