"""Further keywords in the JSON Schema of a field, such as the maximum length of a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["json_schema", "schema_keywords"]

#: Key of the metadata of a field.
_KEYWORDS = "kando.json_schema"


def json_schema(**keywords: Any) -> Mapping[str, Any]:
    """Return the metadata of a field whose JSON Schema has further keywords, such as ``maxItems``.

    A model that is held to the schema cannot exceed such a limit: a small one may otherwise write a
    list or a text that does not end. `kando.responders.structured.structure` does not check it.

    Args:
        keywords: of JSON Schema: ``attrs.field(metadata=json_schema(maxLength=200))``.
    """
    return {_KEYWORDS: keywords}


def schema_keywords(cls: Any) -> dict[str, Mapping[str, Any]]:
    """Return the keywords that `json_schema` gives to fields of an attrs class or a dataclass."""
    if attrs.has(cls):
        return {a.name: a.metadata[_KEYWORDS] for a in attrs.fields(cls) if _KEYWORDS in a.metadata}
    if not dataclasses.is_dataclass(cls):
        return {}
    fields = dataclasses.fields(cls)
    return {each.name: each.metadata[_KEYWORDS] for each in fields if _KEYWORDS in each.metadata}
