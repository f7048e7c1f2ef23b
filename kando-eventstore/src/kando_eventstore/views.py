"""`kando views`: views of many runs, kept up to date from a catch-up subscription."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from kando.errors import (
    ConfigurationError,
    KandoError,
    LedgerDeleted,
    LedgerNotFound,
    RefusedEvent,
    StoreDamaged,
)
from kando.ledger.interface import LedgerStore
from kando.plugins import CommandSettings
from kando.schema.events import RecordedEvent
from kando.schema.visible import clean
from kando.views.metrics import MetricsFold, RunMetrics
from kando.world.graph import World
from kando.world.projection import apply
from kando_eventstore._connection import CALL_SECONDS
from kando_eventstore._view_file import ViewFile
from kando_eventstore.substrate import EventStoreSubstrate, open_eventstore

__all__ = ["ViewKeeper", "views"]

_FILE_NAME = "kando-views.sqlite"

#: Matches the streams of ledgers, and those that claim their ids.
_LEDGERS = "(run|branch|ledger):.*"

_RIGHT = "the right to read $all, which by default only members of $admins have"

# The folds of this many runs stay in memory; the ledger of any other run is folded again.
_FOLDS = 200

_BATCH = 500
_BATCH_SECONDS = 0.1
_RECONNECT_SECONDS = 0.2


@attrs.define
class _Folds:
    """The views of a run, folded from its ledger."""

    ledger: LedgerStore
    world: World = attrs.field(factory=World)
    metrics: MetricsFold = attrs.field(factory=MetricsFold)
    length: int = 0

    def catch_up(self) -> list[RecordedEvent]:
        """Fold the new events of the ledger, and return them."""
        new = []
        for event in self.ledger.read(self.length):
            apply(self.world, event)
            self.metrics.observe(event)
            new.append(event)
        self.length += len(new)
        return new


class ViewKeeper:
    """Keeps the views in a file up to date with a server.

    A process that was killed resumes after the last position in the file: the views and the
    position are written in one transaction.

    Args:
        substrate: the server.
        file: that holds the views.
        report: called with a line of text for each run whose views cannot be updated.
    """

    def __init__(
        self,
        substrate: EventStoreSubstrate,
        file: ViewFile,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._report = report
        self._substrate = substrate
        self._file = file
        self._folds: OrderedDict[str, _Folds] = OrderedDict()
        self._messages: queue.Queue[Any] = queue.Queue(maxsize=4 * _BATCH)
        self._start = file.position
        self._is_closed = False
        self._subscriber = substrate.connection.clone()

    def keep(self, *, once: bool = False) -> int:
        """Update the views, and keep them up to date; return how many runs were read.

        Args:
            once: return when the views are up to date.

        Raises:
            StoreError: the server does not answer.
        """
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        read: set[str] = set()
        try:
            while True:
                batch = list(self._batch())
                for message in batch:
                    if isinstance(message, BaseException):
                        raise message
                ids = {each.stream_name.partition(":")[2] for each in batch if each.stream_name}
                read |= ids
                self._update(batch, sorted(ids))
                if once and any(message.is_caught_up for message in batch):
                    return len(read)
        finally:
            self._is_closed = True
            self._subscriber.close()
            reader.join(timeout=CALL_SECONDS)

    def _batch(self) -> Iterator[Any]:
        """Yield at least one message, and those that follow at once."""
        yield self._messages.get()
        deadline = time.monotonic() + _BATCH_SECONDS
        for _ in range(_BATCH):
            try:
                yield self._messages.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                return

    def _update(self, batch: list[Any], ids: list[str]) -> None:
        position = max((message.commit_position for message in batch), default=0)
        if position <= (self._file.position or 0):
            # The subscription has caught up, without new events.
            return
        deleted: list[str] = []
        changed = [found for id in ids if (found := self._changed(id, deleted)) is not None]
        self._file.update(position, changed, deleted)

    def _changed(
        self, id: str, deleted: list[str]
    ) -> tuple[str, World, RunMetrics, list[RecordedEvent]] | None:
        """Return the new views of a run; None if it has none. Adds a deleted run to `deleted`."""
        folds = self._folds.pop(id, None)
        try:
            if folds is None:
                folds = _Folds(self._substrate.open(id))
            new = folds.catch_up()
        except LedgerDeleted:
            deleted.append(id)
            return None
        except LedgerNotFound:
            # The tail of a branch that is being forked; its claim follows, or the fork failed.
            return None
        except (StoreDamaged, RefusedEvent) as error:
            # The views of other runs are not affected.
            self._report(f"{id} is skipped: {error.message}")
            return None
        self._folds[id] = folds
        if len(self._folds) > _FOLDS:
            self._folds.popitem(last=False)
        return id, folds.world, folds.metrics.metrics(), new

    def _read(self) -> None:
        """Queue the server's messages for `keep`, from the last position on."""
        connection, position = self._subscriber, self._start
        while not self._is_closed:
            try:
                subscription = connection.subscribe(
                    lambda client: client.subscribe_to_all(
                        commit_position=position,  # noqa: B023 - called before it changes
                        filter_include=(_LEDGERS,),
                        filter_by_stream_name=True,
                        include_checkpoints=True,
                        include_caught_up=True,
                    ),
                    right=_RIGHT,
                )
                for message in subscription:
                    self._put(message)
                    position = max(position or 0, message.commit_position) or None
            except KandoError as error:
                self._put(error)
                return
            except (ValueError, connection.library.base_error):
                # The connection was dropped; resume after the last message.
                time.sleep(_RECONNECT_SECONDS)

    def _put(self, message: Any) -> None:
        """Queue a message, unless `keep` has ended and takes no more."""
        while not self._is_closed:
            with contextlib.suppress(queue.Full):
                self._messages.put(message, timeout=_RECONNECT_SECONDS)
                return


@click.command()
@click.option("--file", type=click.Path(dir_okay=False), help="SQLite file that holds the views.")
@click.option("--once", is_flag=True, help="Exit when the views are up to date.")
@click.option("--show", metavar="RUN", help="Print the stored views of a run as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def views(
    settings: CommandSettings, file: str | None, once: bool, show: str | None, as_json: bool
) -> None:
    """Keep views of all runs on a server up to date in a file: worlds, lineage, metrics.

    It needs an EventStoreDB or KurrentDB server (EVENTSTORE_URL), and resumes where it was stopped
    or killed.
    """
    import json

    url = settings.substrate_url
    if url.partition(":")[0] in ("sqlite", "memory"):
        msg = f"A {url.partition(':')[0]} substrate has no subscriptions to update views from."
        raise ConfigurationError(
            msg, hint="Set EVENTSTORE_URL; on other substrates, use `kando metrics`."
        )
    path = Path(file) if file is not None else settings.data_folder / _FILE_NAME
    with open_eventstore(url, read_only=True) as substrate:
        stored = ViewFile(path, substrate.connection.display_url)
        try:
            if show is not None:
                click.echo(json.dumps(stored.view(show), ensure_ascii=True))
                return
            keeper = ViewKeeper(substrate, stored, lambda line: click.echo(clean(line), err=True))
            count = keeper.keep(once=once)
            click.echo(json.dumps({"runs": count}) if as_json else f"{count} runs updated")
        finally:
            stored.close()
