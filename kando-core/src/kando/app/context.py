"""What every use of the app layer shares: the plugins, the settings and the substrate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import attrs

from kando.app.addresses import parse_address, resolve_ledger_id
from kando.app.demo import DEMO_ID, demo_ledger
from kando.app.providers import Listen
from kando.app.substrates import open_substrate, substrate_url
from kando.errors import LedgerNotFound, PositionOutOfRange
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate
from kando.plugins import Plugins

__all__ = ["App", "id_of"]


@attrs.define
class App:
    """The runs of one substrate.

    Attributes:
        plugins: what is installed.
        environ: settings and keys, such as ``KANDO_LEDGER``.
        ledger_url: URL of the substrate; from the environment if None.
        listen: is told the text of answers as it comes in; None if nobody listens.
    """

    plugins: Plugins
    environ: Mapping[str, str]
    ledger_url: str | None = None
    listen: Listen | None = None
    _opened: dict[bool, Substrate] = attrs.field(factory=dict, init=False)
    _closers: list[Callable[[], None]] = attrs.field(factory=list, init=False)

    @property
    def url(self) -> str:
        """URL of the substrate in use."""
        return substrate_url(self.ledger_url, self.environ)

    def substrate(self, *, read_only: bool = True) -> Substrate:
        """Return the substrate, opened when first asked for.

        Raises:
            StoreError: it cannot be opened.
        """
        if False in self._opened:
            return self._opened[False]
        if read_only not in self._opened:
            self._opened[read_only] = open_substrate(self.url, self.plugins, read_only=read_only)
        return self._opened[read_only]

    def ledger(self, name: str, *, read_only: bool = True) -> LedgerStore:
        """Open the ledger of a run or branch.

        Args:
            name: an id, a unique prefix, ``@last``, or ``demo`` for the demo run.
            read_only: whether nothing will be appended.

        Raises:
            LedgerNotFound: there is none; nothing was created.
            AmbiguousName: the prefix fits several.
            PositionOutOfRange: it is ``RUN@N``.
        """
        if name == DEMO_ID:
            if read_only:
                return demo_ledger()
            msg = "The demo run is there to be looked at only."
            raise LedgerNotFound(msg, hint="Start one with: kando run KIT --goal TEXT")
        parsed = parse_address(name)
        if parsed.position is not None:
            msg = f"{name!r} names a position, and what is meant here is a whole run."
            raise PositionOutOfRange(msg, hint=f"Say {parsed.ledger}.")
        id = resolve_ledger_id(self.substrate(read_only=True), name)
        return self.substrate(read_only=read_only).open(id)

    def ledger_at(self, address: str, at: int | None = None) -> tuple[LedgerStore, int]:
        """Open a ledger for reading and return it with the number of events that are meant.

        Args:
            address: ``RUN``, or ``RUN@N`` for its first N events.
            at: the same as the N of the address.

        Raises:
            LedgerNotFound, AmbiguousName: as for `ledger`.
            PositionOutOfRange: the ledger is shorter.
        """
        parsed = parse_address(address)
        ledger = self.ledger(parsed.ledger)
        length = ledger.length()
        wanted = at if at is not None else parsed.position
        if wanted is None:
            return ledger, length
        if 0 <= wanted <= length:
            return ledger, wanted
        msg = f"{ledger.stream_name()} has {length} events; position {wanted} is outside it."
        raise PositionOutOfRange(msg, hint=f"Use 0 to {length}.")

    def close_later(self, close: Callable[[], None]) -> None:
        """Have something closed together with the substrate."""
        self._closers.append(close)

    def close(self) -> None:
        """Close what was opened."""
        while self._closers:
            self._closers.pop()()
        while self._opened:
            self._opened.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def id_of(ledger: LedgerStore) -> str:
    """Return a ledger's id: its stream name without ``run:`` or ``branch:``."""
    return ledger.stream_name().partition(":")[2]
