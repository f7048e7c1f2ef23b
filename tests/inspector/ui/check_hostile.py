"""A ledger in which every text is hostile: no script runs, no request leaves, no report is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from kando.app.store import Store
from large_runs import MARKER, add_hostile_run
from page_checks import Watched


@pytest.fixture(scope="module")
def hostile(store: Store) -> str:
    """Return the id of the run."""
    return add_hostile_run(store)


@pytest.fixture(autouse=True)
def _nothing_happens(page: Page, served: Any, watched: Watched) -> Iterator[None]:
    """Check, after each test, what the page did."""
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    yield
    assert page.evaluate(f"window.{MARKER}") is None
    assert watched.foreign(served.url) == []
    assert watched.reports() == []
    assert [each for each in watched.errors if "Content Security Policy" in each] == []
    assert dialogs == []
    assert page.locator("main script, main iframe, main img, main object, main embed").count() == 0
    assert page.locator("main a[href^='javascript:' i]").count() == 0


def test_the_list_of_runs_shows_hostile_goals(page: Page, served: Any, hostile: str) -> None:
    page.goto(served.entrance)

    expect(page.get_by_role("row").nth(1)).to_contain_text("<script>")


def test_every_view_shows_a_hostile_run(page: Page, served: Any, hostile: str) -> None:
    page.goto(served.entrance)
    page.goto(served.page_of(hostile))
    tabs = page.get_by_role("tab")
    expect(tabs.first).to_be_visible()

    for number in range(tabs.count()):
        tabs.nth(number).click()
        expect(tabs.nth(number)).to_have_attribute("aria-selected", "true")
        expect(page.locator("#view").get_by_text("Loading")).to_have_count(0)


@pytest.mark.parametrize("view", ["events", "world", "trace", "artifacts", "conversation"])
def test_a_click_on_what_a_view_shows_does_nothing_hostile(
    page: Page, served: Any, hostile: str, view: str
) -> None:
    page.goto(served.entrance)
    page.goto(served.page_of(hostile, f"?view={view}&event=object.created-2"))
    shown = page.locator("#view")
    expect(shown.get_by_text("Loading")).to_have_count(0)

    for each in shown.locator("button:not(.copy), [role=option], [data-box], tbody tr").all()[:12]:
        if each.is_visible() and each.is_enabled():
            each.click(force=True, timeout=5000)


def test_every_event_can_be_opened(page: Page, served: Any, hostile: str, store: Store) -> None:
    page.goto(served.entrance)
    for event in store.run(hostile).events():
        page.goto(
            served.page_of(hostile, f"?event={event.id}") if event.id.isascii() else served.url
        )
        detail = page.get_by_role("region", name="Details of an event")
        expect(detail).to_have_attribute("aria-busy", "false")
