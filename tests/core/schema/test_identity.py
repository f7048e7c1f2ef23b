"""Positions say where an event is, lineage keys say why it exists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kando.schema.identity import (
    default_event_id,
    number_of_default_id,
    object_id,
    position_of_number,
    root_key,
    step_key,
)


@given(st.text(min_size=1), st.integers(0, 10**14))
def test_the_number_of_a_default_id_can_be_parsed(type: str, position: int) -> None:
    assert number_of_default_id(default_event_id(type, position)) == position


@given(st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_heads_of_branches_are_not_counted_in_numbers(heads: set[int], position: int) -> None:
    found = sorted(heads)
    before = sum(head < position for head in found)

    if position not in heads:
        number = number_of_default_id(default_event_id("x", position, before))
        assert position_of_number(number, found) == position


@pytest.mark.parametrize("id", ["x", "x-", "x-01", "x-1a", "-", "", "x-\u0663", "x-" + "9" * 99])
def test_other_ids_have_no_number(id: str) -> None:
    assert number_of_default_id(id) is None


@given(st.text(), st.text(), st.integers(0, 9), st.integers(0, 9))
def test_different_steps_have_different_keys(trigger: str, responder: str, a: int, b: int) -> None:
    assert (step_key(trigger, responder, a) == step_key(trigger, responder, b)) == (a == b)
    assert len(step_key(trigger, responder, a)) == 32


def test_equal_roots_differ_by_their_occurrence() -> None:
    keys = {root_key("x", b"{}", n) for n in range(3)}

    assert len(keys) == 3


def test_an_object_id_is_short_lower_case_and_lengthened_on_a_collision() -> None:
    key = "0123456789abcdef0123456789abcdef"

    assert object_id("Company", key, lambda id: False) == "company-01234567"
    assert object_id("Company", key, {"company-01234567"}.__contains__) == "company-0123456789ab"
