"""kando-eventstore registers as a plugin, and is honest about what it cannot do yet."""

import pytest

from kando.errors import StoreError
from kando.plugins import Plugins


@pytest.mark.parametrize("scheme", ["esdb", "kurrentdb", "http", "https"])
def test_the_schemes_of_a_cluster_belong_to_it(scheme: str) -> None:
    offered = Plugins(environ={}).substrate(scheme)

    assert offered.distribution == "kando-eventstore"


def test_opening_a_cluster_is_refused_without_showing_its_password() -> None:
    plugins = Plugins(environ={})
    open_eventstore = plugins.resolve(plugins.substrate("esdb"))

    with pytest.raises(StoreError, match="example") as caught:
        open_eventstore("esdb://admin:changeit@example:2113")

    assert "changeit" not in str(caught.value)
    assert "--ledger" in str(caught.value)
