"""Commands that read an idle run import its kit only if what is installed has changed since."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

Run = Callable[..., Any]

#: A kit that logs each import. Its version is in another module and in a file.
KIT = """
    from pathlib import Path
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event
    from steps_version import MAJOR

    with Path("imported").open("a") as file:
        file.write("x")

    minor = Path(__file__).with_name("minor.txt").read_text()
    kit = Kit("steps", version=f"{MAJOR}.{minor}")

    @kit.seeds
    def seeds(goal, run_id):
        data = {"id": "step", "type": "Step", "data": {}}
        return [make_event("object.created", f"run:{run_id}", "cli", [], data)]

    @kit.responder("object.created", type="Step")
    def on_step(event, world):
        with Path("fired").open("a") as file:
            file.write("x")

    @hookimpl
    def kando_kits():
        return [KitSpec("steps", "steps_plugin:kit", "one step")]
"""

UPCASTERS = """
    from kando.plugins import hookimpl
    from kando.schema.upcasting import Upcaster

    @hookimpl
    def kando_upcasters():
        return [Upcaster("object.created", 1, lambda data: {**data, "type": "Stair"})]
"""


@pytest.fixture
def site(install: Callable[[str, str], Path]) -> Path:
    """Install the kit, in a process that is not this one, and return its folder."""
    module = install("steps", KIT)
    module.with_name("steps_version.py").write_text("MAJOR = 1\n")
    module.with_name("minor.txt").write_text("0")
    return module.parent


@pytest.fixture
def run(site: Path, process: Run) -> str:
    """Return a run of the kit that is idle and was read once, without an import of the kit."""
    until = time.monotonic() + 30
    newest = max(path.stat().st_ctime for path in site.rglob("*"))
    # A file that has just been written may change once more within the precision of its times.
    while time.time() < newest + 2.5 and time.monotonic() < until:
        time.sleep(0.05)
    run: str = process("run", "steps", "--goal", "go").stdout.strip()
    assert count("imported") == 1
    return run


def count(name: str) -> int:
    path = Path(name)
    return len(path.read_text()) if path.exists() else 0


def test_an_unchanged_kit_is_not_imported_to_read_an_idle_run(process: Run, run: str) -> None:
    for command in (["status", run], ["runs"], ["world", run], ["events", run], ["metrics", run]):
        done = process(*command)
        assert done.returncode == 0, done.stderr
        assert count("imported") == 1, command

    assert "finished" in process("status", run).stdout
    assert "steps 1.0" in process("status", run).stdout


def edit_version(site: Path) -> None:
    site.joinpath("steps_version.py").write_text("MAJOR = 2\n")


def edit_data(site: Path) -> None:
    site.joinpath("minor.txt").write_text("5")


def edit_kit(site: Path) -> None:
    path = site / "steps_plugin.py"
    path.write_text(path.read_text().replace("{MAJOR}.", "{MAJOR + 1}."))


def upgrade(site: Path) -> None:
    site.joinpath("steps-1.0.dist-info").rename(site / "steps-2.0.dist-info")
    metadata = site / "steps-2.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "2.0"))


def install_another(site: Path) -> None:
    """Install a plugin that offers a kit of the same name, before the kit in ``sys.path``."""
    shutil.copytree(site / "steps-1.0.dist-info", site / "a_steps-1.0.dist-info")
    path = site / "a_steps-1.0.dist-info" / "METADATA"
    path.write_text(path.read_text().replace("steps", "a-steps"))


@pytest.mark.parametrize("change", [edit_version, edit_data, edit_kit, upgrade, install_another])
def test_a_change_of_the_kit_is_seen_at_once(
    process: Run, run: str, site: Path, change: Callable[[Path], None]
) -> None:
    change(site)
    imported = count("imported")

    assert process("status", run).returncode == 0
    assert count("imported") > imported


def test_a_new_version_of_the_kit_is_asked_for_work_and_the_old_one_again_is_not(
    process: Run, run: str, site: Path
) -> None:
    fired = count("fired")
    edit_version(site)

    assert "finished" in process("status", run).stdout
    assert count("fired") > fired
    assert process("resume", run).returncode == 0
    fired = count("fired")
    assert "steps 2.0" in process("status", run).stdout
    assert count("fired") == fired


def test_an_uninstalled_kit_is_seen_at_once(process: Run, run: str, site: Path) -> None:
    shutil.rmtree(site / "steps-1.0.dist-info")

    shown = process("status", run)

    assert (shown.returncode, count("imported")) == (0, 1)
    assert "finished" in shown.stdout
    assert "No plugin offers a kit 'steps'" in process("resume", run).stderr


def test_settings_that_choose_plugins_are_heeded(process: Run, run: str) -> None:
    for variable in ("KANDO_PLUGINS", "KANDO_PREFER", "KANDO_STRICT_PLUGINS"):
        imported = count("imported")
        assert process("status", run, **{variable: "steps"}).returncode == 0
        assert count("imported") > imported, variable

    imported = count("imported")
    assert process("status", run, KANDO_DISABLE_PLUGINS="steps").returncode == 0
    assert process("status", run).returncode == 0
    assert count("imported") == imported


def test_new_upcasters_of_another_plugin_are_seen_at_once(
    process: Run, run: str, install: Callable[[str, str], Path]
) -> None:
    assert "1 Step" in process("status", run).stdout
    install("stairs", dedent(UPCASTERS))

    # The snapshot is of the events as they were recorded, which a warning says.
    assert "1 Stair" in process("status", run, PYTHONWARNINGS="default").stdout


def test_a_kit_that_changes_while_its_run_is_worked_on_is_looked_up(
    process: Run, site: Path
) -> None:
    path = site / "steps_plugin.py"
    path.write_text(f"{path.read_text()}\nPath(__file__).touch()\n")
    run = process("run", "steps", "--goal", "go").stdout.strip()
    imported = count("imported")

    assert process("status", run).returncode == 0
    assert count("imported") > imported
