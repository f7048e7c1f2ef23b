"""Burr: a chain of steps, the state of each saved in a SQLite file."""

from __future__ import annotations

import sys
from typing import Any

from burr.core import ApplicationBuilder, State, action, default, expr
from burr.core.persistence import SQLitePersister

from stopwatch import timed
from workload import short_data_of

__all__: list[str] = []


def steps(size: str, path: str) -> None:
    """Run a chain whose state is the data of its last step, and report.

    Args:
        size: how many steps.
        path: of the new SQLite file.
    """
    count = int(size)

    @action(reads=["number"], writes=["number", "text"])
    def step(state: State) -> State:
        return state.update(**short_data_of(state["number"] + 1))

    @action(reads=["number"], writes=["is_done"])
    def end(state: State) -> State:
        return state.update(is_done=True)

    persister = SQLitePersister(path)
    persister.initialize()
    application: Any = (
        ApplicationBuilder()
        .with_actions(step=step, end=end)
        .with_transitions(
            ("step", "step", expr(f"number < {count}")),
            ("step", "end", default),
        )
        .with_identifiers(app_id="bench", partition_key="")
        .with_state(number=0)
        .with_entrypoint("step")
        .with_state_persister(persister)
        .build()
    )
    with timed() as watch:
        _, _, state = application.run(halt_after=["end"])
    persister.connection.close()
    if state["number"] != count:
        msg = f"Burr made {state['number']} steps, not {count}."
        raise RuntimeError(msg)
    watch.report()


if __name__ == "__main__":
    {"steps": steps}[sys.argv[1]](*sys.argv[2:])
