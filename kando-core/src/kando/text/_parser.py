"""Parse documents of strangers in another process, so that none keeps this one busy or ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event, Timer
from typing import Any

import msgspec

from kando._closing import Closing
from kando.text._formats import (
    MARKDOWN,
    PLAIN,
    Extracted,
    Limits,
    Unreadable,
    extract,
    is_utf_8,
    media_type_of,
)

__all__ = ["Parser"]

# A parser reports by itself that its time is over; the parent waits this much longer.
_GRACE_SECONDS = 2.5
_START_SECONDS = 10.0

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from kando.text._child import main; main()"
# The variables that an interpreter needs to start; keys and tokens stay here.
_ENVIRONMENT = (
    *("PATH", "SYSTEMROOT", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP"),
    *("LANG", "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE"),
)


class Parser(Closing):
    """A process that parses documents, one at a time; it is started when a document needs it.

    Text in UTF-8 is read in this process. A process that fails is replaced for the next document.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                try:
                    if pipe is not None:
                        pipe.close()
                except OSError:
                    continue  # what was not sent is not needed
            process.wait()

    def parse(
        self,
        data: bytes,
        *,
        suffix: str = "",
        media_type: str | None = None,
        charset: str | None = None,
        limits: Limits | None = None,
    ) -> Extracted:
        """Return the text of a document.

        Args:
            data: of the document.
            suffix: of its name, in lower case.
            media_type: as a server declared it.
            charset: as a server declared it.
            limits: of this document.

        Raises:
            Unreadable: it contains no text, or more than the limits allow; the message says why.
        """
        limits = limits or Limits()
        if not data:
            raise Unreadable("empty")
        # Archives are opened in the other process.
        if charset in (None, "utf-8", "utf8") and not data.startswith(b"PK") and is_utf_8(data):
            found = media_type_of(data, suffix, media_type)
            if found in (PLAIN, MARKDOWN) and data.lstrip()[:5] != b"<?xml":
                return extract(data, found, limits, charset)
        request = {"bytes": len(data), "suffix": suffix, "media_type": media_type}
        request |= {"charset": charset, "limits": limits._asdict()}
        return self._ask(msgspec.json.encode(request) + b"\n" + data, limits)

    def _ask(self, request: bytes, limits: Limits) -> Extracted:
        process, is_new = self._started()
        is_late = Event()

        def end() -> None:
            is_late.set()
            process.kill()

        # The time of a document begins when its library is loaded, which can take seconds.
        loads = is_new or any(magic in request[:2048] for magic in (b"\nPK\3\4", b"%PDF-"))
        timer = Timer(limits.seconds + _GRACE_SECONDS + _START_SECONDS * loads, end)
        timer.daemon = True
        timer.start()
        try:
            reply = _exchange(process, request)
        except BaseException:
            self.close()
            raise
        finally:
            timer.cancel()
        if reply is None:
            code = _code_of(process)
            self.close()
            raise Unreadable(_reason_of_end(code, limits, is_late=is_late.is_set()))
        if "error" in reply:
            raise Unreadable(str(reply["error"]))
        return Extracted(**reply)

    def _started(self) -> tuple[subprocess.Popen[bytes], bool]:
        if self._process is not None and self._process.poll() is None:
            return self._process, False
        self.close()
        root = str(Path(__file__).parents[2])
        # Not the current folder, which may be one of strangers.
        path = [each for each in sys.path if each]
        command = [sys.executable, "-P", "-S", "-c", _PROGRAM, *path, root]
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except (OSError, ValueError) as error:
            msg = f"no process to parse it could be started: {error}"
            raise Unreadable(" ".join(msg.split())) from None
        return self._process, True


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> dict[str, Any] | None:
    """Send a request and return the reply; None if the process has ended."""
    if process.stdin is None or process.stdout is None:
        return None
    try:
        process.stdin.write(request)
        process.stdin.flush()
        length = process.stdout.readline(20)
        size = int(length) if length.endswith(b"\n") else 0
        reply = process.stdout.read(size)
    except (OSError, ValueError):
        return None
    if not size or len(reply) < size:
        return None
    return msgspec.json.decode(reply, type=dict[str, Any])


def _code_of(process: subprocess.Popen[bytes]) -> int:
    """Return how a process has ended; it is killed if it closed its output only."""
    try:
        return process.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _reason_of_end(code: int, limits: Limits, *, is_late: bool) -> str:
    if is_late:
        return f"took longer than {limits.seconds:g} s to read"
    if code < 0:
        name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
        if name == "SIGXCPU":
            return f"took longer than {limits.seconds:g} s to read"
        return f"the process that parsed it was ended by {name}"
    return f"the process that parsed it ended with exit code {code}"
