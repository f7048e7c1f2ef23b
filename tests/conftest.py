"""How examples are searched for on any machine, and what a test must leave as it found it."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# In the environments of tox the tests run again, on wheels and on old libraries: fewer examples do.
settings.register_profile(
    "kando",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=30 if "TOX_ENV_NAME" in os.environ else 100,
)
settings.load_profile("kando")

# A command that takes long on a busy machine must not add lines to what a test reads.
os.environ.setdefault("KANDO_QUIET", "1")

#: Variables that pytest sets for each test, and that gRPC's users set once when they are imported.
_SET_BY_OTHERS = ("PYTEST_CURRENT_TEST", "GRPC_DNS_RESOLVER")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: run at the end, it would leave the other processors idle."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Fail a test that leaves variables behind: the tests after it would depend on the order."""
    before = _environment()

    yield

    assert _environment() == before


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _SET_BY_OTHERS}
