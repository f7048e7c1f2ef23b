"""Commands that plugins add, and plugins that fail."""

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

Run = Callable[..., Any]

GREETS = """
    import click
    from kando.plugins import CommandSpec, hookimpl

    print("imported")

    @click.command()
    @click.option("--name", default="you")
    def greet(name):
        "Say hello."
        click.echo(f"hello {{name}}")

    @hookimpl
    def kando_commands():
        return [CommandSpec("{name}", "greets_plugin:greet", "Say hello")]
"""


SETTINGS = """
    import click
    from kando.plugins import CommandSpec, hookimpl

    @click.command()
    @click.pass_obj
    def place(settings):
        click.echo(settings.substrate_url)
        click.echo(settings.data_folder)
        click.echo(settings.environ["KANDO_PREFER"])

    @hookimpl
    def kando_commands():
        return [CommandSpec("place", "settings_plugin:place", "Show where runs are")]
"""


STORE = """
from kando.ledger.sqlite_substrate import SQLiteSubstrate
from kando.plugins import SubstrateSpec

def open_store(url, read_only=False):
    return SQLiteSubstrate(url.partition("@db")[2].partition("?")[0], read_only=read_only)

@hookimpl
def kando_substrates():
    return [SubstrateSpec("store", "tiny_plugin:open_store", ("store",), "a store")]
"""


def test_a_command_of_a_plugin_runs_and_reads_its_own_options(kando: Run, install: Run) -> None:
    install("greets", GREETS.format(name="greet"))

    done = kando("greet", "--name", "Acme")

    assert (done.returncode, done.stdout) == (0, "hello Acme\n")
    assert "--name" in kando("greet", "--help").stdout
    assert kando("greet", "--nmae", "x").returncode == 2
    rows = json.loads(kando("plugins", "--json").stdout)["items"]
    assert ("command", "greet") in [(row["kind"], row["name"]) for row in rows]


def test_a_command_of_a_plugin_gets_the_settings_of_the_command_line(
    kando: Run, install: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("settings", SETTINGS)

    given = kando("--ledger", "sqlite:a", "--prefer", "settings", "place")
    monkeypatch.setenv("KANDO_LEDGER", "sqlite:b")
    monkeypatch.setenv("KANDO_PREFER", "settings")
    chosen = kando("place")

    assert given.stdout.splitlines()[0] == "sqlite:a"
    assert chosen.stdout.splitlines()[0] == "sqlite:b"
    for done in (given, chosen):
        _, folder, preferred = done.stdout.splitlines()
        assert Path(folder).name == "kando"
        assert preferred == "settings"


def test_the_error_for_a_misspelt_command_suggests_the_command_of_a_plugin(
    kando: Run, install: Run
) -> None:
    install("greets", GREETS.format(name="greet"))

    done = kando("gret")

    assert done.returncode == 2
    assert "'greet'" in done.stderr


def test_a_plugin_cannot_take_the_name_of_a_built_in_command(kando: Run, install: Run) -> None:
    install("greets", GREETS.format(name="status"))

    assert "demo" in kando("status", "demo").stdout
    assert "hello" not in kando("status", "demo").stdout


def test_a_failing_plugin_affects_nothing_else(kando: Run, install: Run, tiny: Path) -> None:
    install("broken", "raise RuntimeError('no good')")

    done = kando("run", "tiny", "--goal", "x", "--llm", "parrot", "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout)["state"] == "finished"
    failed = [
        r for r in json.loads(kando("plugins", "--json").stdout)["items"] if r["state"] != "ok"
    ]
    assert [(row["name"], row["about"]) for row in failed] == [("broken", "RuntimeError: no good")]


def test_doctor_fails_for_a_provider_that_cannot_be_opened_and_names_the_cure(
    kando: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANDO_LLM", "parot")

    done = kando("doctor", "--json")

    states = {item["what"]: item for item in json.loads(done.stdout)["items"]}
    assert done.returncode == 1
    assert states["llm"]["state"] == "fail"
    assert "parrot" in states["llm"]["cure"]
    assert states["store"]["state"] == "ok"


RAISES = {
    "RuntimeError": "raise RuntimeError('no good')",
    "SystemExit": "raise SystemExit(3)",
    "BaseException": "raise BaseException",
    "GeneratorExit": "raise GeneratorExit",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "Mute": """
        class Mute(BaseException):
            def __str__(self):
                raise ValueError
        raise Mute
    """,
}
PLACES = {
    "import": "{raises}",
    "hook": """
        from kando.plugins import hookimpl

        @hookimpl
        def kando_kits():
            {raises}
    """,
    "target": """
        from kando.plugins import KitSpec, hookimpl

        def __getattr__(name):
            if name == "kit":
                {raises}
            raise AttributeError(name)

        @hookimpl
        def kando_kits():
            return [KitSpec("bad", "bad_plugin:kit", "raises")]
    """,
    "provider": """
        from kando.plugins import ProviderSpec, hookimpl

        def open_bad(argument, environ):
            {raises}

        @hookimpl
        def kando_providers():
            return [ProviderSpec("bad", "bad_plugin:open_bad", summary="raises")]
    """,
}


@pytest.mark.parametrize("error", RAISES)
@pytest.mark.parametrize("place", PLACES)
def test_doctor_reports_what_a_plugin_raises(
    kando: Run,
    install: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    error: str,
) -> None:
    monkeypatch.setenv("KANDO_LLM", "bad" if place == "provider" else "echo")
    source = dedent(PLACES[place])
    (line,) = [each for each in source.splitlines() if "{raises}" in each]
    margin = line[: line.index("{")]
    install("bad", source.replace(line, indent(dedent(RAISES[error]).strip("\n"), margin)))

    done = kando("doctor", "--json")

    assert done.returncode == 1
    failed = [item for item in json.loads(done.stdout)["items"] if item["state"] == "fail"]
    assert any(error in item["detail"] for item in failed)
    assert done.stderr.count("\n") <= 1


def test_doctor_creates_nothing(kando: Run, home: Path) -> None:
    assert kando("doctor").returncode == 0

    assert list(home.iterdir()) == []


def test_no_command_shows_the_password_of_a_store(
    kando: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with tiny.open("a") as module:
        module.write(STORE)
    url = f"store://me:hunter2@db{tmp_path / 'kando.sqlite'}?password=hunter2"

    started = kando("--ledger", url, "run", "tiny", "--goal", "x")
    looked = kando("--ledger", url, "doctor")

    assert started.returncode == 0
    assert "--ledger URL" in started.stderr
    assert f"store://db{tmp_path}" in looked.stdout
    for done in (started, looked):
        assert "hunter2" not in done.stdout + done.stderr
