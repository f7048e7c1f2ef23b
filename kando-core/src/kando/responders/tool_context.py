"""The context of a tool call: which run makes it, and what the tool may use while it works."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from kando.errors import ConfigurationError, InvalidData
from kando.responders.cancellation import cancellation_of_call
from kando.responders.idempotency import key_of
from kando.schema.events import KandoEvent

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ToolContext", "ToolProgress", "Workspace"]

#: Characters of a progress message that are kept.
_MAX_MESSAGE_CHARS = 200


@attrs.frozen
class ToolProgress:
    """The last progress that a tool has reported of a call. It is shown live and not recorded.

    Attributes:
        message: what the tool does now; may be empty.
        done: how much of the work is done; None if it is not counted.
        total: how much there is to do; None if that is unknown.
    """

    message: str = ""
    done: float | None = None
    total: float | None = None

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total:,g}"
        count = "" if self.done is None else f"{self.done:,g}{of}"
        return ": ".join(each for each in (self.message, count) if each)


def _ignore(progress: ToolProgress) -> None:
    """Ignore progress: nothing shows it."""


class Workspace(Protocol):
    """The workspace of a run: a folder whose content belongs to the ledger."""

    def opened(self) -> AbstractContextManager[tuple[Path, Callable[[], str]]]:
        """Yield the folder as the last answer left it, and a function that stores its files.

        The function returns the digest of what it stored, as the answer of the call names it.
        """


# Name of the ledger that the call in progress in this thread is made for, and what shows its progress.
_LEDGER: ContextVar[str] = ContextVar("kando_call_ledger", default="")
_REPORT: ContextVar[Callable[[ToolProgress], None]] = ContextVar(
    "kando_call_progress", default=_ignore
)


_WORKSPACE: ContextVar[Workspace | None] = ContextVar("kando_call_workspace", default=None)


@contextmanager
def call_place(
    ledger: str,
    report: Callable[[ToolProgress], None] = _ignore,
    workspace: Workspace | None = None,
) -> Iterator[None]:
    """Have the context of a call in this thread name a ledger, and report progress.

    Args:
        ledger: its stream, ``run:{id}`` or ``branch:{id}``.
        report: called with each progress of the call.
        workspace: of the run, for the tools that use it.
    """
    tokens = _LEDGER.set(ledger), _REPORT.set(report), _WORKSPACE.set(workspace)
    try:
        yield
    finally:
        _LEDGER.reset(tokens[0])
        _REPORT.reset(tokens[1])
        _WORKSPACE.reset(tokens[2])


def ledger_of_call() -> str:
    """Return the stream of the ledger that the call in this thread is made for; empty outside one."""
    return _LEDGER.get()


def workspace_of_call() -> Workspace | None:
    """Return the workspace of the run that makes the call in this thread, or None."""
    return _WORKSPACE.get()


@attrs.frozen(kw_only=True)
class ToolContext:
    """The context of one call; a tool gets it in a parameter of this type, or named ``ctx``.

    Attributes:
        run: id of the run or branch that makes the call.
        branch: the same id if it is a branch, else None.
        call_id: id of the ``tool.called``.
        idempotency_key: the same whenever this call is repeated, and of no other call.
        about: id of the object that the call is about, or None.
        settings: of the kit, as an instance of its class; None if it has none.
    """

    run: str
    branch: str | None
    call_id: str
    idempotency_key: str
    about: str | None
    settings: Any = None
    _report: Callable[[ToolProgress], None] = attrs.field(repr=False, eq=False)
    _is_cancelled: Callable[[], bool] = attrs.field(repr=False, eq=False)
    _environ: Mapping[str, str] = attrs.field(repr=False, eq=False, factory=lambda: os.environ)
    _workspace: Path | None = attrs.field(repr=False, default=None)
    # By name; their values are replaced in what the call returns.
    _secrets: dict[str, str] = attrs.field(repr=False, eq=False, factory=dict, init=False)

    @property
    def workspace(self) -> Path:
        """The folder of the run, whose files are recorded with the answer of the call.

        It is as the call before left it. A branch has a folder of its own, and a call that is
        repeated finds the files that it found the first time.

        Raises:
            ConfigurationError: the tool does not say that it uses the workspace.
        """
        if self._workspace is None:
            msg = f"The tool of {self.call_id} does not say that it uses the workspace."
            raise ConfigurationError(msg, hint="Declare it: @kit.tool(workspace=True).")
        return self._workspace

    def workspace_path(self, path: str | Path) -> Path:
        """Return the place of a path in the workspace, such as one that a model has written.

        Raises:
            InvalidData: the path leads out of the workspace.
            ConfigurationError: as for `workspace`.
        """
        found = self.workspace / path
        if found.resolve().is_relative_to(self.workspace.resolve()):
            return found
        msg = f"{str(path)!r:.120} is outside the workspace."
        raise InvalidData(msg, hint="Use a path relative to the workspace.")

    @property
    def is_cancelled(self) -> bool:
        """Whether the answer is not waited for any more: the run is paused, cancelled or over time.

        A tool that works in steps may stop between two of them. Its result is still recorded
        if the call has not timed out.
        """
        return self._is_cancelled()

    def progress(
        self, message: str = "", *, done: float | None = None, total: float | None = None
    ) -> None:
        """Report what the tool does now. It is shown live and not recorded.

        Args:
            message: a few words; the first 200 characters are kept.
            done: how much of the work is done.
            total: how much there is to do.
        """
        self._report(ToolProgress(str(message)[:_MAX_MESSAGE_CHARS], done, total))

    def secret(self, name: str) -> str:
        """Return a secret by the name of its environment variable.

        Its value is replaced by its name in the result and in the error of the call, so that no
        ledger holds it.

        Raises:
            ConfigurationError: the variable is not set.
        """
        value = self._environ.get(name, "")
        if not value:
            msg = f"The tool needs the secret {name!r:.80}, which is not set."
            raise ConfigurationError(msg, hint=f"Set the environment variable {name:.80}.")
        self.hide(name, value)
        return value

    def hide(self, name: str, value: str) -> None:
        """Have a value replaced by its name in the result and in the error of the call.

        Args:
            name: shown in its place.
            value: a secret that comes from elsewhere than `secret`.
        """
        self._secrets[name] = value

    def without_secrets(self, value: Any) -> Any:
        """Return JSON with the name of each secret that the call asked for in place of its value."""
        if not self._secrets:
            return value
        if isinstance(value, str):
            # The longest first: one secret may be part of another.
            for name, secret in sorted(self._secrets.items(), key=lambda item: -len(item[1])):
                value = value.replace(secret, f"[{name}]")
            return value
        if isinstance(value, Mapping):
            return {
                self.without_secrets(key): self.without_secrets(item) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.without_secrets(item) for item in value]
        return value


def context_of(intent: KandoEvent) -> ToolContext:
    """Return the context of the call that answers a ``tool.called``, in the thread that makes it."""
    stream = _LEDGER.get() or intent.source
    kind, _, id = stream.partition(":")
    about = intent.data.get("cause_object_id")
    return ToolContext(
        run=id,
        branch=id if kind == "branch" else None,
        call_id=intent.id,
        idempotency_key=key_of(intent),
        about=about if isinstance(about, str) else None,
        report=_REPORT.get(),
        is_cancelled=cancellation_of_call(),
    )
