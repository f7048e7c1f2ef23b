"""Checks of a page in a browser: its requests, its errors, reports of its policy, findings of axe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request

__all__ = ["Watched", "serious_findings", "watch"]

_REPORTED = """
window.__reports = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.__reports.push(event.violatedDirective + " " + event.blockedURI));
"""

_RUN_AXE = """
async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations
    .filter((each) => each.impact === "serious" || each.impact === "critical")
    .map((each) => [each.id, each.help, each.nodes.slice(0, 4).map((node) => node.html + " " + node.failureSummary)]);
}
"""


@attrs.define
class Watched:
    """The requests and errors of a page since it was opened.

    Attributes:
        page: that is watched.
        requests: the addresses that it requested, except of inline data.
        errors: what it logged as an error, and exceptions that it did not catch.
    """

    page: Page
    requests: list[str] = attrs.field(factory=list)
    errors: list[str] = attrs.field(factory=list)

    def foreign(self, origin: str) -> list[str]:
        """Return the requests that left an origin."""
        return [each for each in self.requests if not each.startswith(f"{origin}/")]

    def reports(self) -> list[str]:
        """Return the violations of the security policy of the document that is shown now."""
        found: list[str] = self.page.evaluate("window.__reports ?? []")
        return found


def watch(page: Page) -> Watched:
    """Watch a page from now on; what leaves this machine is refused."""
    found = Watched(page)

    def on_request(request: Request) -> None:
        if urlsplit(request.url).scheme not in ("data", "blob"):
            found.requests.append(request.url)

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            found.errors.append(message.text)

    page.on("request", on_request)
    page.on("console", on_console)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.add_init_script(_REPORTED)
    return found


def serious_findings(page: Page, axe: str) -> list[Any]:
    """Return the serious and critical findings of axe-core on a page.

    Args:
        page: as it is shown.
        axe: the source of axe-core.
    """
    # Not as a script element: the page's security policy would refuse it.
    page.evaluate(f"() => {{ {axe}\n;window.axe = window.axe || axe; }}")
    found = page.evaluate(_RUN_AXE)
    assert isinstance(found, list), json.dumps(found)
    return found
