"""A process that dies while it fills the cache leaves the ledger of an undisturbed run."""

import runpy
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from kando.cache.llm import LLMCache
from kando.ledger.memory import MemoryLedgerStore
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.runtime import Runtime

#: Works on the run ``r1`` of the given file; with ``dies``, it is killed as soon as an answer is in the
#: cache.
PROGRAM = dedent("""
    import os, signal, sys
    from kando.cache.llm import LLMCache
    from kando.emit import ask, create
    from kando.ledger.sqlite_substrate import SQLiteSubstrate
    from kando.responders.base import Responder
    from kando.responders.llm_executor import LLMExecutorResponder
    from kando.runtime import Runtime

    class Store:
        def __init__(self, substrate, dies):
            self.substrate, self.dies = substrate, dies
        def get(self, key):
            return self.substrate.cached("r1", key)
        def put(self, key, response):
            self.substrate.cache("r1", key, response)
            if self.dies:
                os.kill(os.getpid(), signal.SIGKILL)

    def responders():
        def on_goal(event, world):
            yield ask([{"role": "user", "content": "why?"}])
        answer = lambda messages, model, max_tokens: ("because", 0.5)
        return [Responder("goal", "object.created", on_goal), LLMExecutorResponder(answer)]

    def seeds():
        return [create("Goal", {}, id="goal")]

    if __name__ == "__main__":
        with SQLiteSubstrate(sys.argv[1]) as substrate:
            ledger = substrate.create("r1") if sys.argv[2] == "dies" else substrate.open("r1")
            cache = LLMCache(store=Store(substrate, sys.argv[2] == "dies"))
            runtime = Runtime(ledger, responders(), cache=cache, edge_logic=())
            runtime.run([] if ledger.length() else seeds())
    """)


def test_an_answer_is_in_the_ledger_before_it_is_in_the_cache(tmp_path: Path) -> None:
    program, path = tmp_path / "program.py", tmp_path / "store.sqlite"
    program.write_text(PROGRAM)
    known = runpy.run_path(str(program))
    whole = MemoryLedgerStore("r1")
    runtime = Runtime(whole, known["responders"](), cache=LLMCache(), edge_logic=())
    runtime.run(known["seeds"]())

    killed = subprocess.run([sys.executable, str(program), str(path), "dies"], check=False)
    subprocess.run([sys.executable, str(program), str(path), "resumes"], check=True)

    assert killed.returncode == -signal.SIGKILL
    with SQLiteSubstrate(path) as substrate:
        found = [(e.id, e.type, e.data) for e in substrate.open("r1").read_all()]
    assert found == [(e.id, e.type, e.data) for e in whole.read_all()]
