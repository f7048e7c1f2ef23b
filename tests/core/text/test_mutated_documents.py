"""Damaged documents of every format: none crashes or hangs the reading, and losses are named.

`make soak` draws 2,000 of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from documents import corpus
from kando.text._parser import Parser
from kando.text.documents import Extracted
from mutated_documents import check, mutated

DOCUMENTS = corpus()


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser() as parser:
        yield parser


@pytest.fixture(scope="module")
def whole(parser: Parser) -> dict[str, Extracted]:
    return {
        name: parser.parse(data, suffix=name[name.rindex(".") :])
        for name, data in DOCUMENTS.items()
    }


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(draw=st.randoms(use_true_random=False), other=st.sampled_from(sorted(DOCUMENTS)))
def test_a_damaged_document_is_read_or_refused_with_a_word(
    parser: Parser, whole: dict[str, Extracted], name: str, draw: random.Random, other: str
) -> None:
    data = mutated(DOCUMENTS[name], DOCUMENTS[other], draw)

    assert check(parser, name, data, whole[name]).faults == []
