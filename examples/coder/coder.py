"""A coding agent: it reads, writes and tests the files of its workspace. A person approves writes."""

import re
import subprocess
import sys

from kando import Kit, ToolContext
from kando.responders.policies import Ask

kit = Kit("coder", version="0.1.0")


@kit.tool(effect="read")
def read_files(ctx: ToolContext, pattern: str = "**/*.py") -> dict[str, str]:
    """Return the files of the project whose paths match a pattern."""
    found = sorted(ctx.workspace_path(each) for each in ctx.workspace.glob(pattern))
    paths = [each for each in found if each.is_file()]
    return {str(each.relative_to(ctx.workspace)): each.read_text() for each in paths}


@kit.tool(effect="idempotent")
def write_file(ctx: ToolContext, path: str, text: str) -> str:
    """Replace a file of the project, or add one."""
    ctx.workspace_path(path).write_text(text)
    return f"wrote {path}"


@kit.tool(effect="idempotent")
def run_tests(ctx: ToolContext) -> str:
    """Run the tests of the project, and return what they print."""
    command = [sys.executable, "-B", "-m", "unittest"]
    done = subprocess.run(command, cwd=ctx.workspace, capture_output=True, text=True)
    return re.sub(r" in [\d.]+s", "", done.stderr).replace(str(ctx.workspace), ".")[-4000:]


@kit.policy
def on_call(call):
    return Ask("It writes a file.") if call.data["tool"] == "write_file" else None


kit.conversation(
    system="You change the files of a project until its tests pass. Say at the end what you changed."
)
