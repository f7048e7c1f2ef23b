"""Records are validated when they are created."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kando.errors import KandoError
from kando.plugins import CommandSpec, InvalidSpec, KitSpec, ProviderSpec, RecallSpec, SubstrateSpec


def test_a_spec_is_a_frozen_value() -> None:
    spec = KitSpec("acme", "kando_acme.kit:kit", "Acme")
    assert spec == KitSpec("acme", "kando_acme.kit:kit", summary="Acme")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("record", [KitSpec, SubstrateSpec, ProviderSpec, RecallSpec, CommandSpec])
@pytest.mark.parametrize("name", ["", "Acme", "9lives", "-acme", "ac me", "acme_1", "acme\n", None])
def test_a_malformed_name_is_refused(record: Any, name: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"is not a valid name.*Use a-z"):
        record(name, "module:attribute")


@pytest.mark.parametrize(
    "target", ["kando_acme.kit", "a:", ":b", "a b:c", "a:b c", "a..b:c", print]
)
def test_a_target_that_is_not_an_import_string_is_refused(target: Any) -> None:
    with pytest.raises(InvalidSpec, match=r'KitSpec \'acme\': target.*Write "package.module'):
        KitSpec("acme", target)


def test_a_target_may_name_an_attribute_of_an_attribute() -> None:
    assert KitSpec("acme", "a.b:C.d").target == "a.b:C.d"


def test_a_single_string_is_not_taken_as_a_list_of_letters() -> None:
    with pytest.raises(InvalidSpec, match=r"schemes 'esdb' is not a tuple.*with the comma"):
        SubstrateSpec("esdb", "a:b", "esdb")
    with pytest.raises(InvalidSpec, match="key_env 'KEY' is not a tuple"):
        ProviderSpec("acme", "a:b", "KEY")


def test_a_list_becomes_a_tuple() -> None:
    assert SubstrateSpec("x", "a:b", ["esdb", "git+ssh"]).schemes == ("esdb", "git+ssh")


def test_a_scheme_is_written_without_its_colon() -> None:
    with pytest.raises(
        InvalidSpec, match=r"schemes contains 'esdb:', which is not a valid URL scheme"
    ):
        SubstrateSpec("esdb", "a:b", ("esdb:",))


def test_a_summary_in_the_place_of_the_schemes_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="schemes"):
        SubstrateSpec("esdb", "a:b", "EventStoreDB ledgers")


def test_an_invalid_spec_is_a_kando_error_and_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a valid name") as caught:
        KitSpec("Acme", "a:b")
    assert isinstance(caught.value, KandoError)
