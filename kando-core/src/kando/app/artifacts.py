"""Artifacts: the texts that a run has written for its reader, such as a report."""

from __future__ import annotations

import attrs

from kando.errors import NotFoundError
from kando.world.graph import World, WorldObject

__all__ = ["Artifact", "artifact_named", "artifacts_in"]


@attrs.frozen
class Artifact:
    """A text that a run has written.

    Attributes:
        name: as a file would be named, such as ``report.md``.
        media_type: such as ``text/markdown``.
        text: untrusted, as everything a ledger holds.
        object_id: of the object that it is the text of.
        object_type: of that object.
    """

    name: str
    media_type: str
    text: str
    object_id: str
    object_type: str


def artifacts_in(world: World) -> list[Artifact]:
    """Return the artifacts of a world, in creation order.

    An artifact is any object whose data has the strings ``name``, ``media_type`` and ``text``.
    """
    found = (_artifact(each) for each in world.objects.values())
    return [each for each in found if each is not None]


def artifact_named(world: World, name: str | None = None, *, run: str) -> Artifact:
    """Return one artifact of a run: the newest of that name, or the only one.

    Args:
        world: of the run.
        name: of the artifact, or the id of its object; may be omitted if there is only one.
        run: named in errors.

    Raises:
        NotFoundError: the run has no such artifact, or several and no name was given.
    """
    found = artifacts_in(world)
    wanted = [each for each in found if name in (None, each.name, each.object_id)]
    if wanted and (name is not None or len(found) == 1):
        return wanted[-1]
    if not found:
        msg, hint = f"{run} has written no artifact.", f"`kando status {run}` says why."
    elif name is None:
        msg, hint = f"{run} has written {len(found)} artifacts.", "Name one."
    else:
        msg, hint = f"{run} has no artifact {name!r}.", "Name one that it has."
    names = ", ".join(dict.fromkeys(each.name for each in found))
    raise NotFoundError(msg, hint=f"{hint} There is: {names}." if found else hint)


def _artifact(object: WorldObject) -> Artifact | None:
    name, media_type, text = (object.data.get(key) for key in ("name", "media_type", "text"))
    if isinstance(name, str) and isinstance(media_type, str) and isinstance(text, str):
        return Artifact(name, media_type, text, object.id, object.type)
    return None
