"""A kit that keeps every promise passes its conformance suite."""

from kando.kit import Kit
from kando.testing.kits import KitContract
from sample_kit import sample_kit


class TestSampleKit(KitContract):
    goal = "Ada"
    is_installed = False

    def make_kit(self) -> Kit:
        return sample_kit()
