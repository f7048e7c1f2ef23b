"""Open LLM providers by name: for providers that pass requests on, and for programs."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kando.app.builtin import installed_plugins
from kando.app.providers import Router
from kando.app.providers import open_provider as open_installed

__all__ = ["Router", "open_provider"]


def open_provider(named: str, environ: Mapping[str, str] | None = None) -> Router:
    """Return an installed provider as a function ``complete(request)``, as runs use it.

    Close it with its `close`. To answer the requests of a `kando.runtime.Runtime` with it, pass it
    to `kando.responders.llm_executor.provider_executor`.

    Args:
        named: ``provider``, ``provider:argument``, or a model that only one provider knows.
        environ: keys and settings; those of the process if None.

    Raises:
        UnknownPlugin: no installed plugin offers the provider.
        AmbiguousName: several providers know the model.
        KandoError: the provider cannot be opened.
    """
    settings = os.environ if environ is None else environ
    return open_installed(named, installed_plugins(settings), settings)
