"""The provider ``llamacpp``: answers from a model in a GGUF file, in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from kando.errors import BadReply, ContextOverflow, ProviderError, RequestRejected
from kando.responders.attempts import require_attempt
from kando.responders.replies import judged, stop_of
from kando_llamacpp._engine import Engine, require_llamacpp
from kando_llamacpp._gguf import read_model_file
from kando_llamacpp._outline import outline_of
from kando_llamacpp._request import Body, body_for, with_grammar, without_schema
from kando_llamacpp._settings import CONTEXT, read_settings

__all__ = ["LlamaProvider", "OnText", "open_llamacpp"]

#: Called with each piece of an answer's text as it is computed.
OnText = Callable[[str], None]

# Words in which llama.cpp rejects a JSON Schema.
_SCHEMA_WORDS = ("json schema", "grammar", "generate parser")
_MAX_QUOTED_CHARS = 500


def open_llamacpp(argument: str, environ: Mapping[str, str]) -> LlamaProvider:
    """Return a provider that answers from a model in a GGUF file.

    The header of the file is read at once; the model is loaded when the first request is sent.

    Args:
        argument: path of the file.
        environ: ``KANDO_LLAMACPP_CONTEXT``, ``KANDO_LLAMACPP_THREADS``, ``KANDO_LLAMACPP_LOG``.

    Raises:
        ProviderError: the file cannot be read, is not a whole GGUF file or holds no language model; or
            llama.cpp is not installed.
        ConfigurationError: a setting is malformed.
    """
    if not argument:
        msg = "Provider 'llamacpp' needs a GGUF file."
        raise ProviderError(msg, hint="Name the file of a model: llamacpp:FILE.gguf.")
    settings = read_settings(environ)
    model = read_model_file(Path(os.path.abspath(os.path.expanduser(argument))))
    if settings.context is not None and model.context and settings.context > model.context:
        msg = (
            f"{CONTEXT} asks for {settings.context:,} tokens, and the model {model.path.name!r} "
            f"was trained for {model.context:,}."
        )
        raise ProviderError(msg, hint=f"Set {CONTEXT} to at most {model.context}.")
    require_llamacpp()
    return LlamaProvider(Engine(model, settings))


@attrs.frozen
class LlamaProvider:
    """A provider's `complete`, backed by a model in this process.

    Attributes:
        engine: computes the answers.
        answers_every_model: requests for every model are answered here.
    """

    engine: Engine
    answers_every_model: bool = attrs.field(default=True, init=False)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the data of the ``llm.response`` to the data of an ``llm.request``.

        Raises:
            RequestRejected: the request is malformed, or is longer than the context.
            ProviderError: the model cannot be loaded, or gave no answer.
        """
        return self.stream(request, None)

    def stream(self, request: dict[str, Any], on_text: OnText | None) -> dict[str, Any]:
        """Return the same as a call, and pass each piece of text to `on_text` as it is computed.

        Raises:
            RequestRejected, ProviderError: as for a call.
        """
        asked = body_for(request, self.engine.model.knows_tools)
        require_attempt()
        started = time.monotonic()
        # JSON around an answer is not shown.
        shown = None if asked.tools.is_constrained else on_text
        for body in self._bodies(asked):
            try:
                parts = self._parts_of(body, shown)
                break
            except _UnknownSchema:
                continue
        answer = _answer(parts, body, self.engine.model.path.name)
        answer["window"] = self.engine.context
        answer["observed"]["seconds"] = round(time.monotonic() - started, 3)
        answer = judged(answer, request)
        if on_text is not None and shown is None:
            on_text(answer["text"])
        return answer

    def worst_case_usd(self, request: dict[str, Any]) -> float | None:
        """Return the cost of a request, which is 0."""
        return 0.0

    def close(self) -> None:
        """Release the memory of the model."""
        self.engine.close()

    def _bodies(self, body: Body) -> Iterator[Body]:
        """Yield the bodies that ask for an answer, in the order in which they are tried.

        The first one has llama.cpp write JSON without line breaks and indentation, which are half of
        the tokens of an answer. The last one does not enforce the schema.
        """
        form = body.fields.get("response_format") or {}
        has_schema = form.get("type") == "json_schema"
        if has_schema and outline_of(form["json_schema"]["schema"]) is not None:
            grammar = self.engine.grammar_of(form["json_schema"]["schema"])
            if grammar is not None:
                yield with_grammar(body, grammar)
        yield body
        if has_schema:
            yield without_schema(body)

    def _parts_of(self, body: Body, on_text: OnText | None) -> _Parts:
        parts = _Parts(on_text)
        try:
            self.engine.chat(body.fields, parts.take)
        except ValueError as error:
            words = str(error)
        else:
            if parts.failure is not None:
                raise parts.failure
            if parts.error is None:
                return parts
            words = str(parts.error.get("message", parts.error))
        form = body.fields.get("response_format") or {}
        is_enforced = form.get("type") == "json_schema" or "grammar" in body.fields
        if is_enforced and _is_about_schema(words):
            raise _UnknownSchema
        raise self._rejection(words, (parts.error or {}).get("code"))

    def _rejection(self, words: str, code: object) -> ProviderError:
        quoted = words[:_MAX_QUOTED_CHARS]
        if "context size" in words:
            context, trained = self.engine.context, self.engine.model.context or 0
            msg = f"The request does not fit into the context of {context:,} tokens: {quoted}."
            hint = (
                f"Set {CONTEXT} to more tokens, at most {trained}."
                if context < trained
                else "Shorten the request, or use a model with a longer context."
            )
            return ContextOverflow(msg, hint=hint)
        if code is None or (isinstance(code, int) and 400 <= code < 500):
            msg = f"llama.cpp rejects the request: {quoted}"
            return RequestRejected(msg, hint="Change the option, the tool or the message it names.")
        msg = f"llama.cpp failed: {quoted}"
        return ProviderError(msg, hint="Resume the run to send the request again.")


