"""A server gives up a worker that dies at once, and its run is free for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector_place import Place, until
from kando.app.operator import OperatorLimits
from kando_inspector.worker_process import Order
from kando_inspector.workers import Workers


def test_a_worker_that_dies_at_once_is_given_up_and_keeps_no_claim(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path / "place")
    order = Order.of(place.url, "inspector", OperatorLimits("kando serve"))
    workers = Workers(
        1, order, place.environ(), lambda piece: None, max_failures=2, wait_seconds=0.001
    )
    said: list[str] = []

    def is_given_up() -> bool:
        said.append(capfd.readouterr().err)
        return "not started again" in "".join(said)

    with place.serving("--workers", "0") as server:
        run = server.start("die")
        workers.start()
        until(is_given_up)
        found = server.get(f"/runs/{run}")
    workers.end(1)

    text = "".join(said)
    assert text.count("a worker ended with 7, and is started again") == 1
    assert "a worker failed 2 times in a row, and is not started again." in text
    assert "`kando worker --group inspector` does its work elsewhere" in text
    assert (found["state"], found["claim"]) == ("stopped", None)
