"""`kando chat`: a conversation with a run, on a terminal or over pipes."""

# long: the command, and one class with the state of what is shown and read.

from __future__ import annotations

import json
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import attrs
import click

from kando.app.chat import Chat
from kando.app.happenings import (
    AnswerStream,
    ApprovalAsked,
    Compacted,
    Happening,
    Problem,
    QuestionAsked,
    TextEnded,
    TextPiece,
    ToolCalled,
    ToolReturned,
    TurnEnded,
)
from kando.app.run import Run
from kando.app.shapes import status_dict
from kando.app.status import EXHAUSTED, PAUSED, STOPPED, WAITING
from kando.app.store import Store
from kando.app.streams import OutputFailed, ReaderGone
from kando.cli._lines import Lines, lines_of_stdin
from kando.cli.arguments import CHAT, GOAL, KIT
from kando.cli.budget import budget_options, higher_limits
from kando.cli.exit_codes import RunInterrupted, report
from kando.cli.output import print_json, print_piece, say, truncate, warn
from kando.cli.run import code_of, explained, llm_option, report_missing_provider
from kando.cli.shared import (
    answer_options,
    command_for,
    grace_option,
    is_quiet,
    mcp_option,
    open_command_store,
    options_of,
    provider_option,
    settings_option,
    shared_options,
    termination,
)
from kando.errors import InvalidData, KandoError, LedgerNotFound
from kando.plugins import UnknownPlugin
from kando.responders.budget import Budget
from kando.schema.content import shown
from kando.views.approvals import Approval
from kando.views.questions import Question

if TYPE_CHECKING:
    from kando.kit import Kit

__all__ = ["chat"]

_HELP = """\
/attach PATH  send an image, a PDF or another file with your next turn
/undo    continue on a branch from before your last turn
/fork    continue on a branch from here
/status  show the state of the run
/cost    show what the run has cost
/quit    leave; Ctrl-D leaves, too
Ctrl-C interrupts a turn. A line that you type during a turn is sent at once."""

_ATTACH = "/attach"

#: Width of the line that shows a call or its result.
_WIDTH = 160

#: Names of what happens, in JSON.
_KINDS: dict[type, str] = {
    TextPiece: "text",
    TextEnded: "text_ended",
    ToolCalled: "tool_called",
    ToolReturned: "tool_returned",
    ApprovalAsked: "approval",
    QuestionAsked: "question",
    Problem: "problem",
    Compacted: "compacted",
    TurnEnded: "turn_ended",
}


@click.command()
@click.argument("kit_or_run", type=CHAT, metavar="KIT|RUN")
@click.option(
    "--goal", type=GOAL, metavar="TEXT", help="First turn of a new run; @FILE reads it from a file."
)
@click.option("--kit", type=KIT, help="Kit to continue RUN with.  [default: the run's kit]")
@settings_option
@mcp_option
@llm_option
@budget_options
@answer_options
@grace_option
@shared_options
def chat(
    kit_or_run: str,
    goal: str | None,
    kit: str | Kit | None,
    settings: Mapping[str, str] | None,
    mcp: dict[str, str],
    llm: str | None,
    budget: Budget,
    as_json: bool,
) -> int:
    """Talk with a run of a kit.

    With a KIT, or a Python file that holds one, the first line starts a run. With a RUN the run
    continues. Each line is a turn; the answers are shown as they stream in. The run's approvals and
    questions are asked in between.
    """
    stream = AnswerStream()
    with open_command_store(listen=stream.listen) as store:
        face = _Face(store, lines_of_stdin(), as_json=as_json)
        with face.signals():
            named = _kit_named(store, kit_or_run)
            store.context.tool_servers.give(mcp)
            options: dict[str, Any] = {"llm": llm, "budget": budget, "idle": face.idle}
            if named is None:
                if goal is not None or settings:
                    raise click.UsageError("--goal and --set need a KIT, not a RUN.")
                return face.talk(
                    Chat(store, _run_named(store, kit_or_run), stream, kit=kit, **options)
                )
            if kit is not None:
                raise click.UsageError("--kit needs a RUN.")
            goal = goal if goal is not None else face.first_line()
            if goal is None:
                return 0
            begun = Chat.start(store, named, goal, stream, settings=settings, mcp=mcp, **options)
            return face.talk(begun, is_new=True)


