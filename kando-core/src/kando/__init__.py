"""Kando: a runtime for long-running agents in which the event log is the agent.

To embed Kando, begin with `open_store`; to write a kit, with `Kit`. The names are imported on
first use, so that ``import kando`` alone stays cheap.
"""

from kando._lazy import lazily

# Type checkers take it for true. The constant of `typing` would have to be imported.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from kando.app.run import Run
    from kando.app.store import Store, open_store
    from kando.cache.llm import LLMCache
    from kando.emit import (
        ask,
        ask_person,
        call_tool,
        create,
        emit,
        patch,
        relate,
        set_timer,
        start_run,
        unrelate,
    )
    from kando.errors import KandoError
    from kando.kit import Demo, Kit
    from kando.ledger.memory import MemoryLedgerStore
    from kando.ledger.sqlite import SQLiteLedgerStore
    from kando.responders.answers import failure_of, text_of
    from kando.responders.base import responder
    from kando.responders.budget import Budget
    from kando.responders.compaction import Compaction
    from kando.responders.edge import edge_logic
    from kando.responders.randomness import rng
    from kando.responders.tool_context import ToolContext
    from kando.runtime import Runtime
    from kando.schema.attachments import file, image
    from kando.schema.events import KandoEvent, RecordedEvent, make_event
    from kando.world.graph import Relation, World, WorldObject
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "kando.app.run": ["Run"],
            "kando.app.store": ["Store", "open_store"],
            "kando.cache.llm": ["LLMCache"],
            # Also a module of its own: see kando/_lazy.py.
            "kando.emit": [
                "ask",
                "ask_person",
                "call_tool",
                "create",
                "emit",
                "patch",
                "relate",
                "set_timer",
                "start_run",
                "unrelate",
            ],
            "kando.errors": ["KandoError"],
            "kando.kit": ["Demo", "Kit"],
            "kando.ledger.memory": ["MemoryLedgerStore"],
            "kando.ledger.sqlite": ["SQLiteLedgerStore"],
            "kando.responders.answers": ["failure_of", "text_of"],
            "kando.responders.base": ["responder"],
            "kando.responders.budget": ["Budget"],
            "kando.responders.compaction": ["Compaction"],
            "kando.responders.edge": ["edge_logic"],
            "kando.responders.randomness": ["rng"],
            "kando.responders.tool_context": ["ToolContext"],
            "kando.runtime": ["Runtime"],
            "kando.schema.attachments": ["file", "image"],
            "kando.schema.events": ["KandoEvent", "RecordedEvent", "make_event"],
            "kando.world.graph": ["Relation", "World", "WorldObject"],
        },
    )

__all__ = [
    "Budget",
    "Compaction",
    "Demo",
    "KandoError",
    "KandoEvent",
    "Kit",
    "LLMCache",
    "MemoryLedgerStore",
    "RecordedEvent",
    "Relation",
    "Run",
    "Runtime",
    "SQLiteLedgerStore",
    "Store",
    "ToolContext",
    "World",
    "WorldObject",
    "ask",
    "ask_person",
    "call_tool",
    "create",
    "edge_logic",
    "emit",
    "failure_of",
    "file",
    "image",
    "make_event",
    "open_store",
    "patch",
    "relate",
    "responder",
    "rng",
    "set_timer",
    "start_run",
    "text_of",
    "unrelate",
]
