"""What goes wrong with a provider.

KandoError
  ProviderError   a provider that cannot be opened, or cannot answer
"""

from __future__ import annotations

from typing import ClassVar

from kando.errors import KandoError

__all__ = ["ProviderError"]


class ProviderError(KandoError):
    """A provider that cannot be opened, or cannot answer a request."""

    code: ClassVar[str] = "provider"
