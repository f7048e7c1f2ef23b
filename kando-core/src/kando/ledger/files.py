"""Write files as a whole: a reader finds the old contents or the new, never half of them."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["own_descriptor", "write_whole"]

#: Folders whose entries are open files of a process, such as the target of /dev/stdout.
_OPEN_FILES = re.compile(r"/dev/fd|/proc/[^/]+(/task/[^/]+)?/fd")
_MAX_LINKS = 40


def write_whole(
    path: str | Path, chunks: Iterable[bytes], *, mode: int = 0o600, make_folder: bool = False
) -> None:
    """Write a file as a whole, where the path leads to; if that fails, the file stays as it was.

    Links stay links, and the file that they lead to is written. A file that is replaced keeps its
    mode and owner, and stays in place if it has several names. Pipes, devices and open files such
    as /dev/stdout are written directly.

    Args:
        path: of the file.
        chunks: its contents.
        mode: of a new file, before the umask is applied.
        make_folder: whether to create the folder of the file.

    Raises:
        OSError: the file cannot be written.
    """
    descriptor = own_descriptor(path)
    if descriptor is not None:
        with _writing_to(descriptor) as file:
            file.writelines(chunks)
        return
    target = Path(os.path.realpath(path))
    if make_folder:
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Of the path as given, since a loop of links has no target.
        old = os.stat(path)
    except FileNotFoundError:
        old = None
    is_file = old is None or stat.S_ISREG(old.st_mode)
    if is_file and _open_file(Path(path)) is None:
        _replace(target, chunks, mode, old)
        return
    with open(path, "wb") as file:
        file.writelines(chunks)


def own_descriptor(path: str | Path) -> int | None:
    """Return the descriptor of this process that a path such as /dev/stdout leads to, or None."""
    entry = _open_file(Path(path))
    own = {"/dev/fd", *map(os.path.realpath, ("/proc/self/fd", "/proc/thread-self/fd"))}
    if entry is None or str(entry.parent) not in own or not entry.name.isdecimal():
        return None
    return int(entry.name)


def _open_file(path: Path) -> Path | None:
    """Return the entry of a folder of open files that a path leads to, if it leads to one."""
    for _ in range(_MAX_LINKS):
        folder = os.path.realpath(path.parent)
        path = Path(folder, path.name)
        if _OPEN_FILES.fullmatch(folder):
            return path
        try:
            path = path.parent / os.readlink(path)
        except OSError:
            return None
    return None


@contextmanager
def _writing_to(descriptor: int) -> Iterator[BinaryIO]:
    """Write to an open file of this process, at its current position."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with os.fdopen(os.dup(descriptor), "wb") as file:
        yield file


def _replace(target: Path, chunks: Iterable[bytes], mode: int, old: os.stat_result | None) -> None:
    if old is not None and (old.st_nlink > 1 or not os.access(target.parent, os.W_OK)):
        _overwrite(target, chunks)
        return
    # Not at the top, as below: commands that read import this module, and write no file.
    import secrets

    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(chunks)
        if old is not None:
            _keep_owner_and_mode(temporary, old)
        _move(temporary, target, old is not None)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _keep_owner_and_mode(path: Path, old: os.stat_result) -> None:
    # Only root may give a file away. This comes first, since it clears bits of the mode.
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(path, old.st_uid, old.st_gid)
    os.chmod(path, stat.S_IMODE(old.st_mode))


def _move(temporary: Path, target: Path, exists: bool) -> None:
    try:
        os.replace(temporary, target)
    except OSError:
        if not exists:
            raise
        import shutil

        # Such as a file that is mounted by itself, which can only be written in place.
        with temporary.open("rb") as complete, target.open("wb") as file:
            shutil.copyfileobj(complete, file)
        temporary.unlink()


def _overwrite(target: Path, chunks: Iterable[bytes]) -> None:
    """Write into a file that cannot be replaced, once all its new contents are known."""
    import shutil
    import tempfile

    with tempfile.TemporaryFile() as complete:
        complete.writelines(chunks)
        complete.seek(0)
        with target.open("wb") as file:
            shutil.copyfileobj(complete, file)
