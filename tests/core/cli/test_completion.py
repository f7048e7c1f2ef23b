"""Shell completion offers runs, kits and providers, reads only, and is silent about errors."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kando.cli import arguments

Run = Callable[..., Any]
Complete = Callable[..., list[str]]

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for names on a machine that is busy."""
    monkeypatch.setattr(arguments, "_SECONDS", 60)


@pytest.fixture
def complete(kando: Run, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """Return ``complete(line)``, which returns the values that bash is offered."""

    def complete(line: str) -> list[str]:
        monkeypatch.setenv("_KANDO_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", f"kando {line}")
        monkeypatch.setenv("COMP_CWORD", line.rpartition(" ")[2])
        done = kando()
        monkeypatch.delenv("_KANDO_COMPLETE")
        assert (done.returncode, done.stderr) == (0, "")
        return [each.removeprefix("plain,") for each in done.stdout.split()]

    return complete


def started(kando: Run, *options: str) -> str:
    return str(kando("run", "tiny", "--goal", "x", *options).stdout.strip())


def test_commands_that_read_are_offered_the_demo_the_newest_run_and_all_ids(
    kando: Run, complete: Complete
) -> None:
    older, newer = started(kando), started(kando)

    assert complete("status ") == ["demo", "@last", newer, older]
    assert complete("status @") == ["@last"]
    assert complete(f"events {older[:9]}") == [older]
    assert complete(f"diff {older} {newer[:9]}") == [newer]
    assert complete("trace object.created-1 --run dem") == ["demo"]


def test_commands_that_write_are_not_offered_the_demo(kando: Run, complete: Complete) -> None:
    run = started(kando)

    for command in ("resume", "fork", "send", "pause", "cancel", "approve"):
        assert complete(f"{command} ") == ["@last", run]


def test_kits_and_providers_are_offered(complete: Complete) -> None:
    assert complete("run t") == ["tiny"]
    assert complete("kits show ti") == ["tiny"]
    assert "tiny" in complete("resume @last --kit ")
    assert "parrot" in complete("run tiny --llm ")
    assert complete("worker --llm parr") == ["parrot"]


def test_the_store_is_the_one_that_the_line_selects(
    kando: Run, complete: Complete, home: Path
) -> None:
    run = started(kando, "--ledger", "sqlite:there.sqlite")

    assert complete("status ") == ["demo"]
    assert complete("--ledger sqlite:there.sqlite resume ") == ["@last", run]
    assert complete("resume --ledger sqlite:there.sqlite ") == ["@last", run]
    assert list(home.rglob("*.sqlite")) == []


@pytest.mark.parametrize("ledger", ["nonsense:x", "sqlite:damaged", "no url"])
def test_a_store_that_cannot_be_read_offers_nothing_and_reports_nothing(
    complete: Complete, tmp_path: Path, ledger: str
) -> None:
    (tmp_path / "damaged").write_text("not a database\n" * 100)

    assert complete(f"resume --ledger '{ledger}' ") == []


def test_a_store_that_hangs_does_not_keep_the_shell_waiting(
    complete: Complete, install: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        "stuck",
        """
        import threading
        from kando.plugins import SubstrateSpec, hookimpl

        def open_stuck(url, read_only):
            print("never shown")
            threading.Event().wait()

        @hookimpl
        def kando_substrates():
            return [SubstrateSpec("stuck", "stuck_plugin:open_stuck", ("stuck",))]
        """,
    )
    monkeypatch.setattr(arguments, "_SECONDS", 1)

    assert complete("resume --ledger stuck:x ") == []


def test_a_plugin_that_fails_or_prints_does_not_disturb(complete: Complete, install: Run) -> None:
    install("bad", "print('printed'); raise OSError('gone')")

    assert complete("run t") == ["tiny"]
    assert complete("exp") == ["export"]


def test_commands_are_offered_without_importing_them(
    environ: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "complete.py"
    script.write_text(
        "import sys\nfrom kando.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print(*sys.modules, file=sys.stderr)\n"
    )

    done = subprocess.run(
        [sys.executable, str(script)],
        env=environ
        | {"_KANDO_COMPLETE": "zsh_complete", "COMP_WORDS": "kando st", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == ["plain", "status", "Show the state of a run."]
    assert "kando.cli.inspect" not in done.stderr.split()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_are_offered_the_same_with_descriptions(
    kando: Run, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    started(kando)
    monkeypatch.setenv("_KANDO_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", "kando status @la")
    monkeypatch.setenv("COMP_CWORD", "2" if shell == "zsh" else "@la")

    shown = kando().stdout

    # For fish, releases of click separate the two by a tab or by a new line.
    assert "@last the newest run or branch" in " ".join(shown.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "replaced", "reply"),
    [
        ("kando status @la", "@la", "@last"),
        ("kando --ledger sqlite:there.sqlite events RUN", "RUN", "RUN"),
        ("kando run tiny --goal 'two words' --llm pa", "pa", "parrot"),
        ("kando run tiny --llm=pa", "pa", "parrot"),
        ("kando exp", "exp", "export"),
    ],
)
def test_the_script_for_bash_completes_words_with_an_at_sign_a_colon_or_an_equals_sign(
    kando: Run, environ: dict[str, str], tmp_path: Path, line: str, replaced: str, reply: str
) -> None:
    run = started(kando, "--ledger", "sqlite:there.sqlite")
    environ = environ | {"KANDO_LEDGER": "sqlite:there.sqlite"}
    line, replaced, reply = (each.replace("RUN", run) for each in (line, replaced, reply))
    command = tmp_path / "kando"
    command.write_text(
        f"#!{sys.executable}\n"
        "from kando.cli import arguments, main\narguments._SECONDS = 60\nmain.main()\n"
    )
    command.chmod(0o755)
    script = tmp_path / "complete.bash"
    script.write_text(kando("completion", "bash").stdout)

    done = subprocess.run(
        [
            *("bash", "-c"),
            'source "$1"; COMP_LINE=$2 COMP_POINT=${#2}; _kando_completion "$3" "$4" "";'
            ' printf "%s\\n" "${COMPREPLY[@]}"',
            *("bash", str(script), line, str(command), replaced),
        ],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [reply]
