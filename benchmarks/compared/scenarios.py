"""The scenarios: each runs a coder against the scripted model and returns rows of the table."""

from __future__ import annotations

import ast
import io
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from coders import HERE, Coder, Place, Seen
from model import ENDLESS, FIX, WRONG, Model

__all__ = ["SCENARIOS", "Rows", "lines_of"]

#: Cells of one column, by the name of the row.
Rows = dict[str, str]

_GOAL = "Mend calc.py"
_CALLS_OF_FIX = ("read_file", "run_tests", "write_file", "run_tests")


@contextmanager
def _place(model: Model) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="kando-coder-") as base:
        place = Place(Path(base), model.url)
        place.prepare()
        yield place


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            msg = "The coder did not reach the point at which it is killed."
            raise RuntimeError(msg)
        time.sleep(0.02)


def _to_the_end(coder: Coder, place: Place, seen: Seen) -> Seen:
    """Approve what is asked until the run ends."""
    while seen.waiting:
        seen = coder.do(place, "approve", run=seen.run)
    return seen


def lines_of(path: Path) -> int:
    """Count the lines of a file that have code: no blank lines, comments and docstrings."""
    text = path.read_text()
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - documented)


_NO_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def lines(coder: Coder, model: Model) -> Rows:
    """Count the lines that a person writes."""
    driver = coder.driver
    return {
        "lines of the agent": str(lines_of(HERE / coder.agent)),
        "lines to start, resume, decide and fork it from a shell": (
            str(lines_of(HERE / driver)) if driver else "0, they are commands"
        ),
    }


def killed_in_a_model_call(coder: Coder, model: Model) -> Rows:
    """Kill the process while the model works on its second answer."""
    with _place(model) as place:
        model.reset(FIX, held=1)
        process = coder.begin(place, "start", _GOAL)
        _until(model.is_holding.is_set)
        process.kill()
        process.wait()
        model.release()
        seen = _to_the_end(coder, place, coder.do(place, "resume"))
        return {"kill -9 in a model call": _work(coder, place, model, seen)}


def killed_in_a_tool_call(coder: Coder, model: Model) -> Rows:
    """Kill the process while the tests run."""
    with _place(model) as place:
        model.reset(FIX)
        place.hold.write_text("run_tests")
        process = coder.begin(place, "start", _GOAL)
        _until(lambda: "run_tests" in place.calls())
        process.kill()
        process.wait()
        place.hold.unlink()
        seen = _to_the_end(coder, place, coder.do(place, "resume"))
        return {"kill -9 in a tool call": _work(coder, place, model, seen)}


def _work(coder: Coder, place: Place, model: Model, seen: Seen) -> str:
    calls = len(place.calls())
    is_mended = _edit_in(coder.files(place, seen.run)) == "the right edit"
    ends = "tests pass" if is_mended else "not mended"
    return (
        f"{len(model.asked)} model calls ({len(FIX)} needed), "
        f"{calls} tool calls ({len(_CALLS_OF_FIX)} needed), {ends}"
    )


def killed_after_a_write(coder: Coder, model: Model) -> Rows:
    """Kill the process when a write is made and its result is not yet recorded."""
    with _place(model) as place:
        model.reset(FIX)
        place.hold.write_text("write_file")
        coder.do(place, "start", _GOAL)
        process = coder.begin(place, "approve")
        _until(lambda: "write_file" in place.calls())
        process.kill()
        process.wait()
        place.hold.unlink()
        seen = coder.do(place, "resume")
        again = "asked again" if seen.waiting else "not asked again"
        _to_the_end(coder, place, seen)
        writes = place.calls().count("write_file")
        return {"kill -9 after an approved write": f"written {writes} times, {again}"}


def forked(coder: Coder, model: Model) -> Rows:
    """Fork a run that has ended before the model's wrong edit, which the model does not repeat."""
    with _place(model) as place:
        model.reset(WRONG)
        original = _to_the_end(coder, place, coder.do(place, "start", _GOAL))
        before = len(place.calls())
        model.reset(FIX)
        fork = coder.do(place, "fork", "2")
        begins = _edit_in(coder.files(place, fork.run))
        end = _to_the_end(coder, place, fork)
        calls = len(place.calls()) - before
        mended = _edit_in(coder.files(place, end.run)) == "the right edit"
        kept = coder.do(place, "status", run=original.run)
        return {
            "fork before a wrong edit": (
                f"{len(model.asked)} model calls (3 needed), {calls} tool calls (2 needed), "
                f"{'tests pass' if mended else 'not mended'}"
            ),
            "files that the fork starts with": begins,
            "files of the original after the fork": _edit_in(coder.files(place, original.run)),
            "last words of the original after the fork": f"“{kept.text}”",
        }


def _edit_in(folder: Path) -> str:
    text = (folder / "calc.py").read_text()
    return {"+": "the right edit", "*": "the wrong edit"}.get(
        text.split()[-2], "as before the edit"
    )


def denied(coder: Coder, model: Model) -> Rows:
    """Deny a write, after the process that asked has ended; the process that continues is killed."""
    with _place(model) as place:
        model.reset([*FIX[:3], "Then I leave it."], held=3)
        coder.do(place, "start", _GOAL)
        waiting = coder.do(place, "status").waiting
        process = coder.begin(place, "deny")
        _until(model.is_holding.is_set)
        process.kill()
        process.wait()
        model.release()
        seen = coder.do(place, "resume")
        coder.do(place, "resume")
        writes = place.calls().count("write_file")
        again = "asked again" if seen.waiting else "not asked again"
        return {
            "pending approval after the process ended": "pending" if waiting else "lost",
            "denied, then kill -9 and two restarts": f"written {writes} times, {again}",
            "what the model reads of the denial": f"“{model.last_result}”",
        }


def limited(coder: Coder, model: Model) -> Rows:
    """Have a model that does not end use up the budget of 8 calls."""
    with _place(model) as place:
        model.reset(ENDLESS)
        seen = coder.do(place, "start", _GOAL)
        at_once = f"{len(model.asked)} model calls, then {seen.state}"
    with _place(model) as place:
        model.reset(ENDLESS, held=5)
        process = coder.begin(place, "start", _GOAL)
        _until(model.is_holding.is_set)
        process.kill()
        process.wait()
        model.release()
        coder.do(place, "resume")
        killed = len(model.asked)
        coder.do(place, "resume")
        more = len(model.asked) - killed
    return {
        "budget of 8 model calls": at_once,
        "the same, kill -9 in the sixth": f"{killed} model calls; {more} more after a second restart",
    }


def shared(coder: Coder, model: Model) -> Rows:
    """Have three tasks use one budget of 8 calls at the same time."""
    with _place(model) as place:
        model.reset(ENDLESS)
        model.is_together = True
        coder.do(place, "three", _GOAL)
        model.is_together = False
        return {"budget of 8 for three tasks at once": f"{len(model.asked)} model calls"}


#: The scenarios, in the order of the rows.
SCENARIOS: Mapping[str, Callable[[Coder, Model], Rows]] = {
    "lines": lines,
    "kill-model": killed_in_a_model_call,
    "kill-tool": killed_in_a_tool_call,
    "kill-write": killed_after_a_write,
    "fork": forked,
    "denial": denied,
    "budget": limited,
    "parallel": shared,
}
