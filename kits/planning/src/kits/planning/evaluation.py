"""The evaluation of the kit: generated goals with known tasks, and an oracle that knows their results.

The result of a task is a number that follows from the results of the tasks that it depends on. So a
task that is attempted too early, or without the results it needs, has a wrong number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from random import Random
from typing import Any

import attrs

from kando.evaluation import Case, EndedRun, Evaluation, Mistakes, Share, asked_in
from kits.planning._report import heading

__all__ = ["TrueTask", "evaluation"]

_CASES = 48

_GOALS = (
    "Reopen the footbridge of {place}",
    "Move the library of {place} into the old mill",
    "Hold the harvest fair in {place}",
    "Replace the street lamps of {place}",
    "Publish a history of {place}",
    "Start a repair workshop in {place}",
)
_PLACES = ("Eastbridge", "Millbrook", "Harrowmere", "Saint-Aubin", "Grünau", "Villarroja")
# One of them has a character that Markdown escapes, as names of models often have.
_NAMES = (
    "site_survey",
    "estimate",
    "permit",
    "funds",
    "team",
    "tools",
    "notice",
    "schedule",
    "review",
)


@attrs.frozen
class TrueTask:
    """A task of a case, and how it ends.

    Attributes:
        needs: names of the tasks that it depends on.
        failures: how many attempts at it fail.
        is_forbidden: whether it is dangerous, and a person denies it.
        obstacle: names of the tasks that its result blocks until something else is done.
        replaced_by: names of the tasks that replace it.
    """

    needs: list[str]
    failures: int = 0
    is_forbidden: bool = False
    obstacle: list[str] = attrs.field(factory=list)
    replaced_by: list[str] = attrs.field(factory=list)


Truth = dict[str, TrueTask]


def cases(seed: int) -> Iterator[Case]:
    """Yield the cases: each has another graph, and tasks that fail, are denied, or find obstacles."""
    for number in range(_CASES):
        random = Random(f"planning-{seed}-{number}")
        place = random.choice(_PLACES)
        goal = _GOALS[number % len(_GOALS)].format(place=place)
        yield Case(f"goal-{number:02}", goal, truth=_truth(random, number))


def _truth(random: Random, number: int) -> Truth:
    names = random.sample(_NAMES, 2 + number % 8)
    truth: Truth = {}
    for name in names:
        needs = random.sample([*truth], min(len(truth), random.choice((0, 1, 1, 2, 3))))
        kind = random.choice(("plain", "plain", "retried", "replaced", "forbidden", "obstacle"))
        if not truth and kind == "forbidden":
            # A plan without a done task has a problem.
            kind = "plain"
        replaced_by = [f"other {name}", f"last {name}"] if kind == "replaced" else []
        truth[name] = TrueTask(
            needs,
            {"retried": 1, "replaced": 9}.get(kind, 0),
            kind == "forbidden",
            random.sample(names, 1) if kind == "obstacle" else [],
            replaced_by,
        )
    return truth


def oracle(case: Case, request: Mapping[str, Any], mistakes: Mistakes) -> str | Mapping[str, Any]:
    """Answer a request from the truth of a case."""
    text = asked_in(request)
    task = re.search(r"^Your task is ([^:]+):", text, re.MULTILINE)
    failed = re.search(r"^The failed task is ([^:]+):", text, re.MULTILINE)
    if task is not None:
        return _work(case.truth, task[1], text, mistakes)
    if failed is not None:
        first, last = case.truth.get(failed[1], TrueTask([])).replaced_by or ["other", "last"]
        return _steps({first: TrueTask([]), last: TrueTask([first])}, mistakes)
    return _steps(case.truth, mistakes)


def _steps(truth: Truth, mistakes: Mistakes) -> str | Mapping[str, Any]:
    steps = [
        {
            "name": name,
            "title": f"See to the {name}.",
            "depends_on": task.needs,
            "is_dangerous": task.is_forbidden,
        }
        for name, task in truth.items()
    ]
    if mistakes.happens():
        last = steps[-1]
        wrong = ([last["name"]], ["nowhere"], [*truth])
        broken = [*steps[:-1], {**last, "depends_on": mistakes.random.choice(wrong)}]
        return mistakes.random.choice(
            ("First the survey, then the rest.", {"data": {"items": broken}})
        )
    return {"data": {"items": steps}}


def _work(truth: Truth, name: str, text: str, mistakes: Mistakes) -> str | Mapping[str, Any]:
    attempt = len(re.findall(r"^- (?:failed|done|withdrawn): ", text, re.MULTILINE))
    task = truth.get(name, TrueTask([]))
    if mistakes.happens():
        return mistakes.random.choice(("It is done.", _result(False, "I do not know.")))
    if len(re.findall(r"^- failed: ", text, re.MULTILINE)) < task.failures:
        return _result(False, f"The {name} is not possible yet.")
    known = dict(re.findall(r"^- ([^(\n]+) \(done\): .*\n  > RESULT (\d+)", text, re.MULTILINE))
    if missing := [each for each in _needed(truth, name) if each not in known]:
        return _result(False, f"The result of {missing[0]} is missing.")
    blocks = task.obstacle if not attempt and "obstacle" not in known else []
    obstacles = [{"title": "Clear the way.", "blocks": blocks}] if blocks else []
    return _result(True, f"RESULT {_number(truth, name)}", obstacles)


def _result(succeeded: bool, summary: str, obstacles: Any = ()) -> Mapping[str, Any]:
    data = {"succeeded": succeeded, "summary": summary, "obstacles": [*obstacles]}
    return {"data": data}


def _needed(truth: Truth, name: str) -> list[str]:
    """Return the names of the tasks whose results a task needs: the last of those that replace one."""
    return [
        truth[each].replaced_by[-1] if truth[each].replaced_by else each
        for each in truth.get(name, TrueTask([])).needs
    ]


def _number(truth: Truth, name: str) -> int:
    """Return the result of a task, which follows from those that it needs."""
    below = [_number(truth, each) for each in _needed(truth, name)]
    return int(sha256(f"{name} {sorted(below)}".encode()).hexdigest()[:6], 16)


def score(case: Case, run: EndedRun) -> Mapping[str, float | Share]:
    """Compare the tasks of a run with the truth."""
    truth: Truth = case.truth
    tasks = {each.data["name"]: each for each in run.world.objects_of("Task")}
    done = [name for name, each in tasks.items() if each.data["status"] == "done"]
    possible = [
        each
        for name, task in truth.items()
        if _is_possible(truth, name)
        for each in task.replaced_by or [name]
    ]
    failed = [name for name, each in tasks.items() if each.data["status"] == "failed"]
    report = run.artifacts.get("plan.md", "")
    return {
        "tasks done": Share(sum(name in done for name in possible), len(possible)),
        "right results": Share(
            sum(_result_of(run, tasks[name].id) == _number(truth, name) for name in done), len(done)
        ),
        "impossible tasks done": sum(
            name in truth and not _is_possible(truth, name) for name in done
        ),
        "failures reported": Share(
            sum(f". {heading(name, 'failed')}\n" in report for name in failed), len(failed)
        ),
        "reports": Share(int(bool(report)), 1),
    }


def _is_possible(truth: Truth, name: str) -> bool:
    task = truth[name]
    return not task.is_forbidden and all(_is_possible(truth, each) for each in task.needs)


def _result_of(run: EndedRun, task_id: str) -> int | None:
    outcomes = [each.data for each in run.world.targets(task_id, "produces")]
    found = (
        re.match(r"RESULT (\d+)", each["text"]) for each in outcomes if each["status"] == "done"
    )
    return next((int(each[1]) for each in found if each is not None), None)


def decide(case: Case, question: object) -> str:
    """Deny what is dangerous, as the person of the case does. The kit asks nothing else."""
    return "it costs too much"


evaluation = Evaluation(cases, oracle, score, decide)
