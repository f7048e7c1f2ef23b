"""Retries: which failed attempts are repeated, and what the run is charged for them.

An attempt that was refused, or that never reached the server, costs nothing. One that reached it and
brought no answer may have been paid for: it counts with the most that it can have cost.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import attrs

from kando.responders.cancellation import call_is_cancelled
from kando_llm.errors import ProviderError
from kando_llm.live_provider import Connection, OnText, Reply
from kando_llm.request import Request

__all__ = ["Attempt", "send_with_retries"]

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
#: A server that asks for a longer wait is not asked again by this call.
_LONGEST_ASKED = 60.0
_TICK = 0.1


@attrs.frozen
class Attempt:
    """A failed attempt.

    Attributes:
        failure: the error to raise if it is the last one.
        may_retry: whether another attempt may succeed, and does not repeat work of the server.
        was_lost: whether it reached the server, which reported no usage.
    """

    failure: ProviderError
    may_retry: bool = False
    was_lost: bool = False


def send_with_retries(
    send_once: Callable[[Request, OnText | None, int], Reply | Attempt],
    request: Request,
    on_text: OnText | None,
    connection: Connection,
) -> Reply:
    """Return the answer to a request, after as many attempts as the settings allow.

    The wait between two attempts ends when the call is cancelled.

    Args:
        send_once: makes one attempt, given its number.
        request: with its model and its limit.
        on_text: receives pieces of the text.
        connection: to the server.

    Raises:
        ProviderError: the last attempt failed; ``spent`` has what the attempts may have used.
    """
    lost, number = 0, 0
    while True:
        number += 1
        sent = send_once(request, on_text, number)
        if isinstance(sent, Reply):
            return attrs.evolve(sent, attempts=sent.attempts - 1 + number, lost=lost)
        lost += sent.was_lost
        failure = sent.failure
        is_last = not sent.may_retry or number > connection.retries
        if is_last or not _waited(number, failure.retry_after):
            break
    # Raised outside of the handler of the SDK's error, which so does not become its context.
    if lost:
        failure.spent = _with_lost(failure, connection, request, lost)
    raise failure


def _with_lost(
    failure: ProviderError, connection: Connection, request: Request, lost: int
) -> dict[str, object]:
    worst = connection.worst_case(request, lost)
    if failure.spent is None:
        return worst
    usage, cost = dict(failure.spent["usage"]), failure.spent["cost_usd"]
    for name, count in worst["usage"].items():
        usage[name] = usage.get(name, 0) + count
    both = None if cost is None or worst["cost_usd"] is None else cost + worst["cost_usd"]
    return {"usage": usage, "cost_usd": both, "calls": lost + 1}


def _waited(number: int, asked: float | None) -> bool:
    """Wait before the next attempt; return whether it is to be made."""
    if asked is not None and asked > _LONGEST_ASKED:
        return False
    backoff = min(_FIRST_WAIT * 2 ** (number - 1), _LONGEST_WAIT) * random.uniform(0.75, 1.0)
    until = time.monotonic() + (backoff if asked is None else max(asked, 0.0))
    while not call_is_cancelled():
        left = until - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, _TICK))
    return False
