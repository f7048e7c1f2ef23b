"""The diligence kit passes the conformance suite for kits."""

from typing import Any

from kando.kit import Kit
from kando.testing.kits import KitContract
from kits.diligence.kit import kit


class TestDiligence(KitContract):
    goal = "Evaluate Acme Corp"

    def make_kit(self) -> Kit:
        return kit

    def answer(self, request: dict[str, Any]) -> str:
        if "Claim to examine" not in request["messages"][-1]["content"]:
            return "The first holds: it is in the register."
        return (
            "Acme Corp makes anvils [1].\nCLAIM: Acme Corp was founded in 1949.\n"
            "CLAIM: Acme Corp was founded in 1952.\nCONTRADICTS: 1 2 one company is founded once"
        )
