"""A naive interpreter of SPEC and DESIGN: what is true of a run, from its events alone.

It shares no code with Kando and imports nothing from it. Events are dicts as ``kando events --json``
prints them, kits are the dicts of `programs`. Each function reads the whole ledger each time: slow,
and short enough to be checked against the text by reading. The comments name the rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]
Kit = Mapping[str, Any]
Firing = tuple[str, str]

ANSWER_OF = {
    "llm.request": "llm.response",
    "tool.called": "tool.returned",
    "person.asked": "person.replied",
    "run.requested": "run.ended",
}
ANSWERS = frozenset(ANSWER_OF.values())
CONTROL = {"run.paused": "paused", "run.cancelled": "cancelled", "run.resumed": None}
LABELLED = "run.labelled"
BOOKKEEPING = frozenset({"responder.fired", "responder.completed", "responder.failed"})
NOT_CALLED = frozenset({"Denied", "InvalidArguments", "UnknownTool"})


# -- intents, timers, halt (DESIGN 3 and 4) -------------------------------------------------------


def is_answer(event: Event) -> bool:
    """Only an executor, a person or another program answers; a bystander's event says so."""
    return event["type"] in ANSWERS and event["data"].get("answers") is not False


def answers_to(events: Sequence[Event], intent: str) -> list[str]:
    """Return the ids of the answers to an intent: DESIGN 3 allows one."""
    asked = next((e for e in events if e["id"] == intent and e["type"] in ANSWER_OF), None)
    if asked is None:
        return []
    kind = ANSWER_OF[asked["type"]]
    return [e["id"] for e in events if e["type"] == kind and is_answer(e) and intent in e["cause"]]


def open_intents(events: Sequence[Event]) -> list[str]:
    """Return the intents whose executor has neither answered nor parked them, in order."""
    found: dict[str, str] = {}
    for event in events:
        kind, data = event["type"], event["data"]
        if kind in ANSWER_OF:
            found[event["id"]] = ANSWER_OF[kind]
        elif is_answer(event):
            for id in event["cause"]:
                if found.get(id) == kind:
                    del found[id]
        elif kind == "responder.failed" and data["outcome"] == "parked" and data.get("call"):
            found.pop(data.get("intent", data["trigger"]), None)
    return list(found)


def open_timers(events: Sequence[Event]) -> list[str]:
    """Return the timers that have not fired, in order."""
    fired = {id for e in events if e["type"] == "timer.fired" for id in e["cause"]}
    return [e["id"] for e in events if e["type"] == "timer.set" and e["id"] not in fired]


def halted(events: Sequence[Event]) -> str | None:
    """Return ``paused`` or ``cancelled``, until the run is resumed; a branch starts unhalted."""
    state = None
    for event in events:
        if event["type"] in CONTROL or event["type"] == "branch.created":
            state = CONTROL.get(event["type"])
    return state


def labels(events: Iterable[Event]) -> dict[str, str]:
    """Return the labels of a run: the last value of each name, unless it is null."""
    found: dict[str, Any] = {}
    for event in events:
        if event["type"] == LABELLED:
            found |= event["data"]["labels"]
    return {name: value for name, value in found.items() if value is not None}


# -- money (DESIGN 3) -----------------------------------------------------------------------------


