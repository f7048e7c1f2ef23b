"""A chat that remembers: the model keeps notes with a tool, and a person allows each of them."""

from kando import Kit
from kando.responders.policies import Ask

kit = Kit("notes", version="1")


@kit.tool(effect="idempotent")
def remember(note: str) -> str:
    """Keep a note."""
    with open("notes.txt", "a") as notes:
        notes.write(f"{note}\n")
    return "kept"


@kit.policy
def ask_first(intent):
    return Ask("it is written to notes.txt")


kit.conversation(system="You keep the notes of a person. Be brief.")
