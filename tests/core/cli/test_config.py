"""Files of settings: what they may hold, which one takes precedence, and where a value comes from."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from kando.app.builtin import installed_plugins
from kando.app.config import read_settings
from kando.app.limits import limit_settings
from kando.app.providers import choose_provider
from kando.cli.main import cli
from kando.errors import ConfigurationError
from kando.settings import GRACE_SECONDS, SETTINGS, value_of

Run = Callable[..., Any]

#: A value of every setting, as the user's file may hold it.
FULL = """
ledger = "sqlite:runs.sqlite"
grace_seconds = 5
lease_seconds = 7.5
snapshot_dir = "snapshots"
quiet = true
trusted = ["~/mine"]

[llm]
provider = "parrot:hello"
timeout = 30
retries = 0
prices = "prices.toml"
record = "parrot"

[mcp]
files = "npx server"

[llm.options]
max_tokens = 4000

[llm.models."claude-*"]
effort = "high"

[workspaces]
folder = "workspaces"
ignore = [".venv", "*.pyc"]
max_files = 100
max_bytes = 1000000

[plugins]
only = []
disabled = ["one"]
preferred = ["two", "three"]
strict = true

[budget]
events = 1000
usd = 2.5
seconds = 60
depth = 50
llm_calls = 20
llm_tokens = 100000
tool_calls = 30
fallback_usd = 0.5
"""


@attrs.frozen
class Place:
    """A home, and a project in it.

    Attributes:
        home: the folder of the user.
        project: a repository, which is the working directory.
    """

    home: Path
    project: Path

    @property
    def user_file(self) -> Path:
        """The user's file of settings."""
        return self.home / ".config" / "kando" / "kando.toml"

    def user(self, text: str) -> None:
        """Write the file of the user."""
        self.user_file.parent.mkdir(parents=True, exist_ok=True)
        self.user_file.write_text(text)

    def own(self, text: str) -> None:
        """Write the file of the project."""
        (self.project / "kando.toml").write_text(text)

    def trust(self) -> None:
        """Have the user trust the project."""
        self.user(f"trusted = [{json.dumps(str(self.project))}]\n")


