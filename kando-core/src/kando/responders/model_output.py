"""The output of a model: an answer as text or objects, and what follows from it by default."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import attrs
import msgspec

from kando.emit import create, patch, relate
from kando.errors import InvalidData
from kando.responders._cut_answers import whole_parts
from kando.responders.answers import text_of
from kando.responders.asker import Emitted
from kando.responders.structured import structure
from kando.schema.typed import to_json
from kando.world.graph import World

__all__ = ["Output"]


@attrs.frozen
class Output:
    """The form of a model's answer.

    Attributes:
        cls: attrs class of the answer; None for text.
        many: whether the answer is a list of them.
        relation: type of the relation from each object that the answer creates to the object it is
            about; None for no relation.
    """

    cls: type | None
    many: bool
    relation: str | None

    def whole(self) -> Any:
        """Return the class of the whole answer."""
        return _list_of(self.cls) if self.many else self.cls

    def read(self, answer: Mapping[str, Any]) -> Any:
        """Return an answer as text, as an object of the class or as a list of them.

        Args:
            answer: the data of an ``llm.response``.

        Raises:
            InvalidData: the answer does not match.
        """
        if self.cls is None:
            text = text_of(answer)
            if text is not None:
                return text
            msg = "The answer has no text."
            raise InvalidData(msg, hint="Check the provider that returned it.")
        data = answer.get("data")
        if "data" not in answer:
            try:
                data = msgspec.json.decode(str(answer.get("text", "")))
            except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
                msg = "The answer is not JSON."
                raise InvalidData(msg, hint="Check the provider that returned it.") from error
        made = structure(self.whole(), data)
        return list(made.items) if self.many else made

    def read_cut(self, answer: Mapping[str, Any]) -> Any:
        """Return the same of an answer that was cut off: the longest part of it that matches.

        Args:
            answer: as for `read`.

        Raises:
            InvalidData: no part of it matches.
        """
        problem: InvalidData | None = None
        for data in whole_parts(str(answer.get("text", ""))):
            try:
                return self.read({"data": data})
            except InvalidData as error:
                problem = problem or error
        if problem is not None:
            raise problem
        msg = "The answer was cut off before it had a whole part."
        raise InvalidData(msg, hint="Raise max_tokens.")

    def applied(self, made: Any, about: str | None, world: World) -> Emitted:
        """Yield the objects and relations that follow from an answer by default.

        Args:
            made: the answer, as `read` returns it.
            about: id of the object that the conversation is about, or None.
            world: that is handled in.
        """
        subject = world.get_object(about) if about is not None else None
        if self.cls is None:
            if subject is not None:
                yield patch(subject, {"text": made})
            return
        for each in made if self.many else [made]:
            data, type = to_json(each), self.cls.__name__
            if subject is not None and subject.type == type and not self.many:
                yield patch(subject, data)
                continue
            created = yield create(type, data)
            if self.relation is not None and subject is not None:
                yield relate(self.relation, created, subject)


@lru_cache(maxsize=256)
def _list_of(cls: type | None) -> Any:
    """Return the class of an answer with several instances of a class."""
    items: Any = list[cls]  # type: ignore[valid-type]
    return attrs.make_class("Answer", {"items": attrs.field(type=items)}, frozen=True)
