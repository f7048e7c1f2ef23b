"""A provider backed by a server: one call, from request to answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import attrs

from kando.errors import ConfigurationError, InvalidData
from kando.responders.options import DEFAULT_MAX_TOKENS
from kando.responders.replies import judged, rejected
from kando.schema.exact_json import encode, exact
from kando.settings import LLM_RETRIES, LLM_TIMEOUT, Setting, value_of
from kando_llm.adaptations import Adaptations
from kando_llm.endpoints import Endpoint, Server, endpoint_of
from kando_llm.errors import ProviderError, RequestRejected
from kando_llm.media import with_media_taken
from kando_llm.network import Network, header_secrets, key_header_of, network_of
from kando_llm.prices import Prices, load_prices
from kando_llm.request import Request, read_request
from kando_llm.scrubber import Scrubber, secrets_of
from kando_llm.thoughts import giver

__all__ = ["Connection", "LiveProvider", "OnText", "Reply", "connection_of", "is_token_count"]

#: Called with each piece of an answer's text as it arrives.
OnText = Callable[[str], None]

#: The most tokens that a server adds to a request, for tools and for schemas.
_ADDED_TOKENS = 2000
_ADDED_TOKENS_PER_ITEM = 100

# For a model that reads no PDFs, OpenRouter has another one read them: at most 2.20 USD for 1,000 pages.
_USD_PER_READ_PAGE = 0.0022

# The most bytes of an answer: an event holds 1 MiB.
_MAX_BYTES = 900_000
_MAX_MODEL_CHARS = 200
# A conversation with fewer tokens than this fits into the window of any model.
_LONG_TOKENS = 4_000


@attrs.frozen
class Connection:
    """A server, and the settings for calls to it.

    Attributes:
        server: its kind.
        endpoint: its URL and key.
        model: sent in requests whose model is ``default``.
        timeout_seconds: of silence, after which an attempt fails.
        retries: the most that follow a failed attempt.
        prices: what its models cost.
        scrubber: removes keys from what it sends.
        other_keys: finds keys that belong to other servers.
        adaptations: what the server has refused, so that it is not sent again.
        network: how requests reach the server.
        environ: keys and settings.
        only_responses: whether every request goes to OpenAI's Responses API.
    """

    server: Server
    endpoint: Endpoint
    model: str
    timeout_seconds: float
    retries: int
    prices: Prices
    scrubber: Scrubber
    other_keys: Scrubber
    adaptations: Adaptations = attrs.field(factory=Adaptations, eq=False, repr=False)
    network: Network = attrs.field(factory=Network)
    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    only_responses: bool = False

    @property
    def key(self) -> str:
        """The key sent with requests; the SDKs require one even if the server does not."""
        return self.endpoint.key or "none"

    def worst_case(self, request: Request, calls: int = 1) -> dict[str, Any]:
        """Return the most that calls may have used, in the form of a failure's ``spent``.

        Args:
            request: with its model and its limit.
            calls: how often it was sent.
        """
        items = len(request.turns) + len(request.tools)
        most = request.size + _ADDED_TOKENS + _ADDED_TOKENS_PER_ITEM * items
        limit = request.max_tokens or DEFAULT_MAX_TOKENS
        cost = self.prices.worst_case(self.endpoint.priced_as, request.model, most, limit)
        if cost is not None and self.server.has_usage_option:
            cost += request.pages * _USD_PER_READ_PAGE
        usage = {"input_tokens": most * calls, "output_tokens": limit * calls}
        return {"usage": usage, "cost_usd": None if cost is None else cost * calls, "calls": calls}

    def giver(self, model: str) -> str:
        """Return under which name a model of this server keeps its thoughts."""
        return giver(self.server.provider, self.endpoint.base_url, model)

    def remove_other_keys(self, request: Any) -> None:
        """Remove headers that hold keys of other servers from a request of `httpx2`.

        Also the one in which the SDK sends the key, if the server takes it in another.
        """
        if key_header_of(self.server, self.endpoint):
            request.headers.pop("authorization", None)
        for name, value in list(request.headers.items()):
            if self.other_keys.finds(value):
                del request.headers[name]


@attrs.frozen
class Reply:
    """A server's answer.

    Attributes:
        text: of the answer, or its parts.
        model: that answered, according to the server.
        stop: one of `kando.responders.replies.STOPS`, other than ``error``.
        stop_raw: the server's own word for it.
        usage: tokens by name, as in an ``llm.response``; counts that were not reported are absent.
        tool_calls: that the model requests: ``id``, ``name`` and ``arguments``, as they were sent.
        cost_usd: as the server reports it, or None.
        attempts: how often the request was sent, from 1.
        request_id: assigned by the server, or None.
        dropped: options of the request that the model does not support.
        reasoning: what the model thought, if the server says so.
        thoughts: to return in the next turn; see `kando_llm.thoughts`.
        lost: how many of the attempts reached the server and brought no answer.
    """

    text: str | list[Any]
    model: str
    stop: str
    stop_raw: str
    usage: dict[str, int]
    tool_calls: tuple[dict[str, Any], ...] = ()
    cost_usd: float | None = None
    attempts: int = 1
    request_id: str | None = None
    dropped: tuple[str, ...] = ()
    reasoning: str = ""
    thoughts: dict[str, Any] = attrs.field(factory=dict)
    lost: int = 0

    def given_by(self, name: str) -> Reply:
        """Return the reply whose thoughts say who gave them; see `kando_llm.thoughts.giver`."""
        return attrs.evolve(self, thoughts={"by": name, **self.thoughts}) if self.thoughts else self

    def shown(self, on_text: OnText | None) -> Reply:
        """Pass the text of a reply that came as a whole to `on_text`, and return the reply."""
        if on_text is not None and isinstance(self.text, str):
            on_text(self.text)
        return self


@attrs.frozen
class LiveProvider:
    """A provider's `complete`, backed by a server.

    Attributes:
        connection: to the server.
        send: sends a request to the server.
        close: closes the connection.
    """

    connection: Connection
    send: Callable[[Request, OnText | None], Reply] = attrs.field(repr=False)
    close: Callable[[], None] = attrs.field(repr=False)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the data of the ``llm.response`` to the data of an ``llm.request``.

        Raises:
            ProviderError: the server did not answer; a later retry may succeed.
        """
        return self.stream(request, None)

    def stream(self, request: dict[str, Any], on_text: OnText | None) -> dict[str, Any]:
        """Return the same as a call, and pass each piece of text to `on_text` as it arrives.

        Raises:
            ProviderError: the server did not answer; a later retry may succeed.
        """
        asked = self._as_sent(request)
        started = time.monotonic()
        words = _WholeWords(self.connection.scrubber, on_text) if on_text is not None else None
        try:
            sent, dropped = with_media_taken(asked, self.connection.server)
            reply = self.send(sent, words)
        except RequestRejected as error:
            seconds = round(time.monotonic() - started, 3)
            observed = {"attempts": error.attempts, "seconds": seconds}
            return {"model": asked.model, **rejected(error), "observed": observed}
        finally:
            if words is not None:
                words.end()
        reply = attrs.evolve(reply, dropped=(*reply.dropped, *dropped))
        return self._answer(reply, request, asked, round(time.monotonic() - started, 3))

    @property
    def default_model(self) -> str:
        """The model to which requests for ``default`` are sent; empty if none is set."""
        return self.connection.model

    def worst_case_usd(self, request: dict[str, Any]) -> float | None:
        """Return the most that a request can cost, in US dollars; None if the price is unknown.

        A token holds at least one byte of what is sent, and ``max_tokens`` limits the answer.
        """
        cost: float | None = self.connection.worst_case(self._as_sent(request))["cost_usd"]
        return cost

    def _as_sent(self, data: Mapping[str, Any]) -> Request:
        """Return a request with the model, and with a limit if one is needed.

        Without a limit, the cost of an answer has no bound: a model whose price is known gets one.
        """
        request, connection = self._with_model(read_request(data)), self.connection
        if request.max_tokens is not None:
            return request
        is_priced = connection.prices.knows(connection.endpoint.priced_as, request.model)
        if not is_priced and not connection.server.needs_limit:
            return request
        thinking = request.options.get("thinking")
        asked = thinking.get("budget_tokens") if isinstance(thinking, dict) else thinking
        # The tokens for thinking are part of the limit.
        more = asked if isinstance(asked, int) and not isinstance(asked, bool) else 0
        return attrs.evolve(request, max_tokens=DEFAULT_MAX_TOKENS + more)

    def _with_model(self, request: Request) -> Request:
        if request.model != "default":
            return request
        if self.connection.model:
            return attrs.evolve(request, model=self.connection.model)
        server = self.connection.server
        msg = (
            f"Provider {server.provider!r} was opened without a model, and the request names none."
        )
        hint = f"Name one, {server.provider}:MODEL, or set {server.prefix}_MODEL."
        raise ProviderError(msg, hint=hint)

    def _answer(
        self, reply: Reply, request: dict[str, Any], asked: Request, seconds: float
    ) -> dict[str, Any]:
        connection = self.connection
        cost = reply.cost_usd
        if cost is None:
            where, prices = connection.endpoint.priced_as, connection.prices
            cost = prices.cost(where, reply.model, reply.usage)
            if cost is None and connection.server.serves_other_names:
                cost = prices.cost(where, asked.model, reply.usage)
        answer: dict[str, Any] = {
            "text": reply.text,
            "model": reply.model,
            "cost_usd": cost,
            "usage": reply.usage,
            "stop": reply.stop,
            "stop_raw": reply.stop_raw,
        }
        if (window := self._window_of(reply, request)) is not None:
            answer["window"] = window
        if reply.tool_calls:
            answer["tool_calls"] = list(reply.tool_calls)
        if reply.dropped:
            answer["dropped"] = list(reply.dropped)
        if reply.thoughts:
            answer["thoughts"] = reply.thoughts
        if reply.lost:
            answer["lost"] = connection.worst_case(asked, reply.lost)
        answer["observed"] = {
            "attempts": reply.attempts,
            "request_id": reply.request_id,
            "seconds": seconds,
            **({"reasoning": reply.reasoning} if reply.reasoning else {}),
        }
        return _recordable(connection.scrubber.data(judged(answer, request)))

    def _window_of(self, reply: Reply, request: Mapping[str, Any]) -> int | None:
        """Return how many tokens the model reads, for a conversation that may fill them."""
        tokens = sum(reply.usage.get(name, 0) for name in ("input_tokens", "output_tokens"))
        # The list takes half a second to import.
        if "conversation" not in request or tokens < _LONG_TOKENS:
            return None
        where, prices = self.connection.endpoint.priced_as, self.connection.prices
        return prices.window(where, reply.model)