@pytest.fixture
def place(home: Path, environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Place:
    project = home / "project"
    (project / ".git").mkdir(parents=True)
    monkeypatch.chdir(project)
    return Place(home, project)


def values(kando: Run, *options: str) -> dict[str, tuple[Any, str]]:
    """Return the value and the origin of each setting, as `kando config` shows them."""
    done = kando("config", "--json", *options)
    assert done.returncode == 0, done.stderr
    items = json.loads(done.stdout)["items"]
    return {item["key"]: (item["value"], item["origin"]) for item in items}


def test_a_file_may_hold_every_setting(
    kando: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KANDO_QUIET")
    place.user(FULL)

    found = values(kando)

    keys = {key.split('"')[0].rstrip(".") for key in found}
    for setting in (*SETTINGS, *limit_settings().values()):
        assert any(key == setting.key or key.startswith(f"{setting.key}.") for key in keys)
    assert {origin for _, origin in found.values()} == {"user"}
    assert found["ledger"][0] == f"sqlite:{place.user_file.parent}/runs.sqlite"
    assert found["llm.prices"][0] == f"{place.user_file.parent}/prices.toml"
    assert found['llm.models."claude-*".effort'][0] == "high"
    assert found["plugins.only"][0] == []
    assert found["budget.fallback_usd"][0] == 0.5


def test_an_option_precedes_a_variable_a_project_a_user_and_the_default(
    kando: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ledger(*options: str) -> Any:
        return values(kando, *options)["ledger"]

    assert ledger()[1] == "default"
    place.user('ledger = "sqlite:/user"')
    assert ledger() == ("sqlite:/user", "user")
    place.user(f'ledger = "sqlite:/user"\ntrusted = ["{place.project}"]')
    place.own('ledger = "sqlite:/project"')
    assert ledger() == ("sqlite:/project", "project")
    monkeypatch.setenv("EVENTSTORE_URL", "esdb://127.0.0.1:1")
    assert ledger() == ("esdb://127.0.0.1:1", "environment")
    monkeypatch.setenv("KANDO_LEDGER", "sqlite:/variable")
    assert ledger() == ("sqlite:/variable", "environment")
    assert ledger("--ledger", "sqlite:/option") == ("sqlite:/option", "option")
    monkeypatch.setenv("KANDO_LEDGER", "")
    monkeypatch.delenv("EVENTSTORE_URL")
    assert ledger() == ("sqlite:/project", "project")


def test_a_run_uses_the_store_the_provider_and_the_limits_of_a_file(
    kando: Run, tiny: Path, place: Place
) -> None:
    place.user(
        'ledger = "sqlite:runs.sqlite"\n[llm]\nprovider = "parrot:hi"\n[budget]\nevents = 500\n'
    )

    run_id = kando("run", "tiny", "--goal", "x").stdout.strip()

    state = json.loads(kando("status", run_id, "--json").stdout)
    assert (state["state"], state["llm_cost_usd"]) == ("finished", 0.5)
    assert (place.user_file.parent / "runs.sqlite").exists()
    assert kando("--ledger", "memory:", "status", run_id).returncode == 3


def test_the_nearest_file_counts_up_to_the_root_of_the_repository(
    kando: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.home / "kando.toml").write_text("grace_seconds = 1")
    assert values(kando)["grace_seconds"][1] == "default"
    place.own("grace_seconds = 2")
    deep = place.project / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert values(kando)["grace_seconds"] == (2, "project")
    (place.project / "a" / "kando.toml").write_text("grace_seconds = 3")
    assert values(kando)["grace_seconds"] == (3, "project")
    elsewhere = place.home / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert values(kando)["grace_seconds"] == (1, "project")


def test_a_variable_names_another_file_or_none(
    kando: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.user("grace_seconds = 1")
    place.own("grace_seconds = 2")
    named = place.home / "named.toml"
    named.write_text('grace_seconds = 3\n[llm]\nprovider = "parrot"')

    monkeypatch.setenv("KANDO_CONFIG", str(named))
    assert values(kando)["grace_seconds"] == (3, "user")
    monkeypatch.setenv("KANDO_CONFIG", "")
    assert values(kando)["grace_seconds"] == (60, "default")
    monkeypatch.setenv("KANDO_CONFIG", "gone.toml")
    done = kando("config")
    assert (done.returncode, done.stdout) == (2, "")
    assert "KANDO_CONFIG names gone.toml" in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grace_seconds = 1\nledger = \n", "line 2 is not TOML"),
        ("a = 1\na = 2\n", "line 2 is not TOML"),
        ("\na = 'x", "line 2 is not TOML"),
        ("a = " + "[" * 5000, "is not TOML"),
        ("\ngrace_second = 3", "line 2: there is no setting 'grace_second'. Did you mean grace_s"),
        ("[llm]\noptoins = {}", "line 2: there is no setting 'llm.optoins'. Did you mean llm.opt"),
        ("[llm]\neffort = 'low'", "Did you mean llm.options.effort?"),
        ("[budget]\nllm-calls = 3", "Did you mean budget.llm_calls?"),
        ("max_tokens = 3", "Did you mean llm.options.max_tokens?"),
        ("xyzzy = 3", "Keys: budget.depth, "),
        ("llm = 3", "line 1: llm must be a table. Write [llm]"),
        ("grace_seconds = '5'", "line 1: grace_seconds must be a number, not '5'"),
        ("grace_seconds = true", "grace_seconds must be a number, not True"),
        ("grace_seconds = -1", "grace_seconds must be a number of seconds, not -1"),
        ("lease_seconds = inf", "lease_seconds must be a number of seconds, not inf"),
        ("ledger = 1979-05-27", "ledger must be a string"),
        ("[llm]\nprovider = ''", "line 2: llm.provider must be a string, not ''"),
        ("[budget]\nevents = 1.5", "budget.events must be a whole number of at least 0, not 1.5"),
        ("[plugins]\nonly = 'a'", "plugins.only must be a list of strings"),
        ("[plugins]\nstrict = 1", "plugins.strict must be true or false"),
        ("[llm.options]\n\nmax_tokens = 'x'", "line 3: max_tokens of [llm.options] must be a"),
        ("[llm.options]\nmax_token = 3", "line 2: max_token of [llm.options] is not an option"),
        ("[llm.options]\nmodel = 'm'", "line 2: [llm.options] sets model"),
        ("[llm.options]\nn = 2", "line 2: The option n of [llm.options] cannot be honoured"),
        ("[llm.models.m]\ntop_p = 'x'", "line 2: top_p of [llm.models.m] must be a number"),
        ("[llm.models.m]\nsince = 1979-05-27", "line 1: llm.models holds a date"),
        ("[llm]\nmodels = {m = 3}", "line 2: llm.models holds a date"),
        ("trusted = '/'", "line 1: trusted must be a list of strings"),
    ],
)
def test_an_error_names_the_file_the_line_the_key_and_the_right_key(
    kando: Run, place: Place, text: str, says: str
) -> None:
    place.user(text)

    done = kando("runs")

    assert (done.returncode, done.stdout) == (2, "")
    assert str(place.user_file) in done.stderr
    assert says in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "[llm]\napi_key = 'hunter2hunter2'",
        "OPENAI_API_KEY = 'hunter2hunter2'",
        "[llm.options]\nextra_body = {token = 'hunter2hunter2'}",
        "[llm.models.m]\nmetadata = 'sk-hunter2hunter2hunter2'",
        "ledger = 'postgresql://me:hunter2@host/db'",
        "ledger = 'esdb://host?tls=true&password=hunter2'",
    ],
)
def test_a_secret_is_refused_and_not_shown(kando: Run, place: Place, text: str) -> None:
    place.user(text)

    done = kando("config")

    assert done.returncode == 2
    assert "environment" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "text",
    [
        'ledger = "sqlite:theirs.sqlite"',
        '[llm]\nprovider = "openai:expensive"',
        '[llm]\nrecord = "openai"',
        '[llm]\nprices = "free.toml"',
        'snapshot_dir = "/tmp"',
        '[workspaces]\nfolder = "/tmp"',
        "[plugins]\nonly = []",
        "[plugins]\ndisabled = ['guard']",
        "[plugins]\npreferred = ['theirs']",
        "[budget]\nfallback_usd = 0",
        "[llm.options]\nmodels = ['expensive']",
        "[llm.options.extra_body]\nmodel = 'expensive'",
        '[llm.models."m"]\nservice_tier = "priority"',
    ],
)
def test_a_project_makes_no_choice_unless_the_user_trusts_it(
    kando: Run, place: Place, text: str
) -> None:
    place.own(text)

    refused = kando("config")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{place.project}/kando.toml, line" in refused.stderr
    cure = refused.stderr.partition("a line ")[2].partition(" at the top")[0]
    place.user(cure)
    assert kando("config").returncode == 0


