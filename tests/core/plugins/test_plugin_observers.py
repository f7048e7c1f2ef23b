"""Observers of recorded events."""

from __future__ import annotations

from kando.plugins import Plugins, hookimpl
from kando.schema.events import KandoEvent, make_event
from plugin_installation import Installation


def observing(arguments: str) -> str:
    return (
        "from kando.plugins import hookimpl\n"
        "@hookimpl\n"
        f"def kando_event_recorded({arguments}):\n"
        "    return dict(locals())\n"
    )


def goal() -> KandoEvent:
    return make_event("object.created", "run:r", "cli", [], {"id": "g", "type": "Goal", "data": {}})


def test_observers_are_sorted_by_distribution_and_named_after_their_plugin(
    installation: Installation,
) -> None:
    for name in ("b", "c", "a"):
        installation.add(f"kando-{name}", observing("event, position"))
    observers = installation.plugins().observers()
    assert [name for name, _ in observers] == ["kando-a:a", "kando-b:b", "kando-c:c"]


def test_an_observer_gets_the_arguments_it_takes(installation: Installation) -> None:
    for name, arguments in {
        "a": "event, position",
        "b": "position",
        "c": "",
        "d": "event, position=None",
    }.items():
        installation.add(f"kando-{name}", observing(arguments))
    event = goal()
    received = [observe(event, 7) for _, observe in installation.plugins().observers()]
    assert received == [
        {"event": event, "position": 7},
        {"position": 7},
        {},
        {"event": event, "position": 7},
    ]


def test_a_plugin_without_an_observer_is_not_listed_as_one() -> None:
    class Kits:
        @hookimpl
        def kando_kits(self) -> list[object]:
            return []

    plugins = Plugins(entry_points=False, environ={})
    plugins.register(Kits(), name="kits")
    assert plugins.observers() == []


def test_a_method_of_a_registered_object_can_be_an_observer() -> None:
    class Watch:
        def __init__(self) -> None:
            self.seen: list[int] = []

        @hookimpl
        def kando_event_recorded(self, position: int) -> None:
            self.seen.append(position)

    watch = Watch()
    plugins = Plugins(entry_points=False, environ={})
    plugins.register(watch, name="watch")
    for _, observe in plugins.observers():
        observe(goal(), 3)
    assert watch.seen == [3]
