"""Event data is exact JSON, or it is refused with the path to the value that is not."""

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.errors import InvalidData
from kando.schema.exact_json import decode, encode, exact, exact_and_encoded, sorted_encode

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Colour(StrEnum):
    RED = "red"


@given(values)
def test_json_survives_encoding_and_decoding_exactly(value: object) -> None:
    kept = exact(value)

    assert decode(encode(kept)) == value
    assert repr(decode(encode(kept))) == repr(kept)


@given(values)
def test_the_fast_and_the_careful_way_to_encode_agree(value: object) -> None:
    kept, encoded = exact_and_encoded(value)

    assert repr(kept) == repr(exact(value))
    assert encoded == encode(exact(value))


@given(st.integers(95, 110), st.booleans(), st.text(max_size=5), st.integers(0, 120))
def test_the_fast_and_the_careful_way_agree_about_depth(
    depth: int, are_objects: bool, text: str, width: int
) -> None:
    value: object = text
    for _ in range(depth):
        value = {text: value, "wide": [{}] * width} if are_objects else [value, '{["\\']

    try:
        careful = exact(value)
    except InvalidData:
        with pytest.raises(InvalidData, match="nested deeper"):
            exact_and_encoded(value)
    else:
        assert exact_and_encoded(value)[0] == careful


@given(st.dictionaries(st.text(), scalars))
def test_equal_objects_have_equal_sorted_encodings(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))

    assert sorted_encode(exact(value)) == sorted_encode(exact(backwards))


def test_tuples_become_lists_and_dates_become_strings() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    kept = exact({"t": (1, (2,)), "at": at, "on": date(2026, 1, 2), "colour": Colour.RED})

    assert kept == {
        "t": [1, [2]],
        "at": "2026-01-02T03:04:05+00:00",
        "on": "2026-01-02",
        "colour": "red",
    }
    assert type(kept["colour"]) is str


def test_the_result_shares_nothing_mutable_with_the_argument() -> None:
    given_data = {"list": [1], "object": {"a": 1}}

    kept = exact(given_data)
    given_data["list"].append(2)
    given_data["object"]["a"] = 2

    assert kept == {"list": [1], "object": {"a": 1}}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b": float("nan")}]}, "data.a[1].b"),
        ({"a": float("inf")}, "data.a"),
        ({"a": b"bytes"}, "data.a"),
        ({"a": {1, 2}}, "data.a"),
        ({"a": {"b": {3: "x"}}}, "data.a.b"),
        ({"a": Decimal("1.5")}, "data.a"),
        ({"a": 10**5000}, "data.a"),
        ({"a": object()}, "data.a"),
    ],
)
def test_a_value_without_an_exact_json_form_is_refused_with_its_path(
    value: object, path: str
) -> None:
    for refuses in (exact, exact_and_encoded):
        with pytest.raises(InvalidData) as caught:
            refuses(value)

        assert f"{path} holds" in str(caught.value)
        assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("number", [2**64, -(2**64), 10**4000, -(10**4000)])
def test_integers_of_4000_digits_are_exact(number: int) -> None:
    assert exact_and_encoded({"n": number}) == ({"n": number}, encode({"n": number}))
    assert decode(encode(exact({"n": number}))) == {"n": number}


def test_data_of_100_levels_is_accepted() -> None:
    value: list[object] = []
    for _ in range(99):
        value = [value]

    assert exact(value) == value
    assert exact_and_encoded(value)[0] == value


def test_infinite_nesting_is_refused() -> None:
    circle: list[object] = []
    circle.append(circle)

    with pytest.raises(InvalidData, match="nested deeper"):
        exact(circle)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidData, match="not Unicode"):
        encode({"a": "\ud800"})
