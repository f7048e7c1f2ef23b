"""A server, a browser, and what both report, for tests of the page."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from kando.app.store import Store, open_store
from page_checks import Watched, watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[3]
AXE = ROOT / ".ui-tools" / "node_modules" / "axe-core" / "axe.min.js"

#: Milliseconds for which the browser waits for a condition.
PATIENCE = 30_000

_ADDRESS = re.compile(r"http://\S+")


@attrs.frozen
class Served:
    """A running server.

    Attributes:
        url: its address, without the token.
        token: that exchanges for a cookie.
        environ: of its process, for commands on the same store.
    """

    url: str
    token: str
    environ: dict[str, str]

    def page_of(self, run: str, more: str = "") -> str:
        """Return the address of a run: ``RUN`` or ``RUN@N``, and what follows it."""
        return f"{self.url}/#{run}{more}"

    @property
    def entrance(self) -> str:
        """The address that lets a browser in."""
        return f"{self.url}/#token={self.token}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium."""
    # Imported here, as `make test` collects this folder without it.
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--enable-precise-memory-info", "--js-flags=--expose-gc"]
        found = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=options
        )
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page of a new profile, of the size of a small notebook."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800},
        color_scheme="light",
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def watched(page: Page) -> Watched:
    """Record what the page requests, logs, and what its security policy reports."""
    return watch(page)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the store of a module's tests."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    """Open the store of a module's tests."""
    with open_store(f"sqlite:{folder}/store.sqlite") as opened:
        yield opened


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    """Serve the store of a module's tests."""
    with serving(folder) as found:
        yield found


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    """Run `kando ui` on the store in a folder, until the end of the block."""
    environ = {
        "HOME": str(folder),
        "KANDO_LEDGER": f"sqlite:{folder}/store.sqlite",
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "kando.cli.main", "ui", "--no-browser", *options]
    log = folder / "server.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, env=environ, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            lines: queue.Queue[str] = queue.Queue()
            threading.Thread(target=_read, args=(process, lines), daemon=True).start()
            address = _ADDRESS.search(lines.get(timeout=60))
            assert address, log.read_text()
            url, _, fragment = address[0].partition("/#")
            token = re.search(r"token=([^&]+)", fragment)
            assert token, address[0]
            yield Served(url, token[1], environ)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)


@pytest.fixture(scope="session")
def axe() -> str:
    """Return the source of axe-core."""
    assert AXE.exists(), "make test-ui installs what this needs"
    return AXE.read_text()
