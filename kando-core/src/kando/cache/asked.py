"""The model and the provider that a request was sent to, which decide the answers it may be served.

A request may be sent to another model than it names, and on a branch a provider may be chosen. The
answer says so, under ``observed.asked``, so that the cache can be restored from the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

import attrs

from kando.cache.llm import LLMCache, request_key
from kando.schema.events import OBSERVED

__all__ = ["Asked", "asked_in", "cached_answer", "provider_identity", "put_answer"]

_ASKED = "asked"


@attrs.frozen
class Asked:
    """The model and the provider that a request was sent to.

    Attributes:
        model: that it was sent to instead of the model that it names; None for the one it names.
        llm: identity of the provider, as `provider_identity` returns it. In a look-up, None stands
            for any provider: no provider was chosen for the branch.
        options: that were sent instead of those that it names. In a look-up, None stands for any.
        by_model: options of the requests to one model, by its name or a pattern of names; they
            override `options`. See `of`.
        default_model: to which the provider sends requests for ``default``; empty if unknown.
        provider: its name, which a pattern may name before a colon; a look-up has it, too.
    """

    model: str | None = None
    llm: str | None = None
    options: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    by_model: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, hash=False)
    default_model: str = ""
    provider: str = ""

    def of(self, request: Mapping[str, Any]) -> Asked:
        """Return what is asked for one request: the same, with the options of its model."""
        if not self.by_model:
            return self
        names = self._names_of_model(request)
        options = dict(self.options or {})
        for pattern, named in self.by_model.items():
            if any(fnmatchcase(name, pattern) for name in names):
                options.update(named)
        return Asked(self.model, self.llm, options or None)

    def _names_of_model(self, request: Mapping[str, Any]) -> set[str]:
        model = str(self.model or request.get("model") or "default")
        model = self.default_model or model if model == "default" else model
        return {model, model.partition(":")[2] or model, f"{self.provider}:{model}"}

    def replaced(self) -> dict[str, Any]:
        """Return the fields that were sent instead of those of a request."""
        options = {**(self.options or {})}
        return options if self.model is None else {**options, "model": self.model}

    def sent(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request as it was sent."""
        return {**request, **self.replaced()}

    def key(self, cache: LLMCache, request: Mapping[str, Any]) -> str:
        """Return the key under which a cache keeps the answer of this provider to a recorded request."""
        return self.key_at(cache.key_of(request, self.replaced()))

    def key_at(self, sent: str) -> str:
        """Return the same key, given that of the request as it was sent."""
        return sent if self.llm is None else request_key({"asked": self.llm, "request": sent})

    def noted(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return an answer that says what was asked."""
        fields = {"model": self.model, "llm": self.llm, "options": self.options}
        about = {
            name: value
            for name, value in fields.items()
            if value is not None and (name != "options" or value)
        }
        observed = answer.get(OBSERVED)
        known = observed if isinstance(observed, dict) else {}
        return {**answer, OBSERVED: {**known, _ASKED: about}} if about else answer


def asked_in(answer: Mapping[str, Any], model: str | None = None) -> Asked:
    """Return what an answer says was asked.

    Args:
        answer: data of an ``llm.response``.
        model: that requests were sent to at that time, if the answer does not say.
    """
    observed = answer.get(OBSERVED)
    about = observed.get(_ASKED) if isinstance(observed, Mapping) else None
    if not isinstance(about, Mapping):
        return Asked(model)
    named, llm = about.get("model"), about.get("llm")
    options = about.get("options")
    return Asked(
        named if isinstance(named, str) else None,
        llm if isinstance(llm, str) else None,
        options if isinstance(options, dict) else None,
    )


def provider_identity(name: str, argument: str = "") -> str:
    """Return the identity of a provider: its name, and the hash of its argument.

    The argument itself may be a path or hold a password, which no ledger may keep.
    """
    return f"{name}:{sha256(argument.encode()).hexdigest()[:16]}" if argument else name


def cached_answer(cache: LLMCache, request: Mapping[str, Any], asked: Asked) -> Any | None:
    """Return the cached answer to a recorded request that would be sent like this, or None."""
    return cache.get_at(asked.key(cache, request))


def put_answer(
    cache: LLMCache, request: Mapping[str, Any], answer: dict[str, Any], asked: Asked
) -> None:
    """Store the answer to a recorded request that was sent like this.

    It is found by look-ups of this provider, and by those of any provider; with these options, and
    with any.
    """
    found_by = [asked] if asked.llm is None else [asked, attrs.evolve(asked, llm=None)]
    if asked.options:
        found_by += [attrs.evolve(each, options=None) for each in found_by]
    cache.put_at(dict.fromkeys(each.key(cache, request) for each in found_by), answer)
