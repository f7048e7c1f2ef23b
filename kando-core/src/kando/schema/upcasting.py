"""Upcasting: data of an old schema version is converted to the current one when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from kando.errors import ConfigurationError, InvalidData
from kando.schema.events import RecordedEvent
from kando.schema.exact_json import exact_and_encoded

__all__ = ["Upcaster"]


@attrs.frozen
class Upcaster:
    """Converts the data of an event type from one schema version to the next.

    Attributes:
        type: of the events.
        version: that it converts from; it converts to the next one.
        fn: ``fn(data)`` returns the data in the next version and must not mutate its argument.
    """

    type: str
    version: int = attrs.field(validator=attrs.validators.ge(1))
    fn: Callable[[dict[str, Any]], dict[str, Any]]


class Upcasters:
    """The upcasters of a runtime, by event type.

    Args:
        steps: in any order.

    Raises:
        ConfigurationError: two convert from the same version, or a version is missing.
    """

    def __init__(self, steps: Iterable[Upcaster]) -> None:
        self._steps: dict[str, dict[int, Upcaster]] = {}
        for step in steps:
            known = self._steps.setdefault(step.type, {})
            if known.setdefault(step.version, step) != step:
                msg = f"Two upcasters convert {step.type!r} from version {step.version}."
                raise ConfigurationError(msg, hint="Remove one of them.")
        for type, known in self._steps.items():
            if sorted(known) != list(range(1, len(known) + 1)):
                versions = ", ".join(map(str, sorted(known)))
                msg = f"The upcasters of {type!r} convert from version {versions}, with a gap."
                raise ConfigurationError(msg, hint="Add an upcaster for each version from 1 on.")

    def __bool__(self) -> bool:
        return bool(self._steps)

    @property
    def versions(self) -> dict[str, int]:
        """The current version of each event type that has more than one version."""
        return {type: len(known) + 1 for type, known in sorted(self._steps.items())}

    def version_of(self, type: str) -> int:
        """Return the version in which new events of a type are written."""
        return len(self._steps.get(type, ())) + 1

    def upcast(self, event: RecordedEvent) -> RecordedEvent:
        """Return an event with its data in the current version.

        Raises:
            InvalidData: an upcaster fails, or does not return a JSON object.
        """
        steps = self._steps.get(event.type)
        if steps is None or event.version > len(steps):
            return event
        data: Any = event.data
        for version in range(event.version, len(steps) + 1):
            try:
                data = steps[version].fn(data)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                raise self._failed(event, version, problem) from error
            if not isinstance(data, dict):
                raise self._failed(event, version, f"it returned {data!r:.60}")
        data, encoded = exact_and_encoded(data)
        return attrs.evolve(event, data=data, encoded=encoded, version=len(steps) + 1)

    @staticmethod
    def _failed(event: RecordedEvent, version: int, problem: str) -> InvalidData:
        msg = f"{event.id} cannot be upcast from version {version}: {problem}."
        return InvalidData(msg, hint=f"Fix the upcaster of {event.type!r} from {version}.")
