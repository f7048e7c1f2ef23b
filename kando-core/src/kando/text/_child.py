"""The process that parses documents of strangers: one after the other, each within limits.

It imports the standard library only, and a library of a format when a document needs it. It reads
requests from its standard input and writes plain JSON to its standard output. `kando.text._parser`
starts it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from queue import SimpleQueue
from types import FrameType
from typing import Any, BinaryIO

from kando.text._formats import (
    Extracted,
    Late,
    Limits,
    Unreadable,
    extract,
    load_library,
    media_type_of,
)

__all__ = ["main"]

_MAX_FILES = 64
# Time to hand over the text that was read when the limit is reached.
_SECONDS_TO_END = 1.0
_POLL_SECONDS = 1.0


def main() -> None:
    """Parse documents until the standard input ends."""
    # The parent decides when to stop; Ctrl-C in a terminal reaches both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests: SimpleQueue[tuple[dict[str, Any], bytes]] = SimpleQueue()
    parent = os.getppid()
    reader = threading.Thread(target=_read, args=(sys.stdin.buffer, parent, requests), daemon=True)
    reader.start()
    # Where nothing else may print: a library that does must not end up in a reply.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        request, data = requests.get()
        reply = json.dumps(_reply(request, data)).encode()
        replies.write(b"%d\n" % len(reply) + reply)
        replies.flush()


def _read(
    stream: BinaryIO, parent: int, requests: SimpleQueue[tuple[dict[str, Any], bytes]]
) -> None:
    """Read requests in a thread of its own, which ends the process with its parent."""
    try:
        while True:
            _wait_for(stream, parent)
            line = stream.readline()
            if not line:
                break
            request = json.loads(line)
            data = stream.read(request["bytes"])
            if len(data) < request["bytes"]:
                break
            requests.put((request, data))
    finally:
        os._exit(0)


def _wait_for(stream: BinaryIO, parent: int) -> None:
    """Wait for a request; another process may hold the pipe open when the parent is dead."""
    if not hasattr(signal, "setitimer"):  # pragma: no cover - Windows, where pipes have no select
        return
    while not select.select([stream], [], [], _POLL_SECONDS)[0]:
        if os.getppid() != parent:
            os._exit(0)


def _reply(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    limits = Limits(**request["limits"])
    try:
        try:
            _start_clock(limits)
            media_type = media_type_of(data, request["suffix"], request["media_type"])
            _stop_clock()
            load_library(media_type)  # not at the cost of the document
            _start_clock(limits)
            found = extract(data, media_type, limits, request["charset"])
        finally:
            _stop_clock()
    except Unreadable as error:
        if _clock.is_over and str(error).startswith("damaged"):
            # A library took the end of its time for damage.
            return {"error": f"took longer than {limits.seconds:g} s to read ({error})"}
        return {"error": str(error)}
    except Late:
        _stop_clock()
        return {"error": f"took longer than {limits.seconds:g} s to read"}
    except MemoryError:
        return {"error": f"needs more than {limits.memory // 1024**2:,} MiB of memory to read"}
    except Exception as error:  # a library met what its authors did not expect
        return {"error": f"damaged ({type(error).__name__})"}
    return Extracted(*found)._asdict()


def _limit(limits: Limits) -> None:
    """Limit what parsing may use, as far as the system can."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows: the parent's deadline remains
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(usage.ru_utime + usage.ru_stime + limits.seconds + _SECONDS_TO_END) + 2
    for kind, soft in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
    ):
        hard = resource.getrlimit(kind)[1]
        try:
            resource.setrlimit(kind, (soft if hard < 0 else min(soft, hard), hard))
        except (OSError, ValueError):
            continue  # a system without this limit


class _Clock:
    """Whether a document is being parsed: an alarm that comes late must not end the process."""

    is_running = False
    is_over = False


_clock = _Clock()


def _limit_time(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _on_alarm)
        # Again after a while, since an exception in a destructor is ignored.
        signal.setitimer(signal.ITIMER_REAL, seconds, _SECONDS_TO_END if seconds else 0.0)


def _start_clock(limits: Limits) -> None:
    _limit(limits)
    _clock.is_running, _clock.is_over = True, False
    _limit_time(limits.seconds)


def _stop_clock() -> None:
    _clock.is_running = False
    _limit_time(0.0)


def _on_alarm(number: int, frame: FrameType | None) -> None:
    if _clock.is_running:
        _clock.is_over = True
        raise Late
