"""The fixtures that plugin authors get are loaded here alone."""

from __future__ import annotations

from kando.testing.fixtures import *  # noqa: F403
