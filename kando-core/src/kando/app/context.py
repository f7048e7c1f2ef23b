"""The context of a store: the plugins, the settings and the substrate, shared by its runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kando._closing import Closing
from kando.app.activities import Activities
from kando.app.addresses import parse_address, resolve_ledger_id
from kando.app.demo import DEMO_ID, demo_ledger
from kando.app.substrates import is_in_memory, open_substrate, substrate_url
from kando.errors import LedgerNotFound, PositionOutOfRange
from kando.ledger.interface import LedgerStore
from kando.ledger.substrate import Substrate

if TYPE_CHECKING:
    from kando.app.providers import Listen
    from kando.app.snapshot_cache import SnapshotCache
    from kando.app.tool_servers import ToolServers
    from kando.kit import Kit
    from kando.plugins import LoadedPlugin, Plugins
    from kando.world.snapshot import Installed

__all__ = ["Context", "id_of"]


@attrs.define
class Context(Closing):
    """The plugins, settings and substrate that all runs of a store share.

    Several threads may use it at once; each run is worked on by one of them at a time.

    Attributes:
        plugins: the installed plugins; looked up on first use if None.
        environ: settings and keys, such as ``KANDO_LEDGER``.
        ledger_url: URL of the substrate; taken from the environment if None.
        listen: receives the text of answers as it streams in; None for no streaming.
        llm_options: of all requests to models; they override the environment's and the kit's.
        kits: kits that are not installed as plugins, by name; they take precedence.
        activities: what the threads of the store are doing now.
        snapshot_cache: of a server, which reads the same runs often; None otherwise.
    """

    _plugins: Plugins | None = attrs.field(repr=False)
    #: Holds keys, which must not end up in a log.
    environ: Mapping[str, str] = attrs.field(repr=False)
    ledger_url: str | None = None
    listen: Listen | None = attrs.field(default=None, repr=False)
    kits: dict[str, Kit] = attrs.field(factory=dict, repr=lambda kits: str([*kits]))
    llm_options: Mapping[str, Any] = attrs.field(factory=dict)
    activities: Activities = attrs.field(factory=Activities, init=False, repr=False)
    snapshot_cache: SnapshotCache | None = attrs.field(default=None, init=False, repr=False)
    _finds_installed: bool = attrs.field(init=False, repr=False)
    _opened: dict[bool, Substrate] = attrs.field(factory=dict, init=False, repr=False)
    _temporary: Path | None = attrs.field(default=None, init=False, repr=False)
    _closers: list[Callable[[], None]] = attrs.field(factory=list, init=False, repr=False)
    _tool_servers: ToolServers | None = attrs.field(default=None, init=False, repr=False)
    #: The installation of each kit, by name, and whether the one that a run noted is unchanged.
    _installed: dict[str, Installed | None] = attrs.field(factory=dict, init=False, repr=False)
    _unchanged: dict[Installed, bool] = attrs.field(factory=dict, init=False, repr=False)
    _lock: threading.RLock = attrs.field(factory=threading.RLock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._finds_installed = self._plugins is None

    @property
    def plugins(self) -> Plugins:
        """The installed plugins.

        They are looked up on first use: most commands that only read need none.
        """
        with self._lock:
            if self._plugins is None:
                from kando.app.builtin import installed_plugins

                self._plugins = installed_plugins(self.environ)
            return self._plugins

    @property
    def tool_servers(self) -> ToolServers:
        """The open sessions of the tool servers of runs."""
        with self._lock:
            if self._tool_servers is None:
                # Most commands only read, and need none.
                from kando.app.tool_servers import ToolServers

                self._tool_servers = ToolServers(self)
            return self._tool_servers

    def failed_plugins(self) -> list[LoadedPlugin]:
        """Return the plugins that failed among those that were needed so far."""
        return [] if self._plugins is None else self._plugins.failures(load=False)

    @property
    def url(self) -> str:
        """URL of the substrate in use."""
        return substrate_url(self.ledger_url, self.environ)

    def substrate(self, *, read_only: bool = True) -> Substrate:
        """Return the substrate, which is opened on first use.

        Raises:
            StoreError: the substrate cannot be opened.
        """
        with self._lock:
            if False in self._opened:
                return self._opened[False]
            known = self._opened.get(read_only)
            # One in memory stands for a file that did not exist, and that may exist by now.
            if known is None or is_in_memory(known):
                opened = open_substrate(self.url, lambda: self.plugins, read_only=read_only)
                self._opened[read_only] = opened
                if known is not None:
                    known.close()
            return self._opened[read_only]

    def kit(self, name: str) -> Kit:
        """Return a kit by name: one of `kits`, else an installed one.

        Raises:
            UnknownPlugin: no installed plugin offers the kit.
            PluginBroken: the kit is installed but cannot be imported.
        """
        if name in self.kits:
            return self.kits[name]
        from kando.app.kits.find import find_kit

        return find_kit(name, self.plugins)

    def installed(self, kit: Mapping[str, Any]) -> Installed | None:
        """Return the installation of a kit that this process has imported; None if unknown.

        Args:
            kit: its name, version and distribution.
        """
        name = kit["name"]
        if not self._finds_installed or name in self.kits:
            # Another process would find another kit, or none.
            return None
        with self._lock:
            if name not in self._installed:
                from kando.app.installation import installed_with

                self._installed[name] = installed_with(name, self.plugins, self.environ)
            return self._installed[name]

    def is_unchanged(self, kit: Mapping[str, Any], installed: Installed) -> bool:
        """Whether a look-up of a kit, which this process has not done, would find it as it was.

        Args:
            kit: its name, version and distribution.
            installed: the installation when it was looked up.
        """
        if self._plugins is not None or kit["name"] in self.kits:
            return False
        with self._lock:
            if installed not in self._unchanged:
                from kando.app.installation import is_unchanged

                self._unchanged[installed] = is_unchanged(installed, self.environ)
            return self._unchanged[installed]

    def remember(self, kit: str | Kit | None) -> str | Kit | None:
        """Return `kit`, and find it and its child kits from now on for the runs that name them."""
        waiting = [kit] if kit is not None and not isinstance(kit, str) else []
        for each in waiting:
            self.kits[each.name] = each
            waiting += [child for child in each.child_kits if child not in waiting]
        return kit

    def ledger(self, name: str, *, read_only: bool = True) -> LedgerStore:
        """Open the ledger of a run or branch.

        Args:
            name: an id, a unique prefix, ``@last``, or ``demo`` for the demo run.
            read_only: whether the caller only reads.

        Raises:
            LedgerNotFound: no run matches; nothing was created.
            AmbiguousName: the prefix matches several runs.
            PositionOutOfRange: the name is ``RUN@N``.
        """
        if name == DEMO_ID:
            if read_only:
                return demo_ledger()
            msg = "The demo run is read-only."
            raise LedgerNotFound(msg, hint="`kando run KIT --goal TEXT` starts a run of your own.")
        parsed = parse_address(name)
        if parsed.position is not None:
            msg = f"{name!r} has a position, but only a whole run is allowed here."
            raise PositionOutOfRange(msg, hint=f"Use {parsed.ledger}.")
        id = resolve_ledger_id(self.substrate(read_only=True), name)
        return self.substrate(read_only=read_only).open(id)

    def temporary_folder(self) -> Path:
        """Return a folder that is removed when the substrate is closed."""
        with self._lock:
            if self._temporary is None:
                from tempfile import TemporaryDirectory

                made = TemporaryDirectory(prefix="kando-", ignore_cleanup_errors=True)
                self._temporary = Path(made.name)
                self.close_later(made.cleanup)
            return self._temporary

    def close_later(self, close: Callable[[], None]) -> None:
        """Have `close` called when the substrate is closed."""
        self._closers.append(close)

    def close(self) -> None:
        """Close everything that was opened."""
        if self._tool_servers is not None:
            self._tool_servers.close()
        while self._closers:
            self._closers.pop()()
        self._temporary = None
        while self._opened:
            self._opened.popitem()[1].close()


def id_of(ledger: LedgerStore) -> str:
    """Return a ledger's id: its stream name without ``run:`` or ``branch:``."""
    return ledger.stream_name().partition(":")[2]
