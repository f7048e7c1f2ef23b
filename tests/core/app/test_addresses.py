"""Names of runs: which run a name selects."""

from __future__ import annotations

import pytest

from kando.app.addresses import Address, new_ledger_id, parse_address, resolve_ledger_id
from kando.errors import AmbiguousName, LedgerNotFound, PositionOutOfRange
from kando.ledger.memory import MemorySubstrate
from kando.ledger.substrate import Substrate, check_ledger_id
from kando.schema.events import make_event


@pytest.fixture
def substrate() -> Substrate:
    """Return a substrate with three runs."""
    substrate = MemorySubstrate()
    for id in ("k3abc", "k3abd", "zebra"):
        substrate.create(id).append([make_event("note", "", "cli", [], {})])
    # A process was killed before it recorded anything.
    substrate.create("8877")
    return substrate


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("k3abc", Address("k3abc")),
        ("k3abc@0", Address("k3abc", 0)),
        ("k3abc@12", Address("k3abc", 12)),
        ("@last", Address("@last")),
        ("@last~2", Address("@last~2")),
        ("@last@3", Address("@last", 3)),
        ("@last~2@3", Address("@last~2", 3)),
    ],
)
def test_an_address_is_a_run_and_optionally_a_position(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["k3abc@", "k3abc@x", "k3abc@-1", "k3abc@1.5", "k3abc@" + "9" * 99]
)
def test_the_part_after_the_at_sign_must_be_a_position(text: str) -> None:
    with pytest.raises(PositionOutOfRange, match="position from 0"):
        parse_address(text)


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("k3abc", "k3abc"),
        ("z", "zebra"),
        ("k3abd", "k3abd"),
        ("@last", "zebra"),
        ("@last~0", "zebra"),
        ("@last~2", "k3abc"),
    ],
)
def test_a_run_is_selected_by_its_id_a_unique_prefix_or_its_age(
    substrate: Substrate, name: str, id: str
) -> None:
    assert resolve_ledger_id(substrate, name) == id


def test_a_whole_id_selects_its_run_even_if_it_is_the_prefix_of_another(
    substrate: Substrate,
) -> None:
    substrate.create("zebra2")

    assert resolve_ledger_id(substrate, "zebra") == "zebra"


def test_a_prefix_of_several_runs_lists_them(substrate: Substrate) -> None:
    with pytest.raises(AmbiguousName, match="k3abc, k3abd"):
        resolve_ledger_id(substrate, "k3")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("zebar", "Did you mean zebra?"),
        ("dmeo", "Did you mean demo?"),
        ("q", "`kando runs`"),
        ("", "`kando runs`"),
        ("@last~3", "`kando runs`"),
        ("@last~x", "`kando runs`"),
    ],
)
def test_the_error_for_an_unknown_run_suggests_a_similar_one_or_the_list(
    substrate: Substrate, name: str, says: str
) -> None:
    with pytest.raises(LedgerNotFound, match=says.replace("?", r"\?")):
        resolve_ledger_id(substrate, name)


def test_new_ids_are_accepted_by_substrates_and_by_addresses() -> None:
    ids = {new_ledger_id() for _ in range(500)}

    assert len(ids) == 500
    for id in ids:
        assert check_ledger_id(id) == id
        assert parse_address(id) == Address(id)
        assert id[0].isalpha()
