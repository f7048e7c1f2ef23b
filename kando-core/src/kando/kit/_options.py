"""Options of LLM responders that the settings of the run decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kando.world.graph import World

__all__ = ["model_setting", "setting"]


def setting(settings: type, name: str) -> Callable[[World], Any]:
    """Return the function of the world that returns a setting of the run, as an option takes it.

    ``max_tokens=setting(Settings, "max_tokens")`` limits the answers as the settings say.

    Args:
        settings: class of the settings.
        name: of the setting.
    """

    def value(world: World) -> Any:
        return getattr(world.settings(settings), name)

    return value


def model_setting(settings: type, step: str) -> Callable[[World], str]:
    """Return the function of the world that returns the model of a step, as an option takes it.

    The settings have a ``model`` for all steps, and ``models`` for single steps, by name.

    Args:
        settings: class of the settings.
        step: name of the step.
    """

    def model(world: World) -> str:
        chosen: Any = world.settings(settings)
        return str(chosen.models.get(step, chosen.model))

    return model
