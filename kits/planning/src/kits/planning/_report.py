"""The texts of the kit: what requests say about tasks, and the plan as a report and as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from kando.responders.llm_responder import CONVERSATION
from kando.text.documents import passages
from kando.text.figure import Node, dot, mermaid, svg
from kando.text.markdown import one_line, plain
from kando.text.relevance import most_relevant
from kando.world.graph import World
from kits.planning._graph import attempts_at, in_order, needs, tasks_of
from kits.planning._types import Goal, Plan, Refused, Task

__all__ = [
    "artifacts_of",
    "attempts_text",
    "heading",
    "passages_text",
    "paths_text",
    "reason_of",
    "refused_text",
    "task_list",
    "task_text",
]

#: Maximum characters of a title, of an outcome in a request, and of a line of one in the report.
_TITLE_CHARS = 300
_OUTCOME_CHARS = 1_500
_LINE_CHARS = 4_000
_LABEL_CHARS = 38

#: Maximum number of documents that a request for tasks lists, and of passages in one for a result.
_MAX_PATHS = 50
_MAX_PASSAGES = 5

_COLOURS = {
    "done": "#e6f5e6",
    "failed": "#fbe6e6",
    "replaced": "#eeeeee",
    "waiting": "#fdebc8",
}


def refused_text(refused: Refused | None) -> str:
    """Return the part of a request that says why the first proposal was refused; empty without one."""
    if refused is None:
        return ""
    steps = [
        f"> {one_line(each.name, _TITLE_CHARS)}: {one_line(each.title, _TITLE_CHARS)}"
        f" (depends on: {one_line(', '.join(each.depends_on), _TITLE_CHARS) or 'nothing'})"
        for each in refused.steps
    ]
    problems = [f"- {each}" for each in refused.problems]
    shown = ["", "It was:", *steps] if steps else []
    return "\n".join(["Your first proposal was refused:", *problems, *shown])


def task_text(task: Task) -> str:
    """Return the name and the title of a task on one line."""
    return f"{one_line(task.name, _TITLE_CHARS)}: {one_line(task.title, _TITLE_CHARS)}"


def task_list(goal_id: str, world: World) -> str:
    """Return the tasks of a goal as a request shows them, each with its outcome."""
    lines = []
    for id, task in in_order(goal_id, world).items():
        lines.append(f"- {one_line(f'{task.name} ({task.status}): {task.title}', _TITLE_CHARS)}")
        lines += _quoted(_outcome_of(id, world)[:_OUTCOME_CHARS])
    return "\n".join(lines)


def attempts_text(task_id: str, world: World) -> str:
    """Return what became of the earlier attempts at a task, as a request shows it."""
    earlier = [each for each in attempts_at(task_id, world).values() if each.status != "working"]
    if not earlier:
        return "This is the first attempt."
    lines = [
        f"- {each.status}: {one_line(each.error or each.text, _TITLE_CHARS)}" for each in earlier
    ]
    return "\n".join([f"This is attempt {len(earlier) + 1}. The earlier ones:", *lines])


def paths_text(world: World) -> str:
    """Return the paths of the input documents, as a request shows them; empty without documents."""
    paths = dict.fromkeys(each.data["path"] for each in world.objects_of("Document"))
    if not paths:
        return ""
    shown = [f"> {one_line(path, _TITLE_CHARS)}" for path in [*paths][:_MAX_PATHS]]
    return "\n".join(["The work on a task sees passages of these documents:", *shown])


def passages_text(about: str, world: World) -> str:
    """Return the passages of the input documents that are relevant to a task; empty without any."""
    documents = [each.data for each in world.objects_of("Document")]
    found = [(each["path"], p.text) for each in documents for p in passages(each["text"])]
    if not found:
        return ""
    lines = ["Passages of the documents at hand:"]
    for index in most_relevant(about, [text for _, text in found], _MAX_PASSAGES):
        path, text = found[index]
        lines += [f"- {one_line(path, _TITLE_CHARS)}", *_quoted(text)]
    return "\n".join(lines)


def artifacts_of(goal_id: str, world: World) -> Iterator[Plan]:
    """Yield the plan of a goal as Markdown, as DOT and as SVG."""
    goal = world.get(Goal, goal_id)
    if goal is None:
        return
    tasks = [each for each in tasks_of(goal_id, world).values() if each.status != "replaced"]
    done = sum(each.status == "done" for each in tasks)
    status: Literal["complete", "partial", "failed"] = "partial" if done else "failed"
    if done and done == len(tasks):
        status = "complete"
    title = one_line(goal.text, _TITLE_CHARS)
    problem = None if done else one_line(goal.error or "no task was completed", _LINE_CHARS)
    nodes = [*_nodes(goal_id, world)]
    forms = {
        "plan.md": ("text/markdown", _report(goal_id, problem, (done, len(tasks)), nodes, world)),
        "plan.dot": ("text/vnd.graphviz", dot(nodes, title, _COLOURS)),
        "plan.svg": ("image/svg+xml", svg(nodes, title, {}, _COLOURS)),
    }
    for name, (media_type, lines) in forms.items():
        yield Plan(status, name, media_type, "\n".join(lines) + "\n", problem)


def _report(
    goal_id: str, problem: str | None, counts: tuple[int, int], nodes: list[Node], world: World
) -> Iterator[str]:
    goal, (done, total) = world.get(Goal, goal_id), counts
    yield f"# Plan: {plain(goal.text if goal else '', _TITLE_CHARS)}"
    yield ""
    if problem is not None:
        yield f"**Nothing was done**: {plain(problem, _LINE_CHARS)}."
        yield ""
    yield f"{done} of {total} tasks {'is' if done == 1 else 'are'} done."
    if goal is not None and goal.refused is not None:
        problems = "; ".join(goal.refused.problems)
        yield from ["", f"The first proposal was refused: {plain(problems, _LINE_CHARS)}."]
    if goal is not None and goal.left_out:
        yield from ["", "Proposed tasks that were left out:"]
        yield from _paragraph([f"- {each}" for each in goal.left_out])
    if _was_cut(goal_id, world):
        yield from [
            "",
            "The answer with the tasks was cut off at its limit of tokens: some may be missing.",
        ]
    for number, (id, task) in enumerate(in_order(goal_id, world).items(), 1):
        yield ""
        yield f"## {number}. {heading(task.name, _state(id, task, world))}"
        yield ""
        yield plain(task.title, _TITLE_CHARS)
        yield from _paragraph([f"> {each}" for each in _outcome_of(id, world).splitlines()])
        yield from _paragraph([f"- {each}" for each in _notes(id, task, world)])
    if nodes:
        drawn = mermaid(nodes, "The plan", len(nodes), _COLOURS)
        yield from ["", "## Picture", "", "```mermaid", *drawn, "```"]


def heading(name: str, state: str) -> str:
    """Return the heading of a task in the report, after its number."""
    return f"{plain(name, _LABEL_CHARS)}: {state}"


def _was_cut(goal_id: str, world: World) -> bool:
    asked = world.objects_of(CONVERSATION)
    return any(each.data.get("about") == goal_id and each.data.get("is_cut") for each in asked)


def _paragraph(lines: list[str]) -> list[str]:
    """Return lines that begin with two characters of markup, with an empty line before them."""
    shown = [f"{each[:2]}{plain(each[2:], _LINE_CHARS)}".rstrip() for each in lines]
    return ["", *shown] if shown else []


def _notes(id: str, task: Task, world: World) -> Iterator[str]:
    for number, attempt in enumerate(attempts_at(id, world).values(), 1):
        if attempt.status == "failed":
            yield f"Attempt {number} failed: {attempt.error}"
        elif attempt.status == "withdrawn":
            yield f"Attempt {number} does not count: the task was stopped or reopened."
    if task.status == "failed" and task.error:
        yield f"Failed: {task.error}"
    yield from task.notes


def _state(id: str, task: Task, world: World) -> str:
    """Return the state of a task in words, with the names of those that it waits for."""
    needed = [world.get(Task, each) for each in needs(id, world)]
    open = [each.name for each in needed if each is not None and each.status != "done"]
    if task.status == "replaced":
        return "replaced by other tasks"
    if task.status != "pending" or not open:
        return task.status
    return f"not done, waits for {plain(', '.join(open), _TITLE_CHARS)}"


def _nodes(goal_id: str, world: World) -> Iterator[Node]:
    tasks = in_order(goal_id, world)
    numbers = {id: number for number, id in enumerate(tasks, 1)}
    for id, task in tasks.items():
        kind = task.status if task.status in _COLOURS else "waiting"
        lines = (
            f"{numbers[id]}. {task.name}",
            task.title,
            "not done" if kind == "waiting" else kind,
        )
        sources = tuple(numbers[each] for each in needs(id, world) if each in numbers)
        yield Node(
            numbers[id], tuple(one_line(each, _LABEL_CHARS) for each in lines), kind, sources
        )


def _outcome_of(task_id: str, world: World) -> str:
    found = (each.text for each in attempts_at(task_id, world).values() if each.status == "done")
    return next(found, "")


def _quoted(text: str) -> list[str]:
    return [f"  > {one_line(line, _LINE_CHARS)}" for line in text.splitlines()]


def reason_of(error: Mapping[str, Any]) -> str:
    """Return in one line why a call failed."""
    said = one_line(str(error.get("message") or error.get("type") or ""), _TITLE_CHARS)
    return said or "no reason was given"
