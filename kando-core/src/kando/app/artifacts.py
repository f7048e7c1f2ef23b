"""Artifacts: the texts that a run writes for its reader, such as a report."""

from __future__ import annotations

import attrs

from kando.errors import NotFoundError
from kando.world.graph import World, WorldObject

__all__ = ["Artifact", "artifact_named", "artifacts_in"]


@attrs.frozen
class Artifact:
    """A text that a run has written.

    Attributes:
        name: a file name, such as ``report.md``.
        media_type: such as ``text/markdown``.
        text: untrusted, like all content of a ledger.
        object_id: of the object that has the text.
        object_type: of that object.
    """

    name: str
    media_type: str
    text: str
    object_id: str
    object_type: str

    def rendered(self, format: str) -> bytes:
        """Return the artifact as ``md``, ``html`` or ``pdf``.

        Raises:
            ConfigurationError: the format is unknown, or the package for PDF is not installed.
        """
        # Not at the top: most readers take the text as it is.
        from kando.app.artifact_formats import rendered

        return rendered(self, format)


def artifacts_in(world: World) -> list[Artifact]:
    """Return the artifacts of a world, in creation order.

    An artifact is an object whose data has the strings ``name``, ``media_type`` and ``text``.
    """
    found = (_artifact(each) for each in world.objects.values())
    return [each for each in found if each is not None]


def artifact_named(world: World, name: str | None = None, *, run: str) -> Artifact:
    """Return one artifact of a run: the newest of that name, or the only one.

    Args:
        world: of the run.
        name: of the artifact, or the id of its object; None if the run has only one.
        run: its id, for error messages.

    Raises:
        NotFoundError: the run has no such artifact, or several and no name was given.
    """
    found = artifacts_in(world)
    wanted = [each for each in found if name in (None, each.name, each.object_id)]
    if wanted and (name is not None or len(found) == 1):
        return wanted[-1]
    if not found:
        msg = f"{run} has written no artifacts yet."
        raise NotFoundError(msg, hint=f"`kando status {run}` shows its state.")
    names = ", ".join(dict.fromkeys(each.name for each in found))
    several = f"{run} has written {len(found)} artifacts."
    msg = several if name is None else f"{run} has no artifact {name!r}."
    raise NotFoundError(msg, hint=f"Name one of: {names}.")


def _artifact(object: WorldObject) -> Artifact | None:
    name, media_type, text = (object.data.get(key) for key in ("name", "media_type", "text"))
    if isinstance(name, str) and isinstance(media_type, str) and isinstance(text, str):
        return Artifact(name, media_type, text, object.id, object.type)
    return None
