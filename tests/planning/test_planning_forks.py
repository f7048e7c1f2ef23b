"""A branch of a planning run ends like the run itself, wherever it is cut."""

from __future__ import annotations

from kando import open_store


def test_a_branch_that_is_cut_at_any_place_ends_with_the_same_world(tmp_path):
    with open_store(f"sqlite:{tmp_path / 'runs.sqlite'}") as store:
        run = store.start("planning", demo=True)
        assert run.status().state == "finished"

        for at in range(2, run.length(), 10):
            branch = run.fork(at=at)
            branch.resume()
            assert branch.status().state == "finished", at
            assert not run.diff(branch).world, at
            assert branch.replay(strict=True).is_strict, at
