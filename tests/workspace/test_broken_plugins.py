"""Three broken plugins, installed with a kit: the kit runs unchanged, and the doctor names all three."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

Done = subprocess.CompletedProcess[str]

BROKEN = {
    # It fails to be imported,
    "kando-raises": "raise RuntimeError('no good\\nand more')\n",
    # claims the name of another kit,
    "kando-takes": (
        "from kando.plugins import KitSpec, hookimpl\n"
        "@hookimpl\ndef kando_kits():\n    return [KitSpec('diligence', 'thief:kit')]\n"
    ),
    # and was made for a Kando that does not exist.
    "kando-future": (
        "from kando.plugins import KitSpec, hookimpl\n"
        "KANDO_PLUGIN_API = (99, 99)\n"
        "@hookimpl\ndef kando_kits():\n    return [KitSpec('future', 'future:kit')]\n"
    ),
}


def environ_of(tmp_path: Path, **more: str) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(home), "LANG": "C.UTF-8", **more}


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which the three are installed."""
    site = tmp_path / "site"
    for distribution, source in BROKEN.items():
        stem = distribution.replace("-", "_")
        info = site / f"{stem}-1.0.dist-info"
        info.mkdir(parents=True)
        about = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        (info / "METADATA").write_text(about)
        (info / "entry_points.txt").write_text(f"[kando]\n{stem} = {stem}_plugin\n")
        (site / f"{stem}_plugin.py").write_text(source)
    return environ_of(tmp_path, PYTHONPATH=str(site))


def kando(environ: dict[str, str], *arguments: str) -> Done:
    command = [sys.executable, "-m", "kando.cli.main", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)


def decided(environ: dict[str, str], run_id: str) -> list[object]:
    """Return what a run recorded, without times and what was measured."""
    lines = kando(environ, "events", run_id, "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    return [
        (e["id"], e["actor"], e["cause"], {k: v for k, v in e["data"].items() if k != "observed"})
        for e in events
    ]


def test_a_run_comes_out_as_if_they_were_not_there(broken: dict[str, str], tmp_path: Path) -> None:
    sound = environ_of(tmp_path)
    without = kando(sound, "run", "diligence", "--demo")
    assert without.returncode == 0, without.stderr

    done = kando(broken, "run", "diligence", "--demo")

    assert done.returncode == 0, done.stderr
    assert decided(broken, done.stdout.strip()) == decided(sound, without.stdout.strip())
    assert "Traceback" not in done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if "failed to load" in line]
    assert "kando-raises 1.0" in warning
    assert "kando-future 1.0" in warning


def test_the_doctor_reports_the_three_and_exits_with_1(broken: dict[str, str]) -> None:
    done = kando(broken, "doctor", "--json")

    assert done.returncode == 1
    items = json.loads(done.stdout)["items"]
    failed = {item["what"]: item["detail"] for item in items if item["state"] == "fail"}
    assert failed == {
        "plugin kando_raises": "kando-raises 1.0: RuntimeError: no good and more",
        "plugin kando_future": failed["plugin kando_future"],
        "kit diligence": failed["kit diligence"],
    }
    assert "kando-future 1.0: was made for plugin API 99" in failed["plugin kando_future"]
    assert "kando-kit-diligence" in failed["kit diligence"]
    assert "kando-takes 1.0" in failed["kit diligence"]


def test_plugins_shows_them_and_their_state(broken: dict[str, str]) -> None:
    done = kando(broken, "plugins", "--json")

    rows = json.loads(done.stdout)["items"]
    states = {(row["distribution"], row["state"]) for row in rows}
    assert {("kando-raises", "failed"), ("kando-future", "failed")} <= states
    assert ("kando-takes", "conflict") in states


def test_what_is_left_out_is_neither_loaded_nor_reported(broken: dict[str, str]) -> None:
    names = "kando-raises,kando-takes,kando-future"

    done = kando({**broken, "KANDO_DISABLE_PLUGINS": names}, "doctor")

    assert done.returncode == 0, done.stdout
    assert "kando-raises" not in done.stdout


def test_a_preference_settles_the_name_that_two_claim(broken: dict[str, str]) -> None:
    left_out = {**broken, "KANDO_DISABLE_PLUGINS": "kando-raises,kando-future"}

    assert kando(left_out, "doctor").returncode == 1
    assert kando(left_out, "--prefer", "kando-kit-diligence", "doctor").returncode == 0
    assert kando(left_out, "doctor", "--prefer", "kando-kit-diligence").returncode == 0
    assert kando({**left_out, "KANDO_PREFER": "kando-kit-diligence"}, "doctor").returncode == 0
    thief = kando(left_out, "run", "diligence", "--goal", "x", "--prefer", "kando-takes")
    assert thief.returncode != 0
    assert "kando-takes 1.0" in thief.stderr
