"""The events that a responder may emit, inferred from its source without running it.

The inference is an estimate. It finds the calls of `kando.emit` and `make_event` in the function, and
in the functions of its package that it calls, and reads event, object and relation types that are
constants.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

import attrs

from kando.schema.events import (
    LLM_REQUEST,
    OBJECT_CREATED,
    OBJECT_PATCHED,
    PERSON_ASKED,
    RELATION_CREATED,
    RELATION_REMOVED,
    RUN_REQUESTED,
    TIMER_SET,
    TOOL_CALLED,
)

__all__ = ["Emission", "emissions_of", "prompts_in"]

#: For each function of `kando.emit`, the type of its event, and whether its first argument is the
#: subject: the type of an object or relation, or the name of a tool.
_EMITTERS = {
    "create": (OBJECT_CREATED, True),
    "patch": (OBJECT_PATCHED, False),
    "relate": (RELATION_CREATED, True),
    "unrelate": (RELATION_REMOVED, False),
    "ask": (LLM_REQUEST, False),
    "ask_person": (PERSON_ASKED, True),
    "call_tool": (TOOL_CALLED, True),
    "set_timer": (TIMER_SET, False),
    "start_run": (RUN_REQUESTED, True),
}

#: Functions whose first argument is the type of the event.
_FREE = frozenset({"emit", "make_event"})

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

_CONDITIONAL = (ast.If, ast.IfExp, ast.While, ast.Try, ast.Match, ast.BoolOp, ast.comprehension)


@attrs.frozen
class Emission:
    """An event that a responder may emit.

    Attributes:
        type: of the event; None if unknown.
        subject: type of the object or relation, or name of the tool; None for any, or if unknown.
        is_certain: whether every firing emits it, as far as the source shows.
    """

    type: str | None
    subject: str | None = None
    is_certain: bool = False


_PARSING = threading.Lock()

# A SystemError: another thread, not of Kando, has parsed at the same moment (see `_body_of_code`).
_NO_SOURCE = (OSError, TypeError, SyntaxError, SystemError)


def emissions_of(fn: Callable[..., Any]) -> list[Emission] | None:
    """Return what a function may emit, without duplicates; None if its source is not available."""
    function = getattr(inspect.unwrap(fn), "__func__", fn)
    if not isinstance(function, FunctionType):
        return None
    try:
        return list(_emissions_of(function))
    except _NO_SOURCE:
        return None


# Every start of a run asks for the functions of its kit again.
@lru_cache(maxsize=4096)
def _emissions_of(function: FunctionType) -> tuple[Emission, ...]:
    found = list(_in_function(function, set(), True))
    certain = {(each.type, each.subject) for each in found if each.is_certain}
    kinds = dict.fromkeys((each.type, each.subject) for each in found)
    return tuple(Emission(type, subject, (type, subject) in certain) for type, subject in kinds)


def prompts_in(fn: Callable[..., Any]) -> list[tuple[Any, str]]:
    """Return the calls of ``kit.prompt`` in a function: the object called, and the constant name."""
    function = getattr(inspect.unwrap(fn), "__func__", fn)
    if not isinstance(function, FunctionType):
        return []
    try:
        return list(_prompts_in(function))
    except _NO_SOURCE:
        return []


@lru_cache(maxsize=4096)
def _prompts_in(function: FunctionType) -> tuple[tuple[Any, str], ...]:
    names = _names_in(function)
    calls = [call for call, _ in _calls(_body_of(function), names, True)]
    found = []
    for call in calls:
        method = call.func
        if isinstance(method, ast.Attribute) and method.attr == "prompt":
            owner = names.get(method.value.id) if isinstance(method.value, ast.Name) else None
            name = _constant(call, 0, "name", names)
            if owner is not None and name is not None:
                found.append((owner, name))
    return tuple(found)


def _in_function(fn: Any, seen: set[object], is_certain: bool) -> Iterator[Emission]:
    fn = getattr(fn, "__func__", fn)
    if fn in seen or not isinstance(fn, FunctionType):
        return
    seen.add(fn)
    names = _names_in(fn)
    for call, is_sure in _calls(_body_of(fn), names, is_certain):
        called = _called(call.func, names)
        name = getattr(called, "__name__", "")
        module = getattr(called, "__module__", "") or ""
        if module == "kando.emit" and name in _EMITTERS:
            type, has_subject = _EMITTERS[name]
            subject = _constant(call, 0, "type", names) if has_subject else None
            yield Emission(type, subject, is_sure)
        elif name in _FREE and module in ("kando.emit", "kando.schema.events"):
            yield Emission(_constant(call, 0, "type", names), None, is_sure)
        elif module.partition(".")[0] == fn.__module__.partition(".")[0] != "kando":
            yield from _in_function(called, seen, is_sure)


def _body_of(fn: FunctionType) -> list[ast.stmt]:
    return _body_of_code(fn.__code__)


@lru_cache(maxsize=4096)
def _body_of_code(code: CodeType) -> list[ast.stmt]:
    source = textwrap.dedent(inspect.getsource(code))
    # Python 3.11 counts the depth of trees in one place for all threads.
    with _PARSING:
        tree = ast.parse(source)
    wanted = ast.Lambda if code.co_name == "<lambda>" else _FUNCTIONS
    found = [node for node in ast.walk(tree) if isinstance(node, wanted)]
    if isinstance(found[0], ast.Lambda):
        # Of several lambdas in one statement it is unknown which one is meant.
        return [ast.Expr(found[0].body)] if len(found) == 1 else []
    return found[0].body


def _names_in(fn: FunctionType) -> dict[str, Any]:
    closed = inspect.getclosurevars(fn)
    return {**fn.__globals__, **closed.nonlocals}


def _calls(
    body: list[ast.stmt], names: dict[str, Any], is_certain: bool
) -> Iterator[tuple[ast.Call, bool]]:
    """Yield the calls in a body, and whether each is made whenever the body runs."""
    for statement in body:
        yield from _calls_in(statement, names, is_certain)
        # After a statement that may leave the function, calls are no longer certain.
        if any(isinstance(node, ast.Return | ast.Raise) for node in ast.walk(statement)):
            is_certain = False


def _calls_in(
    node: ast.AST, names: dict[str, Any], is_certain: bool
) -> Iterator[tuple[ast.Call, bool]]:
    if isinstance(node, ast.Call):
        yield node, is_certain
    is_open = isinstance(node, _CONDITIONAL) or (
        isinstance(node, ast.For) and not _is_filled(node.iter, names)
    )
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _FUNCTIONS):
            yield from _calls_in(child, names, is_certain and not is_open)


def _is_filled(node: ast.expr, names: dict[str, Any]) -> bool:
    """Whether a loop iterates over a known value that is not empty."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return bool(node.elts)
    value = names.get(node.id) if isinstance(node, ast.Name) else None
    return isinstance(value, list | tuple | set | frozenset | dict) and bool(value)


def _called(node: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner = names.get(node.value.id)
        # Only of modules: reading an attribute of anything else might run code.
        return vars(owner).get(node.attr) if inspect.ismodule(owner) else None
    return None


def _constant(call: ast.Call, index: int, keyword: str, names: dict[str, Any]) -> str | None:
    given = next((each.value for each in call.keywords if each.arg == keyword), None)
    node = given if given is not None else call.args[index] if len(call.args) > index else None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    # `create(Task(...))` creates an object of the class that it calls.
    node = node.func if isinstance(node, ast.Call) else node
    value = _called(node, names) if node is not None else None
    if isinstance(value, type):
        return value.__name__
    return value if isinstance(value, str) else None
