"""Access to the runs: each request opens the store in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import anyio.to_thread
import attrs
from mcp.server.mcpserver.exceptions import ToolError

from kando.app.store import Store, open_store
from kando.app.world_cache import WorldCache
from kando.errors import KandoError
from kando.plugins import Plugins
from kando_mcp.ending import Ending
from kando_mcp.results.errors import error_text
from kando_mcp.settings import Settings

__all__ = ["Access"]

_Answer = TypeVar("_Answer")


@attrs.frozen
class Access:
    """The runs that a server serves.

    Attributes:
        plugins: the installed plugins.
        environ: settings and keys, such as ``KANDO_LEDGER``.
        settings: the operator's limits.
        ending: says when the server is ending.
        worlds: cache of recently shown worlds.
    """

    plugins: Plugins
    environ: Mapping[str, str]
    settings: Settings
    ending: Ending = attrs.field(factory=Ending)
    worlds: WorldCache = attrs.field(factory=WorldCache, init=False)

    def open(self) -> Store:
        """Open the store, which the caller must close."""
        return open_store(self.settings.ledger_url, plugins=self.plugins, environ=self.environ)

    async def call(self, work: Callable[[Store], _Answer]) -> _Answer:
        """Call `work` in a thread and return its result.

        A cancelled request waits until `work` has finished, so that no work is left half done.

        Raises:
            ToolError: `work` raised a `KandoError`; the message says what to do next.
        """
        return await anyio.to_thread.run_sync(partial(self._call, work))

    def _call(self, work: Callable[[Store], _Answer]) -> _Answer:
        with self.open() as store:
            try:
                return work(store)
            except KandoError as error:
                raise ToolError(error_text(store, error)) from error
