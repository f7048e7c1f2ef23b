"""How a request reaches the runs: one app for each, in a thread, with errors in a tool's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import anyio.to_thread
import attrs
from mcp.server.mcpserver.exceptions import ToolError

from kando.app.store import Store, open_store
from kando.errors import KandoError
from kando.plugins import Plugins
from kando_mcp.results.errors import explained
from kando_mcp.settings import Settings
from kando_mcp.spending import Spending
from kando_mcp.world_cache import KeptWorlds

__all__ = ["Access"]

_Answer = TypeVar("_Answer")


@attrs.frozen
class Access:
    """The runs that a server serves.

    Attributes:
        plugins: what is installed.
        environ: settings and keys, such as ``KANDO_LEDGER``.
        settings: what the operator allows.
        worlds: that were shown last.
        spending: of all runs in a day.
    """

    plugins: Plugins
    environ: Mapping[str, str]
    settings: Settings
    worlds: KeptWorlds = attrs.field(factory=KeptWorlds, init=False)
    spending: Spending = attrs.field(factory=Spending, init=False)

    def open(self) -> Store:
        """Return the store; the caller closes it."""
        return open_store(self.settings.ledger_url, plugins=self.plugins, environ=self.environ)

    async def ask(self, work: Callable[[Store], _Answer]) -> _Answer:
        """Return what `work` returns, having run it in a thread.

        A cancelled request waits for it, so that nothing is left half done.

        Raises:
            ToolError: `work` raised an error of Kando; it says what to do next.
        """
        return await anyio.to_thread.run_sync(partial(self._worked, work))

    def _worked(self, work: Callable[[Store], _Answer]) -> _Answer:
        with self.open() as app:
            try:
                return work(app)
            except KandoError as error:
                raise ToolError(explained(app, error)) from error