class _UnknownSchema(Exception):
    """llama.cpp cannot enforce a JSON Schema."""


def _is_about_schema(words: str) -> bool:
    return any(each in words.lower() for each in _SCHEMA_WORDS)


@attrs.define
class _Parts:
    """The parts of an answer so far.

    Attributes:
        on_text: receives the text; or None.
        error: that llama.cpp reports, or None.
        failure: raised by `on_text`, or None: llama.cpp ignores exceptions.
    """

    on_text: OnText | None
    error: dict[str, Any] | None = None
    failure: BaseException | None = None
    finish: str = ""
    texts: list[str] = attrs.field(factory=list)
    thoughts: list[str] = attrs.field(factory=list)
    calls: dict[int, dict[str, str]] = attrs.field(factory=dict)
    usage: Mapping[str, Any] = attrs.field(factory=dict)

    def take(self, chunk: Any) -> bool:
        """Take in a part; return whether the rest is not needed."""
        try:
            self._take(chunk)
        except BaseException as error:
            self.failure = error
        return self.failure is not None or self.error is not None

    def _take(self, chunk: Any) -> None:
        if "error" in chunk:
            error = chunk["error"]
            self.error = error if isinstance(error, dict) else {"message": str(error)}
            return
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices") or ():
            self.finish = choice.get("finish_reason") or self.finish
            delta = choice.get("delta") or {}
            self.thoughts.append(delta.get("reasoning_content") or "")
            for call in delta.get("tool_calls") or ():
                self._take_call(call)
            text = delta.get("content")
            if text:
                self.texts.append(text)
                if self.on_text is not None:
                    self.on_text(text)

    def _take_call(self, piece: Mapping[str, Any]) -> None:
        known = self.calls.setdefault(
            piece.get("index", 0), {"id": "", "name": "", "arguments": ""}
        )
        function = piece.get("function") or {}
        known["id"] = piece.get("id") or known["id"]
        known["name"] += function.get("name") or ""
        known["arguments"] += function.get("arguments") or ""


def _answer(parts: _Parts, body: Body, model: str) -> dict[str, Any]:
    """Return the data of an ``llm.response``, before it is judged.

    Raises:
        BadReply: the answer has no end.
    """
    if not parts.finish:
        msg = "llama.cpp ended its answer without a reason."
        raise BadReply(msg, hint="The request stays pending; resume the run to send it again.")
    text, calls = "".join(parts.texts), [dict(call) for call in parts.calls.values()]
    stop = stop_of(parts.finish)
    if stop in ("end", "length"):
        text, found = body.tools.read(text, is_cut=stop == "length")
        calls = [*calls, *found]
    reasoning = "".join(parts.thoughts)
    return {
        "text": text,
        "model": model,
        "cost_usd": 0.0,
        "usage": _usage(parts.usage),
        "stop": "tool" if calls and stop == "end" else stop,
        "stop_raw": parts.finish,
        **({"tool_calls": calls} if calls else {}),
        **({"dropped": list(body.dropped)} if body.dropped else {}),
        "observed": {"reasoning": reasoning} if reasoning else {},
    }


def _usage(reported: Mapping[str, Any]) -> dict[str, int]:
    cached = (reported.get("prompt_tokens_details") or {}).get("cached_tokens")
    counts = {
        "input_tokens": reported.get("prompt_tokens"),
        "output_tokens": reported.get("completion_tokens"),
        "cache_read_tokens": cached,
    }
    return {name: count for name, count in counts.items() if type(count) is int and count >= 0}
