"""`kando views`: views of many runs, kept up to date from a catch-up subscription."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from kando.app.substrates import default_path, substrate_url
from kando.errors import (
    ConfigurationError,
    KandoError,
    LedgerNotFound,
    RefusedEvent,
    StoreDamaged,
)
from kando.ledger.interface import LedgerStore
from kando.schema.events import RecordedEvent
from kando.schema.visible import clean
from kando.views.metrics import MetricsFold, RunMetrics
from kando.world.graph import World
from kando.world.projection import apply
from kando_eventstore._view_file import ViewFile
from kando_eventstore.substrate import EventStoreSubstrate, open_eventstore

__all__ = ["ViewKeeper", "views"]

_FILE_NAME = "kando-views.sqlite"

#: Matches the streams of ledgers, and those that say that a ledger is there.
_LEDGERS = "(run|branch|ledger):.*"

# The folds of so many runs are kept in memory; of another, its ledger is folded anew.
_FOLDS = 200

_BATCH = 500
_BATCH_SECONDS = 0.1
_RECONNECT_SECONDS = 0.2


@attrs.define
class _Folds:
    """A run's views in the making."""

    ledger: LedgerStore
    world: World = attrs.field(factory=World)
    metrics: MetricsFold = attrs.field(factory=MetricsFold)
    length: int = 0

    def catch_up(self) -> list[RecordedEvent]:
        """Fold what is new in the ledger, and return it."""
        new = []
        for event in self.ledger.read(self.length):
            apply(self.world, event)
            self.metrics.observe(event)
            new.append(event)
        self.length += len(new)
        return new


class ViewKeeper:
    """Keeps the views in a file up to date with a server.

    A process that is killed goes on behind the last position that is in the file: the views and the
    position are written in one step.

    Args:
        substrate: the server.
        file: where the views are kept.
        tell: told, in a line, of a run whose views cannot be brought up to date.
    """

    def __init__(
        self,
        substrate: EventStoreSubstrate,
        file: ViewFile,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._tell = tell
        self._substrate = substrate
        self._file = file
        self._folds: OrderedDict[str, _Folds] = OrderedDict()
        self._told: queue.Queue[Any] = queue.Queue(maxsize=4 * _BATCH)
        self._start = file.position
        self._is_closed = False
        self._following = substrate.connection.another()

    def keep(self, *, once: bool = False) -> int:
        """Bring the views up to date, and keep them so; return how many runs were looked at.

        Args:
            once: return when they are up to date.

        Raises:
            StoreError: the server does not answer.
        """
        reading = threading.Thread(target=self._read, daemon=True)
        reading.start()
        looked_at: set[str] = set()
        try:
            while True:
                batch = list(self._batch())
                for told in batch:
                    if isinstance(told, BaseException):
                        raise told
                ids = {told.stream_name.partition(":")[2] for told in batch if told.stream_name}
                looked_at |= ids
                self._put(batch, sorted(ids))
                if once and any(told.is_caught_up for told in batch):
                    return len(looked_at)
        finally:
            self._is_closed = True
            self._following.close()

    def _batch(self) -> Iterator[Any]:
        """Yield what was told: at least one thing, and whatever follows at once."""
        yield self._told.get()
        deadline = time.monotonic() + _BATCH_SECONDS
        for _ in range(_BATCH):
            try:
                yield self._told.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                return

    def _put(self, batch: list[Any], ids: list[str]) -> None:
        position = max((told.commit_position for told in batch), default=0)
        if position <= (self._file.position or 0):
            # To have caught up is no news.
            return
        self._file.put(position, [found for id in ids if (found := self._changed(id)) is not None])

    def _changed(self, id: str) -> tuple[str, World, RunMetrics, list[RecordedEvent]] | None:
        folds = self._folds.pop(id, None)
        try:
            if folds is None:
                folds = _Folds(self._substrate.open(id))
            new = folds.catch_up()
        except LedgerNotFound:
            # The tail of a branch that is being forked; its claim follows, or never.
            return None
        except (StoreDamaged, RefusedEvent) as error:
            # The views of the others are none the worse for it.
            self._tell(f"{id} is left out: {error.message}")
            return None
        self._folds[id] = folds
        if len(self._folds) > _FOLDS:
            self._folds.popitem(last=False)
        return id, folds.world, folds.metrics.metrics(), new

    def _read(self) -> None:
        """Put what the server tells where `keep` finds it, from the last position on."""
        connection, reached = self._following, self._start
        while not self._is_closed:
            try:
                subscription = connection.call(
                    lambda client: client.subscribe_to_all(
                        commit_position=reached,  # noqa: B023 - called before it changes
                        filter_include=(_LEDGERS,),
                        filter_by_stream_name=True,
                        include_checkpoints=True,
                        include_caught_up=True,
                    )
                )
                for told in subscription:
                    self._told.put(told)
                    reached = max(reached or 0, told.commit_position) or None
            except KandoError as error:
                self._told.put(error)
                return
            except (ValueError, connection.library.base_error):
                # The connection was dropped; what was told stays told.
                time.sleep(_RECONNECT_SECONDS)


@click.command()
@click.option("--file", type=click.Path(dir_okay=False), help="SQLite file to keep the views in.")
@click.option("--once", is_flag=True, help="End when the views are up to date.")
@click.option("--show", metavar="RUN", help="Print the views of a run as JSON, as they are kept.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def views(
    context: click.Context, file: str | None, once: bool, show: str | None, as_json: bool
) -> None:
    """Keep views of all runs on a server up to date in a file: worlds, lineage, metrics.

    It needs an EventStoreDB or KurrentDB server (EVENTSTORE_URL), and goes on where it was ended
    or killed.
    """
    import json

    url = substrate_url((context.find_root().obj or {}).get("ledger"), os.environ)
    if url.partition(":")[0] in ("sqlite", "memory"):
        msg = f"{url.partition(':')[0]}: has no subscriptions to keep views from."
        raise ConfigurationError(msg, hint="Set EVENTSTORE_URL; elsewhere use `kando metrics`.")
    path = Path(file) if file is not None else default_path().with_name(_FILE_NAME)
    with open_eventstore(url, read_only=True) as substrate:
        kept = ViewFile(path, substrate.connection.where)
        try:
            if show is not None:
                click.echo(json.dumps(kept.view(show), ensure_ascii=True))
                return
            keeper = ViewKeeper(substrate, kept, lambda line: click.echo(clean(line), err=True))
            count = keeper.keep(once=once)
            click.echo(
                json.dumps({"runs": count}) if as_json else f"{count} runs brought up to date"
            )
        finally:
            kept.close()
