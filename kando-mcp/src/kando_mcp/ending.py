"""The end of a server that is asked to end: waits are cut short, and requests in flight answered."""

from __future__ import annotations

from collections.abc import Callable

import attrs

__all__ = ["Ending"]


@attrs.define
class Ending:
    """Whether a server is ending, and what it then does.

    Attributes:
        has_begun: whether the server is ending.
    """

    has_begun: bool = attrs.field(default=False, init=False)
    _actions: list[Callable[[], object]] = attrs.field(factory=list, init=False)

    def then(self, action: Callable[[], object]) -> None:
        """Have `action` called when the end begins; a signal handler may call it."""
        self._actions.append(action)
        if self.has_begun:
            action()

    def begin(self) -> None:
        """Begin the end; later calls do nothing."""
        if not self.has_begun:
            self.has_begun = True
            for action in self._actions:
                action()
