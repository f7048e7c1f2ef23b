"""Demos of kits: documents to work from, and a script that answers LLM requests.

The format of the script is a subset of that of the provider ``scripted`` in kando-llm. The script is
played here, so that a demo needs neither an installed provider nor its SDKs.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from kando.app.providers import Provider
from kando.errors import ConfigurationError, NotFoundError
from kando.kit import Demo, Kit
from kando.responders.llm_executor import provider_executor
from kando.schema.content import text_of_content
from kando.text.documents import Document, Skipped, read_documents

__all__ = ["DEMO_PROVIDER", "demo_documents", "demo_of", "demo_provider"]

#: Name of the provider that plays the script of a kit.
DEMO_PROVIDER = "demo"


def demo_of(kit: Kit) -> Demo:
    """Return the demo of a kit.

    Raises:
        NotFoundError: the kit has no demo.
    """
    if kit.demo is None:
        msg = f"Kit {kit.name!r} has no demo."
        raise NotFoundError(msg, hint="Start it without --demo, with --goal and --input.")
    return kit.demo


def demo_documents(demo: Demo) -> list[Document | Skipped]:
    """Read the documents of a demo, if it has any.

    Their paths do not depend on where the kit is installed.
    """
    folder = _folder(demo) / "documents"
    if not folder.exists():
        return []
    return [
        attrs.evolve(each, path=f"{demo.folder}/{each.path.rpartition('/documents/')[2]}")
        for each in read_documents([folder])
    ]


def demo_provider(kit: Kit) -> Provider:
    """Return the provider that plays the script of a kit's demo.

    Each request gets the first answer of the script whose words all occur in the request, else its
    default. So equal requests get equal answers, in any order.

    Raises:
        NotFoundError: the kit has no demo.
        ConfigurationError: the script cannot be read.
    """
    path = _folder(demo_of(kit)) / "answers.json"
    try:
        script = json.loads(path.read_text(encoding="utf-8"))
        answers = [(_words(each["contains"]), _text_in(each)) for each in script["answers"]]
        default = str(script.get("default", ""))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        msg = f"The demo of kit {kit.name!r} has no valid script: {type(error).__name__}: {error}."
        hint = f"Report this to the authors of {kit.distribution or kit.name}."
        raise ConfigurationError(msg, hint=hint) from error

    return Provider(DEMO_PROVIDER, kit.name, provider_executor(_Played(answers, default)))


@attrs.frozen
class _Played:
    """A provider's `complete` that plays a script.

    Attributes:
        answers: words that must occur in a request, and the text that answers it.
        default: the answer to all other requests.
    """

    answers: list[tuple[list[str], str]]
    default: str

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the script's answer."""
        asked = "\n".join(text_of_content(each.get("content")) for each in request["messages"])
        matching = (text for words, text in self.answers if all(each in asked for each in words))
        return {"text": next(matching, self.default), "model": DEMO_PROVIDER, "cost_usd": 0.0}

    def worst_case_usd(self, request: dict[str, Any]) -> float:
        """Return the cost of an answer: zero."""
        return 0.0


def _text_in(answer: dict[str, Any]) -> str:
    """Return the text of an answer of a script, or its data as JSON."""
    if "data" in answer:
        return json.dumps(answer["data"], ensure_ascii=False)
    return str(answer["text"])


def _words(contains: str | list[str]) -> list[str]:
    return [contains] if isinstance(contains, str) else [*contains]


def _folder(demo: Demo) -> Path:
    # Documents are read from files, so a kit with a demo must be installed as files.
    return Path(str(resources.files(demo.package))) / demo.folder
