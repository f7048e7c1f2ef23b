"""Make a failing program smaller: drop steps, responders, emissions and policies while it fails."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

from machine import Difference, run_program
from programs import Program

__all__ = ["check_of", "failure_of", "shrunk", "text_of"]


def failure_of(program: Program) -> str | None:
    """Return the name of the check that a program fails, or None."""
    try:
        run_program(program)
    except Exception as error:
        return check_of(error)
    return None


def check_of(error: Exception) -> str:
    """Return the name of the check that a program fails with an error."""
    return error.check if isinstance(error, Difference) else type(error).__name__


def shrunk(program: Program, check: str, attempts: int = 400) -> Program:
    """Return a smaller program that fails the same check.

    Args:
        program: that fails.
        check: that it fails.
        attempts: how many programs to try at most.
    """
    is_smaller = True
    while is_smaller and attempts > 0:
        is_smaller = False
        for smaller in _smaller(program):
            attempts -= 1
            if failure_of(smaller) == check:
                program, is_smaller = smaller, True
                break
            if attempts <= 0:
                break
    return program


def _smaller(program: Program) -> Iterator[Program]:
    for index in range(len(program["steps"]) - 1, 0, -1):
        yield _without(program, ["steps"], index)
    for index in range(len(program["kit"]["responders"]) - 1, -1, -1):
        yield _without(program, ["kit", "responders"], index)
    for index in range(len(program["kit"]["policies"])):
        yield _without(program, ["kit", "policies"], index)
    for number, each in enumerate(program["kit"]["responders"]):
        for index in range(len(each["emits"]) - 1, -1, -1):
            yield _without(program, ["kit", "responders", number, "emits"], index)
        if each["fails"]:
            yield _with(program, ["kit", "responders", number], "fails", None)
    if program["store"] != "memory":
        yield _with(program, [], "store", "memory")
    for number, step in enumerate(program["steps"]):
        for name in ("budget", "during", "change"):
            if step.get(name):
                empty = {} if name == "budget" and number == 0 else None
                yield _with(program, ["steps", number], name, empty)


def _without(program: Program, path: list[str | int], index: int) -> Program:
    smaller = copy.deepcopy(program)
    place = smaller
    for part in path:
        place = place[part]  # type: ignore[index]
    del place[index]  # type: ignore[arg-type]
    return smaller


def _with(program: Program, path: list[str | int], name: str, value: object) -> Program:
    smaller = copy.deepcopy(program)
    place = smaller
    for part in path:
        place = place[part]  # type: ignore[index]
    place[name] = value
    return smaller


def text_of(program: Program) -> str:
    """Return a program as it is printed."""
    lines = [f"seed {program['seed']}, {program['store']}"]
    kit = program["kit"]
    lines += [f"  responder {json.dumps(each)}" for each in kit["responders"]]
    lines += [f"  policy {json.dumps(each)}" for each in kit["policies"]]
    lines += [f"  step {json.dumps(each)}" for each in program["steps"]]
    return "\n".join(lines)
