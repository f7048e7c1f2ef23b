"""A run that kando-mcp and the command line both work on: one of them makes its calls."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest
from mcp import Client

from kando.ledger.sqlite_substrate import SQLiteSubstrate
from mcp_host import Place, calling


@contextmanager
def kando(place: Place, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command of the command line in the store of a host."""
    with subprocess.Popen(
        [sys.executable, "-m", "kando.cli.main", *arguments],
        env=place.environ,
        cwd=place.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def types_of(place: Place, run_id: str) -> Counter[str]:
    with SQLiteSubstrate(place.root / "store.sqlite", read_only=True) as store:
        return Counter(event.type for event in store.open(run_id).read_all())


async def first_call(place: Place) -> None:
    while not place.callers():
        await anyio.sleep(0.02)


@pytest.mark.parametrize("command", ["resume", "worker"])
def test_a_run_of_a_host_is_left_alone_by_the_command_line(place: Place, command: str) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        run_id = (await call("start_run", kit="tiny", goal="gate", wait_s=0))["run_id"]
        await first_call(place)
        (owner,) = place.callers()

        if command == "resume":
            with kando(place, "resume", run_id) as process:
                _, err = process.communicate(timeout=60)
            assert process.returncode == 8
            assert f"process {owner} on " in err
        else:
            with kando(place, "resume", run_id, "--group", "g") as process:
                process.communicate(timeout=60)
            with kando(place, "worker", "--group", "g", "--until-idle") as worker:
                assert place.callers() == [owner]
                place.open_gate()
                state = await call("get_run", run_id=run_id, wait_s=45)
                worker.communicate(timeout=60)
            assert worker.returncode == 0

        place.open_gate()
        state = await call("get_run", run_id=run_id, wait_s=45)
        assert state["state"] == "finished"
        assert place.callers() == [owner] * 3
        assert types_of(place, run_id)["tool.returned"] == 3

    place.within(story)


def test_a_run_of_the_command_line_is_left_alone_by_a_host(place: Place) -> None:
    async def story(client: Client) -> None:
        call = calling(client)
        with kando(place, "run", "tiny", "--goal", "gate") as owner:
            await first_call(place)
            (run,) = (await call("list_runs"))["items"]
            run_id = run["run_id"]

            state = await call("resume_run", run_id=run_id, wait_s=0)

            assert state["state"] == "running"
            place.open_gate()
            owner.communicate(timeout=60)
        assert owner.returncode == 0
        assert (await call("get_run", run_id=run_id))["state"] == "finished"
        assert place.callers() == [owner.pid] * 3
        assert types_of(place, run_id)["tool.returned"] == 3

    place.within(story)
