"""Which kit: by the name of its entry point, never by path."""

from __future__ import annotations

from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.ledger.interface import LedgerStore
from kando.plugins import Plugins
from kando.schema.events import KIT_LOADED

__all__ = ["find_kit", "loaded_kit"]


def find_kit(text: str, plugins: Plugins) -> Kit:
    """Return an installed kit.

    Args:
        text: its name, or the older path form.
        plugins: who offers which kit.

    Raises:
        UnknownPlugin: no installed plugin offers it.
        PluginBroken: it is installed and cannot be imported.
    """
    offered = plugins.kit(text)
    kit = plugins.resolve(offered)
    if not isinstance(kit, Kit):
        msg = f"Kit {offered.spec.name!r} is {type(kit).__name__}, not a kando.kit.Kit."
        raise ConfigurationError(msg, hint="Its KitSpec target must name the kit itself.")
    kit.distribution = kit.distribution or offered.distribution
    return kit


def loaded_kit(ledger: LedgerStore) -> dict[str, str] | None:
    """Return what the ledger says of its kit: name, version and distribution, or None."""
    first = ledger.at(0)
    if first is not None and first.type == KIT_LOADED:
        return first.data
    return next((e.data for e in ledger.read_all() if e.type == KIT_LOADED), None)
