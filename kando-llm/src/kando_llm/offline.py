"""The offline providers: they need no key, no network and no luck.

Both keep nothing between requests, so equal requests get equal answers, in any order and from any
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kando_llm.errors import ProviderError
from kando_llm.messages import first_line, last_user_text, texts_of, word_count
from kando_llm.script import load_script

__all__ = ["Complete", "open_echo", "open_scripted"]

#: ``complete(request) -> answer``: the data of an ``llm.request`` to that of its ``llm.response``.
Complete = Callable[[dict[str, Any]], dict[str, Any]]

_ECHO = "Echo, no model answered:"

_DEFAULT_MAX_TOKENS = 1024


def open_echo(argument: str, environ: Mapping[str, str]) -> Complete:
    """Return a provider that answers with the words of the last user message.

    An answer says first that it is an echo, and has at most ``max_tokens`` words.

    Args:
        argument: must be empty.
        environ: not looked at.

    Raises:
        ProviderError: there is an argument.
    """
    if argument:
        msg = f"Provider 'echo' takes no argument, but was given {argument!r:.60}."
        raise ProviderError(msg, hint="Name it as echo.")

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        words = [*_ECHO.split(), *last_user_text(request).split()]
        return _answer(request, " ".join(words[: _max_tokens(request)]), "echo", 0.0)

    return complete


def open_scripted(argument: str, environ: Mapping[str, str]) -> Complete:
    """Return a provider that answers from a script, see `kando_llm.script.Script`.

    The script is read once, here. Its answers are given in full, whatever ``max_tokens`` says.

    Args:
        argument: path of the JSON file.
        environ: not looked at.

    Raises:
        ProviderError: the script cannot be read or is malformed.
    """
    if not argument:
        msg = "Provider 'scripted' needs a script, but was given none."
        raise ProviderError(msg, hint="Name its JSON file: scripted:FILE.")
    path = Path(argument).expanduser()
    script = load_script(path)

    def complete(request: dict[str, Any]) -> dict[str, Any]:
        answer = script.answer_to(texts_of(request))
        if answer is None:
            msg = f"Script {str(path)!r} has no answer to {first_line(request)!r:.120}."
            raise ProviderError(msg, hint='Add one to "answers", or a "default" for all others.')
        return _answer(request, answer.text, "scripted", answer.cost_usd)

    return complete


def _answer(request: dict[str, Any], text: str, model: str, cost_usd: float) -> dict[str, Any]:
    asked = sum(map(word_count, texts_of(request)))
    usage = {"input_tokens": asked, "output_tokens": word_count(text)}
    return {"text": text, "model": model, "cost_usd": cost_usd, "usage": usage}


def _max_tokens(request: dict[str, Any]) -> int:
    limit = request.get("max_tokens", _DEFAULT_MAX_TOKENS)
    if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
        return limit
    msg = f"max_tokens of the request must be a whole number of at least 1, not {limit!r:.60}."
    raise ProviderError(msg, hint="Leave it out for the default.")
