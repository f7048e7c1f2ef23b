"""Random programs: a kit and a schedule, as plain data, made from a seed.

A program is a dict: ``seed``, ``store`` (``memory`` or ``sqlite``), ``kit`` and ``steps``.

A kit has ``responders``, ``tools`` and ``policies``, and perhaps a ``talk``, a conversation. Each responder has a ``key`` that stays when it
is renamed, a ``name``, the types it is ``on``, the ``type`` of the object it is about, and what it
``emits``. Object types have levels: a responder only creates objects of a higher level than the one
it reacts to, so every run ends.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from typing import Any

__all__ = ["LEVELS", "Program", "edit", "generate"]

Program = dict[str, Any]

#: Object types, from the goal downwards.
LEVELS = ("T0", "T1", "T2", "T3")

#: An object type that no responder reacts to.
LEAF = "T4"

TOOLS = ("read", "mail", "look", "fail")
EFFECTS = {"read": "read", "mail": "write", "look": "read", "fail": "idempotent"}
#: Goals of child runs: what becomes of each.
CHILDREN = ("ends", "ends", "fails", "waits")

#: Kinds and sizes of the parts that requests carry. Small ones stay in the event.
MEDIA = (("image", 60), ("image", 5000), ("file", 60), ("file", 5000))

TEXTS = ("a", "b", "c", "refuse", "flaky", "flaky b")


def generate(seed: int) -> Program:
    """Return the program of a seed."""
    program = _generated(seed)
    # Long texts and growing conversations, which ledgers store in parts.
    rng = random.Random(f"parts of {seed}")
    for responder in program["kit"]["responders"]:
        for emission in responder["emits"]:
            if emission["do"] in ("create", "patch", "ask") and rng.random() < 0.3:
                emission["long"] = True
    _add_children(program)
    if not program.get("calm"):
        _add_talk(program, random.Random(f"talk of {seed}"))
    _add_media(program)
    _add_labels(program)
    if not program.get("calm"):
        _add_deletions(program)
    return program


def _add_deletions(program: Program) -> None:
    """Delete runs after the other steps, and work on what is left."""
    rng = random.Random(f"deletions of {program['seed']}")
    if rng.random() < 0.6:
        return
    for _ in range(rng.randint(1, 3)):
        deletion = {"do": "delete", "run": rng.randint(0, 3), "restores": rng.random() < 0.4}
        program["steps"].append(deletion)
        if rng.random() < 0.7:
            program["steps"].append(_step(rng, program["kit"]))


def _add_children(program: Program) -> None:
    """Have some programs start child runs, and react to their ends."""
    rng = random.Random(f"children of {program['seed']}")
    if rng.random() < 0.7:
        return
    for responder in program["kit"]["responders"]:
        if responder["on"] == ["object.created"] and rng.random() < 0.6:
            responder["emits"].append({"do": "run", "goal": rng.choice(CHILDREN)})
        elif responder["on"][0] in ("llm.response", "tool.returned") and rng.random() < 0.6:
            responder["on"].append("run.ended")


def _add_media(program: Program) -> None:
    """Send images and PDFs with some requests, and with some messages of conversations."""
    rng = random.Random(f"media of {program['seed']}")
    for responder in program["kit"]["responders"]:
        for emission in responder["emits"]:
            if emission["do"] == "ask" and rng.random() < 0.3:
                emission["media"] = [*rng.choice(MEDIA)]
    rng = random.Random(f"attachments of {program['seed']}")
    for step in program["steps"]:
        if step["do"] == "say" and rng.random() < 0.3:
            step["media"] = [*rng.choice(MEDIA)]


def _add_labels(program: Program) -> None:
    """Label the runs of some programs: at their start, between the steps, and during calls."""
    rng = random.Random(f"labels of {program['seed']}")
    # A run that was only stopped and resumed is compared with one that was not.
    if program.get("calm") or rng.random() < 0.5:
        return
    steps = program["steps"]
    if rng.random() < 0.5:
        steps[0]["labels"] = {"tenant": "a", "a/b": "1"}
    for step in steps:
        if step.get("during") and rng.random() < 0.4:
            step["during"]["send"] = "label"
    for n in range(rng.randint(1, 4)):
        changes = {"tenant": rng.choice(("a", "b", None)), f"n{n}": rng.choice((str(n), None))}
        step = {"do": "label", "run": rng.randint(0, 3), "changes": changes}
        steps.insert(rng.randint(1, len(steps)), step)


def _add_talk(program: Program, rng: random.Random) -> None:
    """Add a conversation to some kits, and messages to their schedules."""
    if rng.random() < 0.6:
        return
    program["kit"]["talk"] = {"window": rng.choice((60, 120, 128_000))}
    steps = program["steps"]
    for n in range(rng.randint(1, 5)):
        text = rng.choice(("hello", "use", "use", "refuse", "a long story " * 9))
        step = {"do": "say", "run": rng.randint(0, 3), "text": f"{text} {n}"}
        steps.insert(rng.randint(1, len(steps)), step)
    for n, step in enumerate(steps):
        if step.get("during") and rng.random() < 0.5:
            step["during"]["send"] = f"say {n}"
    steps.append({"do": "resume", "run": 0, "llm": True, "budget": None, "lifts": True})


def _generated(seed: int) -> Program:
    rng = random.Random(seed)
    kit = _kit(rng)
    if rng.random() < 0.2:
        return _calm(seed, rng, kit)
    steps: list[dict[str, Any]] = [{"do": "start", "budget": _budget(rng)}]
    for _ in range(rng.randint(2, 9)):
        steps.append(_step(rng, kit))
    if any(step["do"] == "worker" or step.get("worker") for step in steps):
        # A worker that stops when it is idle waits for every timer.
        for each in kit["responders"]:
            for emission in each["emits"]:
                if emission["do"] == "timer":
                    emission["seconds"] = 0
    return {
        "seed": seed,
        "store": "sqlite" if rng.random() < 0.2 else "memory",
        "interval": random.Random(f"interval {seed}").choice((1, 1, 5, 20, 5000)),
        "kit": kit,
        "steps": steps,
    }


def _calm(seed: int, rng: random.Random, kit: dict[str, Any]) -> Program:
    """Return a program whose run is only stopped and resumed: nothing comes from outside."""
    for each in kit["responders"]:
        if each["fails"] and each["fails"]["how"] != "park":
            each["fails"] = None
        for emission in each["emits"]:
            if emission["do"] == "timer":
                emission["seconds"] = 10**8
            elif emission["do"] == "ask" and emission["text"].startswith("flaky"):
                emission["text"] = "a"
    steps: list[dict[str, Any]] = [{"do": "start", "budget": {}, "stops": True}]
    has_timers = any(e["do"] == "timer" for each in kit["responders"] for e in each["emits"])
    while len(steps) < 6:
        step = _step(rng, kit)
        if step["do"] in ("crash", "resume", "worker", "snapshot"):
            step |= {"run": 0, "budget": None, "llm": True, "during": None}
            if not (has_timers and (step["do"] == "worker" or step.get("worker"))):
                steps.append(step)
    store = rng.choice(("memory", "sqlite"))
    return {"seed": seed, "store": store, "kit": kit, "steps": steps, "calm": True}


# -- kits -----------------------------------------------------------------------------------------


def _kit(rng: random.Random) -> dict[str, Any]:
    responders = [_responder(rng, n) for n in range(rng.randint(2, 7))]
    # The goal always leads to something.
    responders[0] |= {"on": ["object.created"], "type": "T0", "relation": None, "fails": None}
    responders[0]["emits"] = _emissions(rng, 0, may_call=True) or [_create(rng, 0)]
    return {
        "name": "model",
        "version": "1",
        "responders": responders,
        "policies": _policies(rng),
    }


def _responder(rng: random.Random, number: int) -> dict[str, Any]:
    level = min(rng.choice((0, 0, 1, 1, 2, 3)), len(LEVELS) - 1)
    on = rng.choice(
        (
            "object.created",
            "object.created",
            "object.created",
            "llm.response",
            "llm.response",
            "tool.returned",
            "object.patched",
            "llm.request",
            "tool.called",
            "person.asked",
            "person.replied",
            "timer.fired",
            "relation.created",
            "note",
        )
    )
    is_intent = on in ("llm.request", "tool.called", "person.asked")
    emits = _emissions(rng, level, may_call=on == "object.created", may_answer=is_intent)
    if on == "object.patched":
        emits = [each for each in emits if each["do"] != "patch"]
    if on == "relation.created":
        # About an object of any level, so nothing may react to what it creates.
        emits = [{"do": "create", "type": LEAF, "n": rng.randint(0, 3)}]
    responder: dict[str, Any] = {
        "key": f"r{number}",
        "name": f"model.r{number}",
        "on": [on],
        "type": None if on in ("relation.created", "note") else LEVELS[level],
        "relation": "near" if on == "relation.created" else None,
        "emits": emits,
        "fails": None,
    }
    if on == "note":
        responder["emits"] = [_create(rng, 2)]
    if rng.random() < 0.25:
        responder["fails"] = {
            "how": rng.choice(("retry", "park", "raise")),
            "times": rng.randint(1, 2),
            "spent": rng.random() < 0.3,
        }
    return responder


def _create(rng: random.Random, level: int) -> dict[str, Any]:
    above = LEVELS[level + 1 :] or LEVELS[-1:]
    emission = {"do": "create", "type": rng.choice(above), "n": rng.randint(0, 3)}
    if rng.random() < 0.3:
        emission["count"] = rng.choice(LEVELS)
    return emission


def _emissions(
    rng: random.Random, level: int, *, may_call: bool = False, may_answer: bool = False
) -> list[dict[str, Any]]:
    emits: list[dict[str, Any]] = []
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
        draw = rng.random()
        if may_answer and draw < 0.5:
            emits.append({"do": "answer"})
        elif may_call and draw < 0.3:
            emits.append({"do": "ask", "text": rng.choice(TEXTS)})
        elif may_call and draw < 0.55:
            emits.append({"do": "tool", "tool": rng.choice(TOOLS), "n": rng.randint(0, 2)})
        elif may_call and draw < 0.62:
            emits.append({"do": "timer", "seconds": rng.choice((0, 0, 10**8))})
        elif may_call and draw < 0.67:
            emits.append({"do": "question"})
        elif may_call and draw < 0.74:
            emits.append({"do": "relate"})
        elif draw < 0.82:
            emits.append({"do": "patch", "n": rng.randint(0, 3)})
        elif level + 1 < len(LEVELS):
            emits.append(_create(rng, level))
    return emits


def _policies(rng: random.Random) -> list[dict[str, Any]]:
    policies: list[dict[str, Any]] = []
    if rng.random() < 0.35:
        for _ in range(rng.randint(1, 2)):
            on = rng.choice(("tool.called", "tool.called", "llm.request", "object.created"))
            of: str | None = None
            if on == "tool.called":
                of = rng.choice((None, *TOOLS))
            elif on == "object.created":
                of = rng.choice(LEVELS[1:])
            verdict = rng.choice(("ask", "ask", "deny"))
            policies.append({"on": on, "of": of, "verdict": verdict})
    return policies


def _budget(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.75:
        return {}
    limit = rng.choice(
        (
            {"max_events": rng.randint(8, 60)},
            {"max_llm_calls": rng.randint(0, 3)},
            {"max_tool_calls": rng.randint(0, 3)},
            {"max_llm_cost_usd": rng.choice((0.25, 0.5, 1.0))},
            {"max_recursion_depth": rng.randint(1, 6)},
        )
    )
    return dict(limit)


def edit(kit: dict[str, Any], step: Mapping[str, Any]) -> None:
    """Change the responders of a kit as a step says."""
    responders, at = kit["responders"], step["which"] % len(kit["responders"])
    if step["how"] == "rename":
        old = responders[at]["name"]
        responders[at] |= {"name": f"{old}x", "was": [*responders[at].get("was", []), old]}
    elif step["how"] == "remove" and len(responders) > 1:
        del responders[at]
    elif step["how"] == "reorder":
        responders.insert(0, responders.pop(at))
    elif step["how"] == "add":
        new = copy.deepcopy(step["new"])
        if all(new["key"] != each["key"] for each in responders):
            responders.insert(at, new)


# -- schedules ------------------------------------------------------------------------------------


def _step(rng: random.Random, kit: dict[str, Any]) -> dict[str, Any]:
    do = rng.choice(
        ("resume",) * 4
        + ("crash",) * 4
        + ("fork",) * 3
        + ("decide",) * 3
        + ("worker",) * 2
        + ("edit",) * 2
        + ("send",) * 2
        + ("policy",) * 2
        + ("pause", "cancel", "mend", "snapshot", "travel", "answer")
    )
    step: dict[str, Any] = {"do": do, "run": rng.randint(0, 3)}
    if do in ("resume", "worker", "crash"):
        step["llm"] = rng.random() < 0.9
        step["budget"] = _budget(rng) if rng.random() < 0.3 else None
        step["lifts"] = rng.random() < 0.3
    if do == "resume" and rng.random() < 0.4:
        send = rng.choice(("pause", "pause", "cancel", "note", "rival", "rival"))
        step["during"] = {"call": rng.randint(1, 3), "send": send}
    if do == "crash":
        step["in"] = rng.choice(("write", "write", "call"))
        step["at"] = rng.randint(1, 12) if step["in"] == "write" else rng.randint(1, 3)
        step["after"] = rng.random() < 0.5
        step["worker"] = rng.random() < 0.15
    if do == "fork":
        step["at"] = 1.0 if rng.random() < 0.3 else rng.random()
        step["change"] = rng.choice((None, None, None, "patch", "event", "goal", "kit"))
    if do == "decide":
        step |= {"grants": rng.random() < 0.6, "which": rng.randint(0, 3)}
    if do == "send":
        step["what"] = rng.choice(("note", "note", "object", "again"))
        step["key"] = rng.choice((None, "k1"))
        step["type"] = rng.choice(LEVELS[1:])
    if do == "answer":
        step |= {"which": rng.randint(0, 3), "again": rng.random() < 0.3}
    if do == "edit":
        step["how"] = rng.choice(("rename", "remove", "reorder", "add", "add"))
        step["which"] = rng.randint(0, 6)
        step["new"] = _responder(rng, 100 + rng.randint(0, 99))
    if do == "policy":
        step["policies"] = _policies(rng)
    if do == "snapshot":
        step["how"] = rng.choice(("drop", "damage", "stale"))
        step["offset"] = rng.random()
    return step
