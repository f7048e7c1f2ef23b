"""The story of a newcomer in Chromium: start a demo, go back in time, trace, fork, compare, approve.

The test takes the screenshots of the documentation: with ``SCREENSHOTS=docs/images`` it replaces them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from kando.app.store import Store
from page_checks import Watched, serious_findings


@pytest.fixture
def shoot(page: Page, tmp_path: Path) -> Any:
    """Return a function that takes a screenshot of the page, without what differs from run to run."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)

    def take(name: str) -> None:
        page.mouse.move(0, 0)
        page.screenshot(path=folder / f"{name}.png", animations="disabled", caret="hide")

    return take


def open_page(page: Page, served: Any) -> None:
    """Open the list of runs as a person does: by the address that the command prints."""
    page.goto(served.entrance)
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    assert "token" not in page.url


def tab(page: Page, name: str) -> None:
    """Show a view of the run."""
    page.get_by_role("tab", name=re.compile(rf"^{name}")).click()
    expect(page.get_by_role("tab", name=re.compile(rf"^{name}"))).to_have_attribute(
        "aria-selected", "true"
    )


def finished(page: Page) -> None:
    """Wait until the run that the page shows has finished."""
    expect(page.locator(".run-head .state", has_text="finished")).to_be_visible(timeout=120_000)


@pytest.fixture(scope="module")
def demo(store: Store) -> str:
    """Return the id of a finished run of the demo."""
    return store.start("diligence", "Evaluate Acme Corp", demo=True).id


def test_a_newcomer_starts_a_demo_and_sees_it_finish(
    page: Page, served: Any, axe: str, watched: Watched
) -> None:
    open_page(page, served)
    page.get_by_role("button", name="New run").click()
    form = page.get_by_role("dialog", name="New run")
    kits = form.get_by_role("combobox", name="Kit")
    kits.select_option(kits.locator("option", has_text="research").get_attribute("value"))
    # The demo has a goal of its own.
    form.get_by_label("Work offline from the demo documents").check()
    form.get_by_role("button", name="Add a label").click()
    expect(form.get_by_role("textbox", name="Name of label 1")).to_be_focused()
    page.keyboard.type("stage")
    page.keyboard.press("Tab")
    page.keyboard.type("trial")
    assert serious_findings(page, axe) == []
    form.get_by_role("button", name="Start").click()

    # A worker works on it, and the page follows.
    finished(page)
    tab(page, "Artifacts")
    expect(page.locator("#view")).to_contain_text("3 of 3 questions answered")
    expect(page.get_by_role("link", name=re.compile("^stage=trial"))).to_be_visible()
    assert watched.reports() == []