def spent(events: Iterable[Event]) -> dict[str, float]:
    """Return what answers and failures of executors cost.

    An event that answers nothing is free, and so is the answer of a person or another program: no
    call was made for it, and no firing with ``"call": true`` contains it.
    """
    sums: dict[str, float] = dict.fromkeys(
        ("llm_calls", "llm_tokens", "llm_cost_usd", "llm_unpriced", "tool_calls"), 0
    )
    in_call = False
    for event in events:
        data = event["data"]
        if event["type"] == "responder.fired":
            in_call = data.get("call") is True
        elif event["type"] == "responder.completed":
            in_call = False
        is_failure = event["type"] == "responder.failed" and bool(data.get("call"))
        if is_answer(event) and in_call and "by" not in data:
            error = data.get("error") or {}
            if data.get("cached") is True or error.get("type") in NOT_CALLED:
                continue
            if event["type"] == "tool.returned":
                sums["tool_calls"] += 1
                continue
            if event["type"] == "run.ended":
                # A child run is charged with what it used; those of programs use nothing.
                continue
            sums["llm_calls"] += 1
            is_free = "error" in data and "cost_usd" not in data
        elif is_failure and "usage" in data:
            is_free = False
        else:
            continue
        cost = data.get("cost_usd")
        sums["llm_cost_usd"] += cost or 0
        sums["llm_unpriced"] += cost is None and not is_free
        usage = data.get("usage")
        if usage:
            sums["llm_tokens"] += usage["input_tokens"] + usage["output_tokens"]
        else:
            sums["llm_tokens"] += -(-len(data.get("text", "").encode()) // 4)
    return sums


def limits(events: Iterable[Event]) -> dict[str, float]:
    """Return the limits that the run was given last, by name."""
    found: dict[str, float] = {}
    for event in events:
        if event["type"] == "budget.set":
            found = event["data"]["limits"]
    return found


def above(events: Sequence[Event], limits: Mapping[str, float], forked: int = 0) -> list[str]:
    """Return the limits that a run has passed (DESIGN 1: a limit is a limit).

    Args:
        events: of the ledger.
        limits: by name.
        forked: number of events that forks have recorded, which do not count.
    """
    used = spent(events)
    # No limit forbids a person to pause, resume, cancel or label.
    free = {"budget.exhausted", LABELLED, *CONTROL}
    counted_events = [e for e in events if e["type"] not in free]
    # Nor does one keep what an attempt used out of the account.
    while counted_events and _used_by_attempt(counted_events[-1]):
        counted_events.pop()
    used["events"] = len(counted_events) - forked
    counted = ("events", "llm_calls", "llm_cost_usd", "llm_tokens", "tool_calls")
    return [each for each in counted if used[each] > limits.get(f"max_{each}", used[each])]


def _used_by_attempt(event: Event) -> bool:
    return event["type"] == "responder.failed" and "usage" in event["data"]


def why_not_asked(line: Sequence[Sequence[Event]], text: str) -> str | None:
    """Return why a model must not be asked: the line of descent holds the answer (DESIGN 5).

    Args:
        line: the ledgers of the run and of those that it descends from.
        text: that is asked.
    """
    for events in line:
        asked = {e["id"] for e in events if e["type"] == "llm.request" and text_of(e) == text}
        for event in events:
            is_kept = event["type"] == "llm.response" and is_answer(event)
            is_kept = is_kept and "error" not in event["data"] and event["actor"] == "llm"
            if is_kept and asked & set(event["cause"]):
                return f"{event['id']} of {event['source']} is the answer to an equal request"
    return None


def text_of(request: Event) -> str:
    """Return the text of a request; that of a conversation is all that it has."""
    data = request["data"]
    if "conversation" in data:
        return json.dumps([data["messages"], data["conversation"].get("compacts")])
    content = data["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return " ".join(each.get("text") or f"{each['type']} {len(each['data'])}" for each in content)


# -- conversations --------------------------------------------------------------------------------


def talk_faults(events: Sequence[Event], responder: str) -> list[str]:
    """Return what is wrong with the requests of a conversation.

    Each holds every turn that was handled before it, once and in order, as far as no compaction has
    replaced it; and a call of a tool is followed by its result.

    Args:
        events: of the ledger.
        responder: that takes the turns.
    """
    messages = [e for e in events if e["type"] == "human.message"]
    said = {e["id"]: _turn(e["data"].get("content", e["data"]["text"])) for e in messages}
    turns: list[str] = []
    gone: list[str] = []
    faults: list[str] = []
    for event in events:
        data, kind = event["data"], event["type"]
        if kind == "responder.fired" and data["responder"] == responder:
            turns += [said[data["trigger"]]]
        elif kind == "conversation.compacted":
            gone += said_in(data["replaced"], said.values())
        elif kind == "llm.request" and "conversation" in data:
            if "compacts" not in data["conversation"]:
                found = list(dict.fromkeys([*gone, *said_in(data["messages"], said.values())]))
                if found != turns:
                    faults.append(f"{event['id']} has {found}, not {turns}")
            if not has_whole_calls(data["messages"]):
                faults.append(f"{event['id']} has calls without results")
    waiting = [e for e in events if e["id"] in open_intents(events) and "conversation" in e["data"]]
    asked = [e["id"] for e in waiting if e["type"] == "llm.request"]
    return faults if len(asked) <= 1 else [*faults, f"{asked} are open at once"]


def said_in(messages: Iterable[Mapping[str, Any]], said: Iterable[str]) -> list[str]:
    """Return the turns of people among messages."""
    known = set(said)
    found = [_turn(m["content"]) for m in messages if m["role"] == "user"]
    return [turn for turn in found if turn in known]


def _turn(content: Any) -> str:
    """Return what a person said: a text, or a text with images and files as JSON."""
    return content if isinstance(content, str) else json.dumps(content, sort_keys=True)


def has_whole_calls(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether each call of a tool is directly followed by its result."""
    wanted: list[str] = []
    for each in messages:
        if each["role"] == "tool":
            if each["tool_call_id"] not in wanted:
                return False
            wanted.remove(each["tool_call_id"])
        elif wanted:
            return False
        else:
            wanted = [call["id"] for call in each.get("tool_calls", ())]
    return not wanted


def talk_due(events: Sequence[Event], responder: str) -> set[Firing]:
    """Return the firings in which a conversation takes the turns of people."""
    return {(e["id"], responder) for e in events if e["type"] == "human.message"}


# -- the kit at work, and what waits for a person -------------------------------------------------


def kit_at_work(events: Iterable[Event]) -> tuple[str, str] | None:
    """Return name and version of the kit that worked last."""
    found = None
    for event in events:
        if event["type"] == "kit.loaded":
            found = event["data"]["name"], event["data"]["version"]
    return found


def open_approvals(events: Sequence[Event]) -> list[str]:
    """Return the approvals that wait for a person: neither decided nor answered otherwise."""
    waiting: dict[str, str | None] = {}
    for event in events:
        if event["type"] == "approval.requested":
            waiting[event["id"]] = event["data"].get("intent")
        elif event["type"] in ("approval.granted", "approval.denied"):
            waiting.pop(event["data"].get("approval", ""), None)
        elif is_answer(event):
            waiting = {id: about for id, about in waiting.items() if about not in event["cause"]}
    return list(waiting)


def decision_on(events: Sequence[Event], source: str, intent: str) -> str | None:
    """Return what one ledger says of an intent: ``asked``, ``granted``, ``denied`` or None.

    A grant counts in the ledger in which it was given. A denial is final (DESIGN 3).
    """
    asked: set[str] = set()
    verdict = None
    for event in events:
        data = event["data"]
        if event["type"] == "approval.requested" and data.get("intent") == intent:
            asked.add(event["id"])
            verdict = verdict or "asked"
        elif event["type"] == "approval.granted" and data.get("approval") in asked:
            if event["source"] == source and verdict != "denied":
                verdict = "granted"
        elif event["type"] == "approval.denied" and data.get("approval") in asked:
            verdict = "denied"
    return verdict


def verdict_of(kit: Kit, event: Event) -> str:
    """Return the strictest of a kit's policies on an event: ``allow``, ``ask`` or ``deny``."""
    order = ("allow", "ask", "deny")
    verdict = "allow"
    for policy in kit["policies"]:
        kind = event["data"].get("tool") or event["data"].get("type")
        if policy["on"] == event["type"] and policy.get("of") in (None, kind):
            verdict = max(verdict, policy["verdict"], key=order.index)
    return verdict


def why_no_call(events: Sequence[Event], source: str, intent: str, kit: Kit) -> str | None:
    """Return why a call must not be made now, or None if it may (DESIGN 3, "Before a call")."""
    asked = next((e for e in events if e["id"] == intent), None)
    if asked is None:
        return "its intent is not on disk"
    if intent not in open_intents(events):
        return "its intent is answered"
    if (state := halted(events)) is not None:
        return f"the run is {state}"
    decision = decision_on(events, source, intent)
    if decision in ("asked", "denied"):
        return f"the ledger says {decision}, and no grant"
    if decision is None and verdict_of(kit, asked) != "allow":
        return f"its policy says {verdict_of(kit, asked)}"
    return None


def passed_the_gate(events: Sequence[Event], kits: Mapping[tuple[str, str], Kit]) -> list[str]:
    """Return the objects that came in although a policy of their time asks about or denies them.

    An approved object is released in a firing about the grant. Roots are judged when they
    are sent, by the kit that is installed then; they are left out.
    """
    kind_of = {e["id"]: e["type"] for e in events}
    found, kit, trigger = [], None, ""
    for event in events:
        if event["type"] == "kit.loaded":
            kit = kits[event["data"]["name"], event["data"]["version"]]
        elif event["type"] == "responder.fired":
            trigger = event["data"]["trigger"]
        elif event["type"] == "responder.completed":
            trigger = ""
        elif event["type"] == "object.created" and kit is not None and trigger:
            is_released = kind_of[trigger] == "approval.granted"
            if not is_released and verdict_of(kit, event) != "allow":
                found.append(event["id"])
    return found


# -- the world (SPEC 3, DESIGN 6) -----------------------------------------------------------------


def world(events: Iterable[Event]) -> dict[str, dict[str, Any]]:
    """Return objects as ``[type, data]`` and relations as ``[type, source, target, data]``."""
    objects: dict[str, Any] = {}
    relations: dict[str, Any] = {}
    for event in events:
        kind, data = event["type"], event["data"]
        if kind == "object.created":
            objects[data["id"]] = [data["type"], dict(data.get("data") or {})]
        elif kind == "object.patched":
            type, old = objects[data["id"]]
            objects[data["id"]] = [type, {**old, **data["patch"]}]
        elif kind == "relation.created":
            ends = data["source_id"], data["target_id"]
            relations[data["id"]] = [data["type"], *ends, dict(data.get("data") or {})]
        elif kind == "relation.removed":
            del relations[data["id"]]
    return {"objects": objects, "relations": relations}


# -- firings (DESIGN 1 and 4) ---------------------------------------------------------------------


def firings(events: Iterable[Event]) -> list[Firing]:
    """Return the firings that the ledger holds, in order: each pair at most once."""
    return [
        (e["data"]["trigger"], e["data"]["responder"])
        for e in events
        if e["type"] == "responder.fired"
    ]


def completed(events: Iterable[Event]) -> list[Firing]:
    """Return the firings that the ledger holds as a whole."""
    return [
        (e["data"]["trigger"], e["data"]["responder"])
        for e in events
        if e["type"] == "responder.completed"
    ]


def done(events: Sequence[Event]) -> set[Firing]:
    """Return the firings that are not repeated: those completed, and those parked."""
    return {
        (e["data"]["trigger"], e["data"]["responder"])
        for e in events
        if e["type"] == "responder.completed"
        or (e["type"] == "responder.failed" and e["data"]["outcome"] == "parked")
    }


def object_type_of(event: Event, objects: Mapping[str, Any]) -> str | None:
    """Return the type of the object that an event is about."""
    data = event["data"]
    if event["type"] == "object.created":
        return str(data["type"])
    named = data.get("id" if event["type"] == "object.patched" else "cause_object_id")
    return objects[named][0] if named in objects else None


def handles(responder: Mapping[str, Any], event: Event, objects: Mapping[str, Any]) -> bool:
    """Whether a responder of a kit handles an event, in the world after it."""
    if event["type"] not in responder["on"]:
        return False
    if responder.get("relation") is not None:
        return bool(event["data"]["type"] == responder["relation"])
    wanted = responder.get("type")
    return wanted is None or object_type_of(event, objects) == wanted


def firings_due(
    events: Sequence[Event], kits: Mapping[tuple[str, str], Kit], installed: Kit
) -> Iterator[Firing]:
    """Yield the firings with outputs that a run has done when no work is left.

    A responder handles the events from the ``kit.loaded`` that brought it (DESIGN 4), and under
    each of its names the same firing is meant. One without outputs leaves nothing in the ledger.

    Args:
        events: of the ledger.
        kits: by name and version: all that have worked on it.
        installed: the kit that works on it next; it has no use for what its author has removed.
    """
    since: dict[str, int] = {}
    is_first = True
    for event in events:
        if event["type"] == "kit.loaded":
            kit = kits[event["data"]["name"], event["data"]["version"]]
            known = {each["key"] for each in kit["responders"]}
            # The first kit of a ledger handles what was put in before it.
            begin = 0 if is_first else event["position"]
            is_first = False
            since = {key: since.get(key, begin) for key in sorted(known)}
    objects: dict[str, Any] = {}
    for event in events:
        if event["type"] == "object.created":
            objects[event["data"]["id"]] = [event["data"]["type"]]
        for each in installed["responders"]:
            is_due = event["position"] >= since.get(each["key"], len(events)) and each["emits"]
            if is_due and handles(each, event, objects):
                yield event["id"], each["key"]


def fired_early(events: Sequence[Event], kits: Mapping[tuple[str, str], Kit]) -> list[Firing]:
    """Return the firings of events from before the ``kit.loaded`` that brought their responder."""
    since: dict[str, int] = {}
    is_first = True
    keys: dict[str, str] = {}
    positions: dict[str, int] = {}
    found = []
    for event in events:
        positions[event["id"]] = event["position"]
        data = event["data"]
        if event["type"] == "kit.loaded":
            kit = kits[data["name"], data["version"]]
            keys |= {each["name"]: each["key"] for each in kit["responders"]}
            known = {each["key"] for each in kit["responders"]}
            begin = 0 if is_first else event["position"]
            is_first = False
            since = {key: since.get(key, begin) for key in sorted(known)}
        elif event["type"] == "responder.fired":
            key = keys.get(data["responder"])
            if positions[data["trigger"]] < since.get(key or "", 0):
                found.append((data["trigger"], data["responder"]))
    return found
