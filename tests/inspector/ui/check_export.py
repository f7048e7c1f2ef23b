"""A run that was exported to HTML, opened from disk, shows the same timeline, world and trace."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from inspector_server import waiting_kit
from kando.app.store import Store
from large_runs import MARKER, add_hostile_run
from page_checks import Watched, serious_findings, watch


@pytest.fixture(scope="module")
def demo(store: Store) -> str:
    """Return the id of a finished run of the demo."""
    return store.start("diligence", "Evaluate Acme Corp", demo=True).id


def exported(served: Any, run: str, folder: Path) -> str:
    """Export a run with the command, and return the address of the file."""
    command = [sys.executable, "-m", "kando.cli.main", "export", run, "-o", "run.html"]
    subprocess.run(command, env=served.environ, cwd=folder, check=True, timeout=300)
    return (folder / "run.html").as_uri()


def shown(page: Page) -> str:
    """Return the text of the view, without ages and commands."""
    return re.sub(r"\d+ (?:s|min) ago|Copy.*", "", page.locator("#view").inner_text())


def wait_for_same(page: Page, file: Page) -> None:
    """Wait until both pages show the same in their view, and more than a few words."""
    tries = PATIENCE // 200
    for _ in range(tries):
        if len(shown(page)) > 100 and shown(page) == shown(file):
            return
        page.wait_for_timeout(200)
    assert shown(page) == shown(file)


#: Milliseconds.
PATIENCE = 30_000

VIEWS = {
    "the events": "@120",
    "the world": "@120?view=world",
    "the graph of the world": "@120?view=world&form=graph",
    "a trace": "@357?view=trace&event=relation.created-355&form=list",
    "what followed": "@357?view=trace&event=object.created-2&form=list&direction=effects",
    "no artifact": "@2?view=artifacts",
    "two artifacts": "@4?view=artifacts",
    "the report": "@355?view=artifacts",
    "the first costs": "@40?view=cost",
    "half of the costs": "@200?view=cost",
    "all costs": "@357?view=cost",
}


def test_a_file_opened_from_disk_shows_what_the_server_shows(
    page: Page, browser: Browser, served: Any, demo: str, tmp_path: Path, axe: str
) -> None:
    address = exported(served, demo, tmp_path)
    page.goto(served.entrance)
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, offline=True, locale="en-GB", timezone_id="UTC"
    )
    file = context.new_page()
    watched = watch(file)

    for more in VIEWS.values():
        page.goto(f"{served.url}/#{demo}{more}")
        file.goto(f"{address}#{demo}{more}")
        wait_for_same(page, file)
    assert serious_findings(file, axe) == []
    assert watched.errors == []
    assert watched.requests == [each for each in watched.requests if each.startswith("file:")]
    assert {each.partition("#")[0] for each in watched.requests} == {address}
    expect(file.get_by_role("button", name="Delete")).to_have_count(0)
    context.close()


def test_a_file_shows_what_waited_for_a_person_at_each_position(
    page: Page, served: Any, store: Store, tmp_path: Path
) -> None:
    run = store.start(waiting_kit(), "a trip")
    run.reply(run.questions()[0].event_id, "Riga")
    run.resume()
    address = exported(served, run.id, tmp_path)

    page.goto(address)
    for at in (3, 5, run.length() - 1):
        page.goto(f"{address}#{run.id}@{at}?view=approvals")
        waiting = [*run.approvals(at=at), *run.questions(at=at)]
        expect(page.locator("#view .card:not(.notice)")).to_have_count(len(waiting))


def test_a_hostile_run_in_a_file_stays_text(
    page: Page, watched: Watched, served: Any, store: Store, tmp_path: Path
) -> None:
    run = add_hostile_run(store)
    address = exported(served, run, tmp_path)

    page.goto(address)
    tabs = page.get_by_role("tab")
    expect(tabs.first).to_be_visible(timeout=60_000)
    for number in range(tabs.count()):
        tabs.nth(number).click()
        expect(tabs.nth(number)).to_have_attribute("aria-selected", "true")

    assert page.evaluate(f"window.{MARKER}") is None
    assert {each.partition("#")[0] for each in watched.requests} == {address}
    assert watched.reports() == []
    assert watched.errors == []


def test_an_export_of_some_events_holds_no_more(
    page: Page, served: Any, demo: str, tmp_path: Path
) -> None:
    address = exported(served, f"{demo}@100", tmp_path)

    page.goto(address)

    expect(page.get_by_role("slider")).to_have_attribute("max", "100")
