"""The example of the specification, word for word; run from built wheels."""

from kando.runtime import Runtime
from kando.ledger.memory import MemoryLedgerStore
from kando.responders.budget import Budget
from kando.cache.llm import LLMCache
from kits.diligence.kit import create_kit, seed_from_goal

run_id = "my-run-001"
store = MemoryLedgerStore(run_id)
runtime = Runtime(ledger=store, responders=create_kit(),
                  budget=Budget(max_events=500, max_wall_seconds=60.0), cache=LLMCache())
world = runtime.run(seed_from_goal("Evaluate Stripe", run_id))
world2 = runtime.load()
world3 = runtime.replay(strict=True)

assert world == world2 == world3
assert world.objects_of("Company")[0].data == {"name": "Evaluate Stripe"}
print(f"{store.length()} events, {len(world.objects)} objects")
