"""Which kit works on a run: the one that the last ``kit.loaded`` of its line of descent names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from kando.schema.events import KIT_LOADED, TOOL_SERVERS, RecordedEvent

__all__ = ["ADDED", "FILLS_DEFAULTS", "LoadedKit", "kit_after", "kits_in_turn", "recorded_servers"]

#: Field of a recorded tool server: a person added it to the run, and the kit does not declare it.
ADDED = "added"

#: Field of a ``kit.loaded``: the data of each object of a declared class has all its defaults.
FILLS_DEFAULTS = "fills_defaults"


@attrs.frozen
class LoadedKit:
    """A kit that works on a run, or did.

    Attributes:
        data: of its ``kit.loaded``: name, version and distribution.
        position: of its ``kit.loaded``.
        demo_of: name of the kit whose demo the run was started as, or None.
    """

    data: dict[str, Any]
    position: int
    demo_of: str | None = None

    @property
    def name(self) -> str:
        """Name of the kit."""
        name: str = self.data["name"]
        return name

    @property
    def version(self) -> str | None:
        """Version of the kit, or None if it is unknown."""
        return self.data.get("version")


def recorded_servers(loaded: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a ``kit.loaded`` holds of each tool server, by its name.

    Args:
        loaded: data of the event, or None.
    """
    found = loaded.get(TOOL_SERVERS) if loaded is not None else None
    known = found if isinstance(found, dict) else {}
    return {name: each for name, each in known.items() if isinstance(each, dict)}


def kit_after(known: LoadedKit | None, event: RecordedEvent) -> LoadedKit | None:
    """Return the kit that works on a run after its next event.

    Args:
        known: the kit before the event, or None.
        event: any event of the ledger; a branch begins with those of its parent.
    """
    if event.type != KIT_LOADED or not isinstance(event.data.get("name"), str):
        return known
    demo_of = known.demo_of if known is not None else None
    if event.data.get("demo") is True:
        demo_of = event.data["name"]
    return LoadedKit(event.data, event.position, demo_of)


def kits_in_turn(events: Iterable[RecordedEvent]) -> list[LoadedKit]:
    """Return the kits that worked on a run, each once for each stretch that it worked on.

    Versions of a kit that follow each other are one stretch: that of the first.
    """
    found: list[LoadedKit] = []
    for event in events:
        kit = kit_after(found[-1] if found else None, event)
        if kit is not None and (not found or found[-1].name != kit.name):
            found.append(kit)
    return found
