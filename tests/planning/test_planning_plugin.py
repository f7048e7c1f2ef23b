"""The plugin that registers the planning kit."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

from kits.planning.kit import kit
from kits.planning.plugin import kando_kits


def test_the_plugin_names_the_kit():
    (spec,) = kando_kits()

    module, _, attribute = spec.target.partition(":")

    assert spec.name == kit.name == "planning"
    assert getattr(import_module(module), attribute) is kit
    assert spec.summary


def test_the_plugin_does_not_import_the_kit():
    code = "import sys, kits.planning.plugin; print('kits.planning.kit' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "False"