def is_token_count(value: object) -> TypeGuard[int]:
    """Whether a value sent by a server is a valid number of tokens."""
    return type(value) is int and 0 <= value < 2**53


def _recordable(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that fits in an event; if it does not fit, its cost, since it was paid for."""
    try:
        recordable: dict[str, Any] = exact(answer, "answer")
        size = len(encode(recordable, "answer"))
        what = f"it has {size} bytes; the limit is {_MAX_BYTES}"
        if size <= _MAX_BYTES:
            return recordable
    except InvalidData as error:
        what = error.message
    names = ("cost_usd", "usage", "lost", "observed")
    kept: dict[str, Any] = {name: answer[name] for name in names if name in answer}
    kept["observed"].pop("reasoning", None)
    message = f"The answer cannot be recorded: {what}."
    model = answer["model"][:_MAX_MODEL_CHARS]
    return {"model": model, **kept, "error": {"type": "BadReply", "message": message}}


class _WholeWords:
    """Passes text on up to its last space, so that a key is never split between two pieces."""

    def __init__(self, scrubber: Scrubber, on_text: OnText) -> None:
        self._scrubber = scrubber
        self._on_text = on_text
        self._rest = ""

    def __call__(self, piece: str) -> None:
        text = self._rest + piece
        at = max(text.rfind(" "), text.rfind("\n")) + 1
        self._rest = text[at:]
        if at:
            self._on_text(self._scrubber.text(text[:at]))

    def end(self) -> None:
        """Pass on the rest."""
        if self._rest:
            self._on_text(self._scrubber.text(self._rest))
        self._rest = ""


def connection_of(
    server: Server,
    argument: str,
    environ: Mapping[str, str],
    credentials: Mapping[str, str] | None = None,
) -> Connection:
    """Return the connection to a kind of server.

    Args:
        server: the kind.
        argument: the model; if empty, the one set in the environment, else the server's default.
        environ: keys and settings.
        credentials: further secrets that its client sends to the server, by name.

    Raises:
        ProviderError: a setting is malformed or missing.
    """
    endpoint = endpoint_of(server, environ)
    secrets = secrets_of(os.environ) | secrets_of(environ)
    own = {endpoint.key_name: endpoint.key} if endpoint.key else {}
    own |= credentials or {}
    others = {name: value for name, value in secrets.items() if value not in own.values()}
    in_headers = header_secrets(os.environ) | header_secrets(environ)
    return Connection(
        server,
        endpoint,
        argument or environ.get(f"{server.prefix}_MODEL", "").strip() or server.model,
        _number(LLM_TIMEOUT, environ),
        int(_number(LLM_RETRIES, environ)),
        load_prices(environ),
        Scrubber({**in_headers, **others, **own}),
        Scrubber(others),
        network=network_of(endpoint.base_url, environ),
        environ=environ,
    )


def _number(setting: Setting[float], environ: Mapping[str, str]) -> float:
    try:
        return value_of(setting, environ)
    except ConfigurationError as error:
        raise ProviderError(error.message, hint=error.hint) from None
