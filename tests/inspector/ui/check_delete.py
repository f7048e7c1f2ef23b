"""A person deletes runs in the page, which says what goes with them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from inspector_server import worked_kit
from kando.app.store import Store
from page_checks import Watched, serious_findings, watch


def test_a_run_is_deleted_with_the_keyboard_once_its_branch_is_gone(
    page: Page, watched: Watched, served: Any, store: Store, axe: str
) -> None:
    run = store.start(worked_kit(), "Compare two cities")
    branch = run.fork(at=5)
    other = page.context.new_page()
    watch(other)
    page.goto(served.entrance)
    other.goto(served.page_of(branch.id))
    expect(other.get_by_role("heading", name="Compare two cities")).to_be_visible()

    page.get_by_role("button", name=f"Delete {run.id}").click()
    dialog = page.get_by_role("dialog", name="Delete this run?")
    expect(dialog.get_by_role("link", name=branch.id)).to_be_visible()
    expect(dialog.get_by_role("button", name="Delete for good")).to_have_count(0)
    assert serious_findings(page, axe) == []
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    page.goto(served.page_of(branch.id))
    page.get_by_role("button", name="Delete", exact=True).press("Enter")
    confirm = dialog.get_by_role("button", name="Delete for good")
    expect(confirm).to_be_enabled()
    assert serious_findings(page, axe) == []
    confirm.press("Enter")

    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_role("button", name=f"Delete {branch.id}")).to_have_count(0)
    # The page of another reader shows it, too.
    expect(other.get_by_role("heading", name="This run was deleted")).to_be_visible()
    page.goto(served.page_of(branch.id))
    expect(page.get_by_role("heading", name="This run was deleted")).to_be_visible()
    assert serious_findings(page, axe) == []
    page.get_by_role("link", name="All runs").click()

    page.get_by_role("button", name=f"Delete {run.id}").click()
    dialog.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_text("No runs yet.")).to_be_visible()
    assert watched.reports() == []


def test_a_list_that_is_open_loses_a_run_that_is_deleted_elsewhere(
    page: Page, served: Any, store: Store
) -> None:
    run = store.start(worked_kit(), "Soon to go")
    page.goto(served.entrance)
    row = page.get_by_role("link", name="Soon to go")
    expect(row).to_be_visible()
    # The stream has begun once it reports a run that is new.
    store.start(worked_kit(), "Stays")
    expect(page.get_by_role("link", name="Stays")).to_be_visible()

    run.delete()

    expect(row).to_have_count(0)
    expect(page.get_by_role("link", name="Stays")).to_be_visible()
