"""The offline providers `echo` and `scripted`, which need no key and no network.

They keep no state between requests, so equal requests get equal answers, in any order and from
any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from kando.responders.options import option_names
from kando_llm.errors import ProviderError
from kando_llm.messages import excerpt, last_user_text, texts_of, word_count
from kando_llm.request import max_tokens_of
from kando_llm.sample import sample_of
from kando_llm.script import ScriptedAnswer, load_script

__all__ = ["Complete", "open_echo", "open_scripted"]

#: ``complete(request) -> answer``: the data of an ``llm.request`` to that of its ``llm.response``.
Complete = Callable[[dict[str, Any]], dict[str, Any]]

_ECHO = "Echo, no model answered:"

#: Length of a text in a structured answer of `echo`.
_MAX_FIELD_CHARS = 300


@attrs.frozen
class OfflineProvider:
    """A provider's `complete` that needs no server.

    Attributes:
        answer_to: returns the answer to a request.
        name: of the model in answers.
    """

    answer_to: Callable[[dict[str, Any]], ScriptedAnswer]
    name: str = "echo"

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the data of the ``llm.response`` to the data of an ``llm.request``."""
        answer = self.answer_to(request)
        input_tokens = sum(map(word_count, texts_of(request)))
        usage = {"input_tokens": input_tokens, "output_tokens": word_count(answer.as_text)}
        data: dict[str, Any] = {
            "text": answer.as_text,
            "model": self.name,
            "cost_usd": answer.cost_usd,
            "usage": usage,
            "stop": "tool" if answer.tool_calls else answer.stop,
            "stop_raw": answer.stop,
        }
        calls = answer.calls_for(texts_of(request))
        # Without a model there is nothing to steer.
        honoured = ("max_tokens",) if self.name == "echo" else ("max_tokens", "stop")
        dropped = [name for name in option_names(request) if name not in honoured]
        data |= {"dropped": dropped} if dropped else {}
        return {**data, "tool_calls": calls} if calls else data

    def worst_case_usd(self, request: dict[str, Any]) -> float | None:
        """Return the cost of a request in US dollars, which is known in advance."""
        try:
            return self.answer_to(request).cost_usd
        except ProviderError:
            return 0.0


def open_echo(argument: str, environ: Mapping[str, str]) -> Complete:
    """Return a provider that answers with the words of the last user message.

    An answer begins by saying that it is an echo, and has at most ``max_tokens`` words. The answer to
    a request with an ``output_schema`` matches it, with the first of these words in each text.

    Args:
        argument: must be empty.
        environ: ignored.

    Raises:
        ProviderError: the argument is not empty.
    """
    if argument:
        msg = f"Provider 'echo' takes no argument, but was given {argument!r:.60}."
        raise ProviderError(msg, hint="Leave it out: echo.")

    return OfflineProvider(_echoed)


def open_scripted(argument: str, environ: Mapping[str, str]) -> Complete:
    """Return a provider that answers from a script; see `kando_llm.script.Script`.

    The script is read once, when the provider is opened. ``max_tokens`` does not shorten its answers.

    Args:
        argument: path of the JSON file.
        environ: ignored.

    Raises:
        ProviderError: the script cannot be read or is malformed.
    """
    if not argument:
        msg = "Provider 'scripted' needs a script file."
        raise ProviderError(msg, hint="Name the JSON file: scripted:FILE.")
    path = Path(argument).expanduser()
    script = load_script(path)

    def answer_to(request: dict[str, Any]) -> ScriptedAnswer:
        answer = script.answer_to(texts_of(request))
        if answer is None:
            msg = f"Script {str(path)!r} has no answer to {excerpt(request)!r}."
            raise ProviderError(msg, hint='Add one to "answers", or a "default" for all others.')
        return answer

    return OfflineProvider(answer_to, name="scripted")


def _echoed(request: dict[str, Any]) -> ScriptedAnswer:
    schema = request.get("output_schema")
    if isinstance(schema, Mapping):
        # Its first line, so that a field is as short as that of a model.
        line = next(iter(last_user_text(request).splitlines()), "")
        text = " ".join([*_ECHO.split(), *line.split()])[:_MAX_FIELD_CHARS]
        return ScriptedAnswer([], "", data=sample_of(schema, text))
    words = [*_ECHO.split(), *last_user_text(request).split()]
    limit = max_tokens_of(request)
    text = " ".join(words[:limit])
    is_cut = limit is not None and len(words) > limit
    return ScriptedAnswer([], text, stop="length" if is_cut else "end")
