"""`--set` of `kando run` and `kando fork`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

KIT = """
    import attrs
    from kando.emit import create
    from kando.kit import Kit
    from kando.plugins import KitSpec, hookimpl
    from kando.schema.events import make_event

    kit = Kit("levels", version="1")

    @kit.settings
    @attrs.frozen
    class Settings:
        depth: int = 2
        title: str = "a"

    @kit.object
    @attrs.frozen
    class Level:
        title: str

    @kit.seeds
    def seeds(goal, run_id):
        return [make_event("opened", "", "cli", [], {})]

    @kit.responder("opened")
    def on_opened(event, world):
        settings = world.settings(Settings)
        for n in range(settings.depth):
            yield create(Level(f"{settings.title}{n}"))

    @hookimpl
    def kando_kits():
        return [KitSpec("levels", "levels_plugin:kit", "levels")]
"""


def titles(kando, run: str) -> list[str]:
    world = json.loads(kando("world", run, "--json").stdout)
    return [each["data"]["title"] for each in world["objects"]]


def test_a_run_and_its_branch_have_the_settings_that_were_set(
    kando, install: Callable[[str, str], Path]
) -> None:
    install("levels", KIT)

    run = kando("run", "levels", "--goal", "x", "--set", "depth=1", "--set", "title=b=c")
    assert run.returncode == 0, run.stderr
    assert titles(kando, "@last") == ["b=c0"]

    branch = kando("fork", run.stdout.strip(), "--at", "2", "--set", "depth=3", "--run")
    assert branch.returncode == 0, branch.stderr
    assert titles(kando, "@last") == ["b=c0", "b=c1", "b=c2"]
    assert kando("replay", "@last", "--strict").returncode == 0


def test_a_setting_that_does_not_fit_is_a_usage_error(
    kando, install: Callable[[str, str], Path]
) -> None:
    install("levels", KIT)

    for given, says in (("depht=1", "Did you mean 'depth'?"), ("depth=x", "expected int")):
        done = kando("run", "levels", "--goal", "x", "--set", given)
        assert done.returncode != 0
        assert says in done.stderr
    assert "settings" in kando("kits", "show", "levels").stdout
