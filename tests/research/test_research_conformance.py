"""The research kit keeps what every kit promises."""

from kando.kit import Kit
from kando.testing.kits import KitContract
from kits.research.kit import kit


class TestResearch(KitContract):
    goal = "Understand AI safety"

    def make_kit(self) -> Kit:
        return kit
