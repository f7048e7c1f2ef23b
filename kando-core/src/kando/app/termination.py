"""SIGTERM and SIGHUP: a process that is asked to end lets the calls in flight return first."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["LastWords", "Termination", "interrupt"]

# Windows has no SIGHUP.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def interrupt() -> None:
    """Interrupt the main thread as Ctrl-C does: a run keeps what its calls in flight return.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt


class Termination:
    """Handles SIGTERM and SIGHUP in a ``with`` block of the main thread.

    At the first signal `on_signal` is called in the main thread, between two of its instructions.
    Later ones are ignored. When the grace has passed, the main thread gets a KeyboardInterrupt,
    whatever it does. A signal that the process ignores, as under ``nohup``, or that its program
    handles itself, is left alone; in another thread the block has no effect.

    Args:
        seconds: the grace: how long the process may take to end.
        on_signal: called at the first signal; it may raise.
    """

    def __init__(self, seconds: float, on_signal: Callable[[], None] = interrupt) -> None:
        self._seconds = seconds
        self._on_signal = on_signal
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None
        self._is_due = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # Python's default: the process would end at once, and as process 1 never.
                if _ends_process(signal.getsignal(number)):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self._expire, [number])
            self._timer.daemon = True
            self._timer.start()
            self._on_signal()
        elif self._is_due:
            self._is_due = False
            raise KeyboardInterrupt

    def _expire(self, number: int) -> None:
        self._is_due = True
        if hasattr(signal, "pthread_kill"):
            # Unlike `interrupt_main`, this ends the wait for a lock.
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        else:
            _thread.interrupt_main(signal.Signals(number))


class LastWords:
    """Calls a function before SIGTERM or SIGHUP ends the process, in a ``with`` block of the main thread.

    Signals that do not end the process are left alone.

    Args:
        say: called in the main thread, between two of its instructions.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self._say = say
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is signal.SIG_DFL:
                    self._before[number] = signal.signal(number, self.end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def end(self, number: int, frame: FrameType | None) -> None:
        """Call the function, and end the process by the signal."""
        self._say()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _ends_process(handler: object) -> bool:
    return handler is signal.SIG_DFL or isinstance(getattr(handler, "__self__", None), LastWords)