def _kit_named(store: Store, text: str) -> Kit | str | None:
    if text.endswith(".py"):
        found: Kit = KIT.convert(text, None, click.get_current_context())
        return found
    try:
        return store.context.kit(text)
    except UnknownPlugin:
        return None


def _run_named(store: Store, text: str) -> Run:
    try:
        return store.run(text)
    except LedgerNotFound as error:
        msg = f"There is no kit and no run {text!r:.80}."
        hint = f"`{command_for('kits')}` lists kits, `{command_for('runs')}` lists runs."
        raise LedgerNotFound(msg, hint=hint) from error


class _Face:
    """Reads the turns of a person, and shows what happens.

    Answers go to stdout, everything else to stderr; with ``--json`` all that happens goes to stdout.
    """

    def __init__(self, store: Store, lines: Lines, *, as_json: bool) -> None:
        self._store, self._lines, self._as_json = store, lines, as_json
        self._is_quiet = as_json or is_quiet(store)
        self._code = 0
        self._chat: Chat | None = None
        self._commands: list[str] = []
        self._is_at_start = True
        # Seen and set by the handlers of signals.
        self._is_reading = self._is_interrupted = self._is_ending = False

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Handle the signals: Ctrl-C interrupts the turn, SIGTERM and SIGHUP end the command."""
        before = signal.getsignal(signal.SIGINT)
        is_ours = threading.current_thread() is threading.main_thread() and callable(before)
        if is_ours:
            signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            with termination(self._store, self._end):
                yield
        except KeyboardInterrupt as error:
            if self._chat is None:
                raise
            run = self._chat.run.id
            hint = f"Its recorded events are kept. {self._how_to_continue(run)}"
            raise RunInterrupted(f"Run {run} was interrupted.", hint=hint) from error
        finally:
            if is_ours:
                signal.signal(signal.SIGINT, before)

    def first_line(self) -> str | None:
        """Return the first line that is not blank and not a command; None to leave."""
        while (line := self._read("> ")) is not None:
            if line.strip() in ("/quit", "/exit"):
                return None
            if line.split()[:1] == [_ATTACH]:
                warn("the first turn is the goal of the run, which is text alone: attach after it")
            elif line.startswith("/"):
                say(_HELP)
            elif line.strip():
                return line
        return None

    def talk(self, chat: Chat, *, is_new: bool = False) -> int:
        """Talk until the person leaves, close the conversation, and return the exit code."""
        self._chat = chat
        try:
            self._introduce(chat.run)
            if is_new or chat.run.status().state in (STOPPED, WAITING, PAUSED):
                self._turn(chat, None)
            draft: str | None = ""
            while draft is not None:
                draft = self._obey(chat, self._next(chat, draft))
            if chat.is_working:
                warn("calls are in flight; Ctrl-C leaves without their answers")
        except KeyboardInterrupt:
            # A second Ctrl-C does not wait.
            chat.close(None if self._is_ending else 0)
            raise
        finally:
            chat.close()
        if not self._as_json:
            warn(self._how_to_continue(chat.run.id))
        return self._code

    def idle(self, seconds: float) -> None:
        """Wait while the run works; send what the person types meanwhile."""
        if self._chat is None:
            return
        if self._is_interrupted:
            self._chat.interrupt()
        line = self._lines.poll(seconds)
        if line is None or not line.strip():
            return
        if line.startswith("/"):
            self._commands.append(line)
            return
        try:
            self._chat.send(line)
        except KandoError as error:
            warn(str(error))

    def _obey(self, chat: Chat, line: str | None) -> str | None:
        """Do what a line says; return what the next line holds at first, or None to leave."""
        line = None if line is None else line.strip()
        if line is None or line in ("/quit", "/exit"):
            return None
        if not line.startswith("/"):
            if line:
                self._turn(chat, line)
            return ""
        if line == "/fork":
            before = chat.run.id
            self._branched(before, chat.fork())
        elif line == "/undo":
            return self._undo(chat)
        elif line == "/status":
            status = chat.run.status()
            problem = f": {status.problem}" if status.problem else ""
            self._note(f"run {status.run_id} is {status.state}{problem}; {status.events} events")
        elif line == "/cost":
            self._note(_cost_of(chat.run))
        elif line.split()[0] == _ATTACH:
            _attach(chat, line.removeprefix(_ATTACH).strip())
        else:
            say(_HELP)
        return ""

    def _undo(self, chat: Chat) -> str:
        before = chat.run.id
        text = chat.undo()
        if text is None:
            warn("the run has no turn to undo")
            return ""
        if chat.run.id != before:
            self._branched(before, chat.run)
        self._note(f"undone: {truncate(text, _WIDTH)}")
        return text

    def _branched(self, before: str, branch: Run) -> None:
        self._introduce(branch)
        if not self._as_json:
            warn(f"run {before} stays as it is")

    def _introduce(self, run: Run) -> None:
        if self._as_json:
            print_json({"kind": "run", "run_id": run.id})
        else:
            warn(run.source.replace(":", " "))

    def _next(self, chat: Chat, draft: str) -> str | None:
        if self._commands:
            return self._commands.pop(0)
        history = chat.said() if self._lines.has_history else ()
        try:
            return self._read("> ", draft, history)
        except KeyboardInterrupt:
            if self._is_ending or not self._lines.is_terminal:
                raise
            say("\n/quit or Ctrl-D leaves")
            return ""

    def _turn(self, chat: Chat, text: str | None) -> None:
        """Show a turn. On a terminal its error is shown, too; elsewhere it ends the command."""
        self._is_interrupted, before = False, chat.run.id
        try:
            for each in chat.turn(text):
                if chat.run.id != before:
                    self._branched(before, chat.run)
                    before = chat.run.id
                self._show(chat, each)
        except (ReaderGone, OutputFailed):
            raise
        except (Exception, SystemExit) as error:
            shown = explained(self._store, chat.run.id, error)
            if not self._lines.is_terminal:
                raise shown from error
            self._end_line()
            self._code = report(shown, _arguments(as_json=self._as_json))

    def _show(self, chat: Chat, what: Happening) -> None:
        if self._as_json:
            fields = attrs.asdict(what)
            if isinstance(what, TurnEnded):
                fields["status"] = status_dict(what.status)
            print_json({"kind": _KINDS[type(what)], "run_id": chat.run.id} | fields)
        if isinstance(what, TextPiece) and not self._as_json:
            print_piece(what.text)
            self._is_at_start = what.text.endswith("\n")
        elif isinstance(what, TextEnded):
            self._end_line()
        elif isinstance(what, ToolCalled):
            self._note(f"  {what.name} {_as_text(what.arguments)}")
        elif isinstance(what, ToolReturned):
            result = f"failed: {what.error}" if what.error is not None else _as_text(what.result)
            self._note(f"  {what.name or 'tool'}: {result}")
        elif isinstance(what, Problem) and not self._as_json:
            warn(f"no answer: {what.message}")
        elif isinstance(what, Compacted):
            before, after = what.tokens_before, what.tokens_after
            self._note(f"  the conversation was compacted: {before:,} to {after:,} tokens")
        elif isinstance(what, ApprovalAsked):
            asked = what.approval
            self._ask(_question_of(what), lambda line: _decide(chat, asked, line))
        elif isinstance(what, QuestionAsked):
            self._ask(_text_of(what.question), lambda line: chat.reply(what.question, line))
        elif isinstance(what, TurnEnded):
            self._report(chat, what)

    def _report(self, chat: Chat, ended: TurnEnded) -> None:
        status, run = ended.status, chat.run.id
        self._code = code_of(status)
        self._end_line()
        if self._as_json:
            return
        if ended.is_interrupted:
            warn("interrupted: the next line resumes the run")
        elif status.state == EXHAUSTED:
            options = higher_limits(status.problem)
            warn(f"stopped: {status.problem}. {self._how_to_continue(run, options)}")
        elif status.unanswered > status.approvals + status.questions and not ended.has_provider:
            report_missing_provider(self._store, status)
        self._note(f"(${ended.cost_usd:.4f}, {ended.seconds:.1f} s)")

    def _ask(self, question: str, answer: Callable[[str], None]) -> None:
        """Ask until there is an answer; Ctrl-C and the end of the input leave it pending."""
        while not self._commands:
            if not self._lines.is_terminal:
                say(question)
            try:
                line = self._read(f"{question} ")
            except KeyboardInterrupt:
                if self._is_ending or not self._lines.is_terminal:
                    raise
                say("")
                return
            if line is None:
                return
            if line.strip() in ("/quit", "/exit"):
                self._commands.append(line.strip())
                return
            try:
                answer(line.strip())
            except KandoError as error:
                warn(f"{error.message} {error.hint or ''}".rstrip())
            else:
                return

    def _read(
        self, prompt: str, default: str = "", history: list[str] | tuple[()] = ()
    ) -> str | None:
        self._is_reading = True
        try:
            return self._lines.read(prompt, default, history)
        finally:
            self._is_reading = False

    def _end_line(self) -> None:
        if not self._is_at_start and not self._as_json:
            print_piece("\n")
        self._is_at_start = True

    def _note(self, text: str) -> None:
        if not self._is_quiet:
            say(
                truncate(text, _WIDTH)
                if not text.startswith("  ")
                else f"  {truncate(text, _WIDTH)}"
            )

    def _how_to_continue(self, run: str, options: str = "") -> str:
        if self._store.url.startswith("memory:"):
            return "The run was in memory, which keeps nothing."
        given = click.get_current_context().params["kit_or_run"]
        kit = f" --kit {shlex.quote(given)}" if given.endswith(".py") else ""
        return f"Continue with: {command_for('chat', run)}{kit}{provider_option()}{options}"

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._is_reading or self._is_interrupted or self._chat is None:
            raise KeyboardInterrupt
        self._is_interrupted = True

    def _end(self) -> None:
        self._is_ending = True
        raise KeyboardInterrupt


def _arguments(*, as_json: bool) -> list[str]:
    """Return the arguments that determine the form of an error."""
    options = options_of(click.get_current_context())
    found = ["--json"] * as_json + ["--debug"] * bool(options.get("debug"))
    for name in ("ledger", "prefer"):
        found += [f"--{name}", str(options[name])] if options.get(name) else []
    return found


def _attach(chat: Chat, path: str) -> None:
    """Attach the file that a line names to the next turn; a file that cannot be sent is reported."""
    if path[:1] in ("'", '"') and path.endswith(path[0]):
        # As a terminal writes the name of a file that is dropped on it.
        path = path[1:-1]
    if not path:
        warn(f"{_ATTACH} needs the path of a file")
        return
    try:
        part = chat.attach(path)
    except KandoError as error:
        warn(str(error))
    else:
        warn(f"{part['name']} ({part['media_type']}) goes with your next turn")


def _decide(chat: Chat, approval: Approval, line: str) -> None:
    """Grant or deny an approval, as a line says.

    Raises:
        KandoError: the line says neither, or the decision is refused.
    """
    word, _, rest = line.partition(" ")
    if line.startswith("{"):
        chat.approve(approval, _object(line))
    elif word.lower() in ("y", "yes") and not rest:
        chat.approve(approval)
    elif word.lower() in ("n", "no"):
        chat.deny(approval, rest.strip() or None)
    else:
        msg = f"{truncate(line, 40)!r} is not a decision."
        raise InvalidData(msg, hint="Type y, n, n and a reason, or other arguments as JSON.")


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        msg = f"The arguments are not JSON: {error}."
        raise InvalidData(msg, hint="Type all arguments as one JSON object.") from error
    # It starts with a brace.
    arguments: dict[str, Any] = value
    return arguments


def _question_of(asked: ApprovalAsked) -> str:
    what = truncate(f"{asked.name} {_as_text(asked.arguments)}", _WIDTH)
    return f"Allow {what}? {truncate(asked.approval.reason, _WIDTH)} [y, n REASON, JSON]"


def _text_of(question: Question) -> str:
    schema = question.schema or {}
    choices = ", ".join(map(_as_text, schema.get("enum", ()))) or "JSON"
    return truncate(question.question, _WIDTH) + (f" [{choices}]" if schema else "")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(shown(value), ensure_ascii=False, default=str)


def _cost_of(run: Run) -> str:
    status = run.status()
    least = "at least " if status.llm_unpriced else ""
    calls = (
        f"{status.llm_answered} answers, {status.llm_tokens} tokens, {status.tool_calls} tool calls"
    )
    return f"{least}${status.llm_cost_usd:.4f}: {calls}"
