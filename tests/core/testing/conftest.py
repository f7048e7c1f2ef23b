"""Loads the fixtures for plugin authors, for the tests of this folder only."""

from __future__ import annotations

from kando.testing.fixtures import *  # noqa: F403