def test_no_project_trusts_itself(kando: Run, place: Place) -> None:
    place.own(f'trusted = ["{place.project}"]')

    done = kando("config")

    assert done.returncode == 2
    assert "no project trusts itself" in done.stderr


def test_a_project_lowers_limits_and_raises_none_unless_it_is_trusted(
    kando: Run, place: Place
) -> None:
    place.user("[budget]\nusd = 2\nevents = 100")
    place.own("[budget]\nusd = 9\nevents = 50\nllm_calls = 4\ndepth = 99999")

    found = values(kando)

    assert found["budget.usd"] == (2, "user")
    assert found["budget.events"] == (50, "project")
    assert found["budget.llm_calls"] == (4, "project")
    assert found["budget.depth"] == (50_000, "default")
    place.trust()
    assert values(kando)["budget.depth"] == (99999, "project")


def test_options_are_merged_one_by_one_and_those_of_a_model_precede(
    kando: Run, tiny: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.user(
        "[llm.options]\nmax_tokens = 1\ntop_p = 0.1\ntop_k = 1\nseed = 1\n"
        '[llm.models."m-*"]\ntop_p = 0.2\ntop_k = 2\nseed = 2\n'
    )
    place.own('[llm.options]\nmax_tokens = 3\ntop_p = 0.3\n[llm.models."m-*"]\ntop_k = 3')
    monkeypatch.setenv("KANDO_LLM_OPTIONS", '{"seed": 4}')

    found = values(kando)
    environ = read_settings().environ
    chosen = choose_provider(
        "parrot", installed_plugins(environ), environ, options={"max_tokens": 5}
    )

    assert found["llm.options.max_tokens"] == (3, "project")
    assert found['llm.models."m-*".top_p'] == (0.2, "user")
    assert found['llm.models."m-*".top_k'] == (3, "project")
    assert found['llm.models."m-*".seed'] == (4, "environment")
    assert chosen is not None
    assert chosen.options == {"max_tokens": 5, "top_p": 0.3, "top_k": 1, "seed": 4}
    of_model = {**chosen.options, **chosen.model_options["m-*"]}
    assert of_model == {"max_tokens": 5, "top_p": 0.2, "top_k": 3, "seed": 4}


def test_doctor_shows_the_files_and_survives_a_malformed_one(kando: Run, place: Place) -> None:
    place.user("grace_seconds = 5")
    place.own("[budget]\nevents = 5")

    def settings() -> list[dict[str, str]]:
        items = json.loads(kando("doctor", "--json").stdout)["items"]
        return [item for item in items if item["what"] == "settings"]

    user, own = settings()
    assert (user["state"], user["detail"]) == ("ok", f"{place.user_file} (user): grace_seconds")
    assert own["detail"] == f"{place.project}/kando.toml (project, not trusted): budget.events"
    place.own("\nbudget\n")
    (failed,) = settings()
    assert failed["state"] == "fail"
    assert "kando.toml, line 2 is not TOML" in failed["detail"]
    assert kando("doctor").returncode == 1


def test_help_needs_no_file_and_reads_none(process: Run, place: Place) -> None:
    place.own("a malformed file")
    code = (
        "import sys; from kando.cli.main import main\n"
        "try: main(['--help'])\n"
        "finally: assert 'tomllib' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=place.project, capture_output=True)

    assert done.returncode == 0, done.stderr


def test_a_command_without_a_file_does_not_import_the_parser(place: Place) -> None:
    code = (
        "import sys; from kando.cli.main import main\n"
        "try: main(['config'])\n"
        "finally: assert 'tomllib' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=place.project, capture_output=True)

    assert done.returncode == 0, done.stderr


def test_a_program_reads_no_file_unless_it_asks(place: Place) -> None:
    place.user("grace_seconds = 5")
    from kando import open_store

    with open_store("memory:") as store:
        assert value_of(GRACE_SECONDS, store.context.environ) == 60
    with open_store("memory:", environ=read_settings().environ) as store:
        assert value_of(GRACE_SECONDS, store.context.environ) == 5
    place.user("grace_seconds = 'x'")
    with pytest.raises(ConfigurationError):
        read_settings()


def test_every_option_of_a_setting_exists() -> None:
    known = {
        option
        for command in (cli, *(cli.get_command(None, name) for name in ("run", "worker")))  # type: ignore[arg-type]
        for parameter in command.params  # type: ignore[union-attr]
        for option in parameter.opts
    }

    named = {each.option for each in (*SETTINGS, *limit_settings().values()) if each.option}

    assert named <= known
