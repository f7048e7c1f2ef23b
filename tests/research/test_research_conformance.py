"""The research kit passes the conformance suite for kits."""

from kando.kit import Kit
from kando.testing.kits import KitContract
from kits.research.kit import kit


class TestResearch(KitContract):
    goal = "Understand AI safety"

    def make_kit(self) -> Kit:
        return kit
