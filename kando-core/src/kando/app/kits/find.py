"""Which kit: by the name of its entry point, never by path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kando.errors import ConfigurationError
from kando.kit import Kit
from kando.plugins import PluginBroken, Plugins
from kando.schema.events import KandoEvent
from kando.views.firings import FIRING_ORDER

__all__ = ["find_kit", "kit_data", "make_seeds"]


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


def make_seeds(kit: Kit, goal: str, run_id: str) -> list[KandoEvent]:
    """Return the events that start a run of a kit.

    Args:
        kit: whose seed is asked.
        goal: what the run is for.
        run_id: of the new run.

    Raises:
        ConfigurationError: the kit has no seed.
        PluginBroken: its seed raises, or returns something else.
    """
    if kit.seed is None:
        msg = f"Kit {kit.name!r} has no seed, so a goal cannot start it."
        raise ConfigurationError(msg, hint="Declare one with @kit.seeds, or pass seed=.")
    hint = f"Report it to the authors of {kit.distribution or kit.name}."
    try:
        seeds: object = kit.seed(goal, run_id)
        made: list[object] = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    except (Exception, SystemExit) as error:
        msg = f"Kit {kit.name!r} failed to make seeds: {type(error).__name__}: {error}."
        raise PluginBroken(msg, hint=hint) from error
    checked = [seed for seed in made if isinstance(seed, KandoEvent)]
    if len(checked) < len(made):
        msg = f"The seed of kit {kit.name!r} returned {seeds!r:.80}, which is no list of events."
        raise PluginBroken(msg, hint=hint)
    return checked


def kit_data(kit: Kit, *, demo: bool = False) -> dict[str, Any]:
    """Return the data of the ``kit.loaded`` that tells of a kit.

    Args:
        kit: that is loaded.
        demo: whether the run works from what it ships as its demo.
    """
    about = {
        "name": kit.name,
        "version": kit.version,
        "distribution": kit.distribution,
        FIRING_ORDER: kit.firing_order(),
    }
    return {**about, "demo": True} if demo else about
