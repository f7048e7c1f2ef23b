"""The plugin: the substrate and the command that this distribution offers."""

from __future__ import annotations

from kando.plugins import CommandSpec, SubstrateSpec, hookimpl

__all__ = ["kando_commands", "kando_substrates"]


@hookimpl
def kando_substrates() -> list[SubstrateSpec]:
    """Offer the substrate, under the URL schemes of EventStoreDB and KurrentDB."""
    return [
        SubstrateSpec(
            "esdb",
            "kando_eventstore.substrate:open_eventstore",
            (
                "esdb",
                "esdb+discover",
                "kurrentdb",
                "kurrentdb+discover",
                "kdb",
                "kdb+discover",
                "http",
                "https",
            ),
            "EventStoreDB and KurrentDB servers and clusters",
        )
    ]


@hookimpl
def kando_commands() -> list[CommandSpec]:
    """Offer the command that keeps views up to date."""
    about = "Keep views of all runs on a server up to date."
    return [CommandSpec("views", "kando_eventstore.views:views", about)]
