"""A run of 100,000 events is painted as fast as one of 1,000, and can be scrubbed in little memory."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from kando.app.store import Store
from large_runs import add_large_run

#: Megabytes of the heap after garbage is collected.
MOST_HEAP = 300

#: How often the two runs are opened in turn. Other processes make some openings slower, so that the pair
#: counts in which the long run does best; a time that grows with the run would be 100 times as long in each.
TIMES = 5


@pytest.fixture(scope="module")
def runs(store: Store) -> dict[int, str]:
    """Return the ids of the runs by their number of events."""
    return {events: add_large_run(store, events) for events in (1_000, 100_000)}


def seconds_to_paint(page: Page, served: Any, run: str) -> float:
    """Return how long it takes until a run's head, timeline and events are drawn."""
    page.goto("about:blank")
    page.goto(served.page_of(run), wait_until="commit")
    page.wait_for_function(
        """() => {
          const row = document.querySelector("[role=option] .event-type");
          const lanes = document.querySelector(".run-time canvas, .run-time svg");
          if (!row || !lanes) return false;
          window.__painted ??= performance.now();
          return true;
        }""",
        polling="raf",
    )
    found: float = page.evaluate("window.__painted")
    return found / 1000


def heap_of(page: Page) -> float:
    """Return the megabytes of the page's heap, without garbage."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    return float(used) / 1e6


def test_the_first_paint_does_not_depend_on_the_length_of_a_run(
    page: Page, served: Any, runs: dict[int, str]
) -> None:
    page.goto(served.entrance)
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    pairs = [[seconds_to_paint(page, served, run) for run in runs.values()] for _ in range(TIMES)]

    assert min(long / short for short, long in pairs) < 1.5, pairs


def test_fifty_positions_can_be_scrubbed_in_little_memory(
    page: Page, served: Any, runs: dict[int, str]
) -> None:
    page.goto(served.entrance)
    page.goto(served.page_of(runs[100_000]))
    scrubber = page.get_by_role("slider", name="Number of events that count")
    expect(scrubber).to_be_visible()

    detail = page.locator(".detail-number")
    for number in range(50):
        at = (number * 37_717) % 99_000 + 500
        scrubber.fill(str(at))
        expect(page).to_have_url(re.compile(rf"@{at}\b"))
        expect(scrubber).to_have_value(str(at))
        expect(detail).to_have_text(re.compile(r"event [\d,]+"))

    page.get_by_role("tab", name="World").click()
    expect(page.locator("#view")).to_contain_text("objects")
    assert heap_of(page) < MOST_HEAP
