"""The coder in Kando: a kit in a file, for `kando run ./kando_coder.py`."""

import project
from kando import Kit, ToolContext
from kando.responders.policies import Ask

kit = Kit("coder")


@kit.tool(effect="read")
def read_file(path: str, ctx: ToolContext) -> str:
    """Read a file."""
    return project.read(ctx.workspace, path)


@kit.tool(effect="write")
def write_file(path: str, content: str, ctx: ToolContext) -> str:
    """Write a file."""
    return project.write(ctx.workspace, path, content)


@kit.tool(effect="read")
def run_tests(ctx: ToolContext) -> str:
    """Run the tests."""
    return project.test(ctx.workspace)


@kit.policy
def careful(intent, world):
    return Ask("write?") if intent.data["tool"] == "write_file" else None


kit.conversation(system="Mend the code until its tests pass.")
