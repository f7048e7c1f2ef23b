"""A branch of a run of a kit ends like the run itself, wherever it is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from kando import open_store
from kando.schema.events import RESPONDER_FIRED

pytestmark = pytest.mark.once


@pytest.mark.parametrize("kit", ["diligence", "planning", "research"])
def test_a_branch_that_is_cut_at_any_place_ends_with_the_same_world(
    tmp_path: Path, kit: str
) -> None:
    with open_store(f"sqlite:{tmp_path / 'runs.sqlite'}") as store:
        run = store.start(kit, demo=True)
        assert run.status().state == "finished"

        # A branch that is cut between the goal and its documents does not have all of them.
        fired = next(each.position for each in run.events() if each.type == RESPONDER_FIRED)
        for at in range(fired, run.length(), 10):
            branch = run.fork(at=at)
            branch.resume()
            assert branch.status().state == "finished", at
            assert not run.diff(branch).world, at
            assert branch.replay(strict=True).is_strict, at
