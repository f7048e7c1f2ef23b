"""Structured output: the schema of a class, and what of an answer fits it."""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.errors import ConfigurationError, InvalidData
from kando.responders._schema_errors import misfits
from kando.responders.structured import schema_of, structure


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@attrs.frozen
class Source:
    """Where something is said.

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


def test_a_schema_says_what_a_class_takes():
    schema = schema_of(Claim)

    assert schema["required"] == ["text", "confidence", "kind", "sources"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {
        "text": {"type": "string"},
        "confidence": {"type": "number"},
        "kind": {"enum": ["fact", "opinion"]},
        "sources": {
            "type": "array",
            "items": {
                "type": "object",
                "description": "Where something is said.",
                "properties": {
                    "path": {"type": "string"},
                    "page": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                },
                "required": ["path"],
                "additionalProperties": False,
            },
        },
        "mood": {"enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "scores": {"type": "object", "additionalProperties": {"type": "number"}},
        "said_on": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "extra": {},
    }


def test_a_class_that_holds_itself_has_a_schema_with_a_definition():
    schema = schema_of(Node)

    assert schema["$ref"] == "#/$defs/Node"
    leaf = {"name": "leaf", "children": []}
    assert misfits(schema, {"name": "root", "children": [leaf]}) == []
    assert misfits(schema, {"name": "root", "children": [{"name": 1, "children": []}]}) == [
        "data.children[0].name must be string, not 1"
    ]


@pytest.mark.parametrize("kind", [complex, tuple[int, str], dict[int, str]])
def test_what_has_no_json_form_has_no_schema(kind):
    with pytest.raises(ConfigurationError, match="has no JSON Schema"):
        schema_of(kind)


def test_what_fits_becomes_the_class():
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
def test_what_does_not_fit_is_refused_with_the_field(change, problem):
    with pytest.raises(InvalidData, match=problem):
        structure(Claim, {**CLAIM, **change})
    assert misfits(schema_of(Claim), {**CLAIM, **change}) or "said_on" in change


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(InvalidData, match="The data is no Claim"):
        structure(Claim, data)


@pytest.mark.parametrize(
    ("schema", "value", "problems"),
    [
        ({"type": "integer"}, 1.0, []),
        ({"type": "integer"}, 1.5, ["data must be integer, not 1.5"]),
        ({"type": "integer"}, True, ["data must be integer, not True"]),
        ({"type": ["string", "null"]}, None, []),
        ({"const": 1}, True, ["data must be 1, not True"]),
        ({"minimum": 1, "maximum": 3}, 0, ["data is 0, at least 1 wanted"]),
        ({"maxLength": 2}, "abc", ["data has 3 characters, at most 2 wanted"]),
        ({"minItems": 1}, [], ["data has 0 items, at least 1 wanted"]),
        (
            {"allOf": [{"type": "string"}, {"minLength": 2}]},
            "a",
            ["data has 1 characters, at least 2 wanted"],
        ),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, 3, ["data must be string, not 3"]),
        ({"properties": {"a": False}}, {"a": 1}, ["data.a is not allowed"]),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}, 1, ["data must be null, not 1"]),
        ({"$ref": "https://elsewhere/x"}, 1, []),
        ({"unknown": "keyword"}, 1, []),
    ],
)
def test_a_value_is_held_against_a_schema(schema, value, problems):
    assert misfits(schema, value) == problems


def test_a_schema_without_end_comes_to_one():
    assert misfits({"$ref": "#"}, 1) == ["data is nested too deeply"]


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
def test_every_instance_fits_its_schema_and_comes_back_as_it_was(claim):
    data = attrs.asdict(claim, value_serializer=as_json)
    data["tags"] = list(data["tags"])

    assert misfits(schema_of(Claim), data) == []
    assert structure(Claim, data) == claim
