"""How examples are searched for on any machine, and what a test must leave as it found it."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("kando", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kando")


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Fail a test that leaves variables behind: the tests after it would depend on the order."""
    before = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}

    yield

    after = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    assert after == before
