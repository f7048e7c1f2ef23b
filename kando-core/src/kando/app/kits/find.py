"""Look up kits by the names of their entry points, and make their seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kando.errors import ConfigurationError
from kando.plugins.errors import PluginBroken
from kando.schema.events import SETTINGS, TOOL_SERVERS, KandoEvent
from kando.views.firings import FIRING_ORDER
from kando.views.kit import FILLS_DEFAULTS

if TYPE_CHECKING:
    from kando.kit import Kit
    from kando.plugins import Plugins

__all__ = ["find_kit", "kit_data", "make_seeds"]


def find_kit(text: str, plugins: Plugins) -> Kit:
    """Return an installed kit.

    Args:
        text: its name, or a path form such as ``kits/NAME``.
        plugins: the installed plugins.

    Raises:
        UnknownPlugin: no installed plugin offers the kit.
        PluginBroken: the kit is installed but cannot be imported.
    """
    offered = plugins.kit(text)
    kit = plugins.resolve(offered)
    # The target has imported it, if it is a kit.
    from kando.kit import Kit

    if not isinstance(kit, Kit):
        msg = f"Kit {offered.spec.name!r} is a {type(kit).__name__}, not a kando.kit.Kit."
        raise ConfigurationError(msg, hint="Let the target of its KitSpec name the kit itself.")
    kit.distribution = kit.distribution or offered.distribution
    return kit


def make_seeds(kit: Kit, goal: str, run_id: str) -> list[KandoEvent]:
    """Return the events that start a run of a kit.

    Args:
        kit: that makes the seeds.
        goal: goal of the run.
        run_id: of the new run.

    Raises:
        ConfigurationError: the kit has no seed function.
        PluginBroken: its seed function raises, or does not return events.
    """
    if kit.seed is None:
        msg = f"Kit {kit.name!r} has no seed function, so it cannot be started from a goal."
        raise ConfigurationError(msg, hint="Declare one with @kit.seeds, or pass seed=.")
    hint = f"Report this to the authors of {kit.distribution or kit.name}."
    try:
        seeds: object = kit.seed(goal, run_id)
        made: list[object] = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    except (Exception, SystemExit) as error:
        msg = f"Kit {kit.name!r} failed to make seeds: {type(error).__name__}: {error}."
        raise PluginBroken(msg, hint=hint) from error
    checked = [seed for seed in made if isinstance(seed, KandoEvent)]
    if len(checked) < len(made):
        msg = f"The seed function of kit {kit.name!r} returned {seeds!r:.80}, not a list of events."
        raise PluginBroken(msg, hint=hint)
    return checked


def kit_data(
    kit: Kit,
    *,
    demo: bool = False,
    settings: dict[str, Any] | None = None,
    tool_servers: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the data of the ``kit.loaded`` of a kit.

    Args:
        kit: that works on the run.
        demo: whether the run works from the kit's demo documents.
        settings: of the kit.
        tool_servers: what each tool server of the run offers.
    """
    about: dict[str, Any] = {
        "name": kit.name,
        "version": kit.version,
        "distribution": kit.distribution,
        FIRING_ORDER: kit.firing_order(),
        FILLS_DEFAULTS: True,
    }
    if settings:
        about[SETTINGS] = settings
    if tool_servers:
        about[TOOL_SERVERS] = tool_servers
    return {**about, "demo": True} if demo else about