def test_the_labels_of_a_run_are_added_changed_and_removed_with_the_keyboard(
    page: Page, served: Any, store: Store, axe: str, watched: Watched, shoot: Any
) -> None:
    run = store.start("diligence", "Labelled by hand", work=False)
    page.set_viewport_size({"width": 400, "height": 800})
    open_page(page, served)
    page.goto(served.page_of(run.id))
    page.get_by_role("button", name="Add labels").press("Enter")
    dialog = page.get_by_role("dialog", name="Labels")
    for name, value in (("tenant", "acme"), ("note", "a value too long for a line " * 5)):
        row = dialog.locator(".label-row").last
        row.get_by_placeholder("name").fill(name)
        row.get_by_placeholder("value").fill(value)
        dialog.get_by_role("button", name="Add a label").press("Enter")
    expect(dialog.get_by_role("textbox", name="Name of label 3")).to_be_focused()
    page.keyboard.type("tenant")
    expect(dialog.get_by_role("alert")).to_have_text("Label tenant is given twice.")
    expect(dialog.get_by_role("button", name="Save")).to_be_disabled()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        shoot(f"labels-{scheme}")
        assert serious_findings(page, axe) == []
    dialog.get_by_role("button", name="Remove label tenant").last.press("Enter")
    expect(dialog.get_by_role("button", name="Add a label")).to_be_focused()
    dialog.get_by_placeholder("value").first.press("Enter")
    expect(dialog).to_have_count(0)
    edit = page.get_by_role("button", name="Edit labels")
    expect(edit).to_be_focused()
    expect(page.get_by_role("link", name=re.compile("^tenant=acme"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400

    edit.press("Enter")
    dialog.get_by_role("textbox", name="Value of label tenant").fill("other")
    dialog.get_by_role("button", name="Remove label note").press("Enter")
    dialog.get_by_role("button", name="Save").press("Enter")
    expect(page.get_by_role("link", name=re.compile("^tenant=other"))).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("^note="))).to_have_count(0)
    assert run.labels == {"tenant": "other"}
    assert watched.reports() == []


def test_a_newcomer_goes_back_in_time_and_finds_out_why_a_claim_exists(
    page: Page, served: Any, demo: str, watched: Watched, axe: str, shoot: Any
) -> None:
    open_page(page, served)
    assert serious_findings(page, axe) == []
    page.get_by_role("link", name="Evaluate Acme Corp").first.click()
    finished(page)

    # Back in time, by the keys of the scrubber, the address and a button.
    scrubber = page.get_by_role("slider", name="Number of events that count")
    total = int(scrubber.get_attribute("max") or 0)
    assert total > 100
    scrubber.press("Home")
    expect(page).to_have_url(re.compile("@0"))
    page.goto(served.page_of(demo, "@121"))
    expect(scrubber).to_have_value("121")
    page.get_by_role("button", name="One event back").click()
    expect(page).to_have_url(re.compile("@120"))
    expect(page.get_by_role("region", name="Details of an event")).to_contain_text("Prompt")
    shoot("inspector-timeline")

    page.get_by_role("button", name="To the end").click()
    tab(page, "World")
    types = page.get_by_label("Type of objects")
    types.select_option(types.locator("option", has_text="Claim").get_attribute("value"))
    page.locator("#view tbody tr").nth(3).click()
    panel = page.get_by_role("complementary", name="Object")
    expect(panel).to_be_visible()
    assert serious_findings(page, axe) == []
    shoot("inspector-world")

    panel.get_by_role("button", name="Why does it exist?").click()
    expect(page.get_by_role("tab", name="Trace")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#view [data-box]").first).to_be_visible()
    shoot("inspector-trace")
    page.get_by_role("button", name="List", exact=True).click()
    expect(page.locator("#view")).to_contain_text("Document: ")
    assert watched.reports() == []


def test_no_view_has_a_serious_finding_of_axe(
    page: Page, served: Any, demo: str, axe: str, watched: Watched
) -> None:
    open_page(page, served)
    page.goto(served.page_of(demo))
    expect(page.get_by_role("tab").first).to_be_visible()
    names = page.get_by_role("tab").all_inner_texts()
    assert len(names) >= 6

    found = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name in names:
            tab(page, name.split("\n")[0])
            expect(page.locator("#view").get_by_text("Loading")).to_have_count(0)
            if findings := serious_findings(page, axe):
                found[scheme, name] = findings

    assert found == {}
    assert watched.errors == []
    assert watched.foreign(served.url) == []


def test_a_narrow_page_does_not_scroll_sideways(
    page: Page, served: Any, demo: str, watched: Watched
) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    width = "document.documentElement.scrollWidth"
    open_page(page, served)
    assert page.evaluate(width) <= 400
    page.goto(served.page_of(demo))
    expect(page.get_by_role("tab").first).to_be_visible()

    found = {}
    for name in page.get_by_role("tab").all_inner_texts():
        tab(page, name.split("\n")[0])
        expect(page.locator("#view").get_by_text("Loading")).to_have_count(0)
        found[name] = page.evaluate(width)

    assert max(found.values()) <= 400, found
    assert watched.errors == []


def test_runs_are_found_by_their_labels_with_the_keyboard(
    page: Page, served: Any, store: Store, axe: str, watched: Watched
) -> None:
    labels = {"tenant": "acme", "note": "a value that is too long for a narrow page " * 4}
    one = store.start("diligence", "One", work=False, labels=labels)
    store.start("diligence", "Two", work=False, labels={"tenant": "acme"})
    page.set_viewport_size({"width": 400, "height": 800})
    open_page(page, served)
    rows = page.locator(".runs-table tbody tr")
    links = page.get_by_role("link", name=re.compile("^tenant=acme .show only"))
    expect(links).to_have_count(2)

    links.first.press("Enter")
    expect(rows).to_have_count(2)
    expect(page).to_have_url(re.compile("label=tenant%3Dacme$"))
    page.get_by_label("Label, such as").fill(f"note={labels['note']}".strip())
    page.keyboard.press("Enter")
    expect(rows).to_have_count(0)
    page.get_by_role("button", name=re.compile("^note=a value")).press("Enter")
    expect(rows).to_have_count(2)
    page.get_by_label("Label, such as").fill("tenant")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Write a label as NAME=VALUE.")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert serious_findings(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 400

    page.goto(served.page_of(one.id))
    page.locator(".run-head").get_by_role("link", name=re.compile("^tenant=acme")).click()
    expect(rows).to_have_count(2)
    assert watched.errors == []


def test_a_newcomer_forks_with_a_change_resumes_and_compares(
    page: Page, served: Any, demo: str, axe: str, shoot: Any
) -> None:
    open_page(page, served)
    page.goto(served.page_of(demo, "@40"))
    tab(page, "Branches")

    page.get_by_role("button", name="Fork at event 40").click()
    form = page.get_by_role("form", name="Fork this run")
    company = form.get_by_label("Object to change").locator("option", has_text="Company").first
    form.get_by_label("Object to change").select_option(company.get_attribute("value"))
    fields = form.get_by_label("Its fields on the branch")
    expect(fields).to_have_value(re.compile("Acme Corp"))
    fields.fill(fields.input_value().replace("Acme Corp", "Acme Holding"))
    assert serious_findings(page, axe) == []
    form.get_by_role("button", name="Fork and resume").click()
    expect(page).not_to_have_url(re.compile(demo))
    finished(page)

    page.get_by_role("button", name=f"Diff this run with {demo}").click()
    expect(page.get_by_role("tab", name="Diff")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#view")).to_contain_text("Acme Holding")
    shoot("inspector-diff")
    assert serious_findings(page, axe) == []


@pytest.fixture(scope="module")
def asking(store: Store) -> str:
    """Return the id of a run of which each task waits for a person."""
    settings = {"approval": "all"}
    return store.start("planning", demo=True, settings=settings).id


def test_a_newcomer_approves_with_the_keyboard_alone(
    page: Page, served: Any, store: Store, asking: str, axe: str, shoot: Any
) -> None:
    open_page(page, served)
    page.goto(served.page_of(asking))
    expect(page.locator(".run-head .state", has_text="waiting")).to_be_visible()

    # To the tabs, and along them to the approvals.
    page.get_by_role("tab", name="Events").focus()
    while page.get_by_role("tab", name="Approvals").get_attribute("aria-selected") != "true":
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name="Approve").first).to_be_visible()
    shoot("inspector-approvals")
    assert serious_findings(page, axe) == []
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Approve":
            break
    page.keyboard.press("Enter")
    tries = 300
    while not any(each.type == "approval.granted" for each in store.run(asking).events()):
        tries -= 1
        assert tries, "the approval was not recorded"
        page.wait_for_timeout(100)
