"""Structured output: the schema of a class, and the validation of answers."""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.errors import ConfigurationError, InvalidData
from kando.responders._schema_errors import schema_errors
from kando.responders.structured import schema_of, structure
from kando.schema._keywords import json_schema


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@attrs.frozen
class Source:
    """The place of a statement.

    Attributes:
        path: of the document.
    """

    path: str
    page: int | None = None


@attrs.frozen
class Claim:
    text: str
    confidence: float
    kind: Literal["fact", "opinion"]
    sources: list[Source]
    mood: Mood = Mood.GOOD
    tags: tuple[str, ...] = ()
    scores: dict[str, float] = attrs.field(factory=dict)
    said_on: date | None = None
    extra: Any = None


@attrs.frozen
class Node:
    name: str
    children: list[Node]


CLAIM = {"text": "a", "confidence": 1, "kind": "fact", "sources": [{"path": "p"}]}


def test_a_schema_describes_the_fields_of_a_class():
    schema = schema_of(Claim)

    assert schema["required"] == ["text", "confidence", "kind", "sources"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {
        "text": {"type": "string"},
        "confidence": {"type": "number"},
        "kind": {"type": "string", "enum": ["fact", "opinion"]},
        "sources": {
            "type": "array",
            "items": {
                "type": "object",
                "description": "The place of a statement.",
                "properties": {
                    "path": {"type": "string"},
                    "page": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                },
                "required": ["path"],
                "additionalProperties": False,
            },
        },
        "mood": {"type": "string", "enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "scores": {"type": "object", "additionalProperties": {"type": "number"}},
        "said_on": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "extra": {},
    }


def test_a_recursive_class_has_a_schema_with_a_definition():
    schema = schema_of(Node)

    assert schema["$ref"] == "#/$defs/Node"
    leaf = {"name": "leaf", "children": []}
    assert schema_errors(schema, {"name": "root", "children": [leaf]}) == []
    assert schema_errors(schema, {"name": "root", "children": [{"name": 1, "children": []}]}) == [
        "data.children[0].name must be string, not 1"
    ]


@pytest.mark.parametrize("kind", [complex, tuple[int, str], dict[int, str]])
def test_a_type_without_a_json_form_has_no_schema(kind):
    with pytest.raises(ConfigurationError, match="has no JSON Schema"):
        schema_of(kind)


def test_valid_data_becomes_an_instance_of_the_class():
    claim = structure(Claim, {**CLAIM, "mood": "bad", "tags": ["x"], "said_on": "2026-01-02"})

    assert claim == Claim(
        "a", 1.0, "fact", [Source("p")], Mood.BAD, ("x",), {}, date(2026, 1, 2), None
    )
    assert structure(list[Source], [{"path": "p"}]) == [Source("p")]
    assert structure(Node, {"name": "a", "children": []}) == Node("a", [])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"text": 1}, r"expected str, not int 1 @ data\.text"),
        ({"confidence": "1"}, r"expected float, not str '1' @ data\.confidence"),
        ({"confidence": True}, r"expected float, not bool True"),
        ({"more": 1}, r"unknown field 'more'"),
        ({"sources": ["p"]}, r"expected Source, not str 'p' @ data\.sources\[0\]"),
        ({"sources": "p"}, r"expected list.*, not str 'p'"),
        ({"kind": "joke"}, r"data\.kind"),
        ({"said_on": "soon"}, r"data\.said_on"),
    ],
)
def test_invalid_data_is_refused_with_the_name_of_the_field(change, problem):
    with pytest.raises(InvalidData, match=problem):
        structure(Claim, {**CLAIM, **change})
    assert schema_errors(schema_of(Claim), {**CLAIM, **change}) or "said_on" in change


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_data_that_is_not_an_object_is_refused(data):
    with pytest.raises(InvalidData, match="The data is not a valid Claim"):
        structure(Claim, data)


@pytest.mark.parametrize(
    ("schema", "value", "problems"),
    [
        ({"type": "integer"}, 1.0, []),
        ({"type": "integer"}, 1.5, ["data must be integer, not 1.5"]),
        ({"type": "integer"}, True, ["data must be integer, not True"]),
        ({"type": ["string", "null"]}, None, []),
        ({"const": 1}, True, ["data must be 1, not True"]),
        ({"minimum": 1, "maximum": 3}, 0, ["data is 0, must be at least 1"]),
        ({"maxLength": 2}, "abc", ["data has 3 characters, must be at most 2"]),
        ({"minItems": 1}, [], ["data has 0 items, must be at least 1"]),
        (
            {"allOf": [{"type": "string"}, {"minLength": 2}]},
            "a",
            ["data has 1 characters, must be at least 2"],
        ),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, 3, ["data must be string, not 3"]),
        ({"properties": {"a": False}}, {"a": 1}, ["data.a is not allowed"]),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}, 1, ["data must be null, not 1"]),
        ({"$ref": "https://elsewhere/x"}, 1, []),
        ({"unknown": "keyword"}, 1, []),
    ],
)
def test_a_value_is_validated_against_a_schema(schema, value, problems):
    assert schema_errors(schema, value) == problems


def test_an_infinitely_recursive_schema_reports_an_error():
    assert schema_errors({"$ref": "#"}, 1) == ["data is nested too deeply"]


sources = st.builds(Source, st.text(), st.none() | st.integers(-(2**53), 2**53))
claims = st.builds(
    Claim,
    st.text(),
    st.floats(0, 1),
    st.sampled_from(["fact", "opinion"]),
    st.lists(sources, max_size=3),
    st.sampled_from(Mood),
    st.lists(st.text(), max_size=3).map(tuple),
    st.dictionaries(st.text(), st.floats(0, 1), max_size=3),
    st.none() | st.dates(),
)


def as_json(instance, attribute, value):
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, date) else value


@given(claims)
def test_every_instance_matches_its_schema_and_survives_a_round_trip(claim):
    data = attrs.asdict(claim, value_serializer=as_json)
    data["tags"] = list(data["tags"])

    assert schema_errors(schema_of(Claim), data) == []
    assert structure(Claim, data) == claim


def test_a_choice_has_the_type_of_its_values_which_some_servers_need() -> None:
    assert schema_of(Literal["a", 1, None]) == {
        "type": ["string", "integer", "null"],
        "enum": ["a", 1, None],
    }


@attrs.frozen
class Note:
    text: str = attrs.field(metadata=json_schema(maxLength=3))
    tags: list[str] = attrs.field(factory=list, metadata=json_schema(maxItems=1))


def test_a_field_may_have_further_keywords_in_the_schema() -> None:
    assert schema_of(list[Note])["items"]["properties"] == {
        "text": {"type": "string", "maxLength": 3},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 1},
    }
