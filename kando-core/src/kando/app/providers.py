"""Choose the LLM provider of a run, and route each request to the provider of its model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import Any

import attrs

from kando.app.observers import warn_always
from kando.cache.asked import provider_identity
from kando.errors import AmbiguousName, ConfigurationError, RequestRejected
from kando.plugins import Plugins, ProviderSpec, UnknownPlugin
from kando.plugins._targets import describe
from kando.plugins.records import Offered
from kando.responders.base import Responder
from kando.responders.event_loop import awaited
from kando.responders.llm_executor import Complete, provider_executor
from kando.responders.options import check_settings, merge_options, model_options_in, options_in
from kando.settings import LLM, value_of

__all__ = [
    "KEY_ORDER",
    "Listen",
    "Provider",
    "Router",
    "choose_provider",
    "keys_without_provider",
    "located_provider",
    "open_provider",
]

#: The order in which keys are looked up if no provider is named.
KEY_ORDER = ("OPENROUTER_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY")

#: ``with listen(request) as on_text``: `on_text` receives each piece of the answer as it streams in.
Listen = Callable[[dict[str, Any]], AbstractContextManager[Callable[[str], None]]]

#: The model of a request that leaves the choice of the model to the provider.
DEFAULT_MODEL = "default"


@attrs.frozen
class Provider:
    """A chosen provider.

    Attributes:
        name: as in its plugin.
        argument: the part after the first colon, such as a model.
        executor: the responder that answers requests through it.
        close: closes its connections.
        options: of all requests, which override those of the kit.
        model_options: of the requests to one model, by its name or a pattern of names; they override
            `options`.
        default_model: to which it sends requests for the model ``default``; empty if unknown.
    """

    name: str
    argument: str
    executor: Responder
    close: Callable[[], None] = attrs.field(default=lambda: None, repr=False)
    options: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    model_options: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, hash=False)
    default_model: str = ""

    @property
    def identity(self) -> str:
        """Its name in answers and in the cache: the name, and the hash of the argument."""
        return provider_identity(self.name, self.argument)


def choose_provider(
    named: str | None,
    plugins: Plugins,
    environ: Mapping[str, str],
    listen: Listen | None = None,
    options: Mapping[str, Any] | None = None,
) -> Provider | None:
    """Return the provider that answers a run's requests, or None if none is configured.

    It is the first of: `named`, ``KANDO_LLM``, the provider of the first key found in `KEY_ORDER`.

    Args:
        named: ``provider``, ``provider:argument``, or a model that only one provider knows.
        plugins: the installed plugins.
        environ: keys, or files of keys (``OPENAI_API_KEY_FILE``), and settings.
        listen: receives the text of answers as it streams in; only whole answers are recorded.
        options: of all requests; they override those in ``KANDO_LLM_MODEL_OPTIONS`` for one model,
            which override those in ``KANDO_LLM_OPTIONS``, which override the kit's.

    Raises:
        ConfigurationError: an option cannot be honoured.
        UnknownPlugin: no installed plugin offers the provider.
        AmbiguousName: several providers know the model.
        KandoError: the provider cannot be opened.
    """
    wanted = named or value_of(LLM, environ)
    if not wanted:
        wanted = next(
            (
                offered.spec.name
                for key in KEY_ORDER
                if environ.get(key) or environ.get(f"{key}_FILE")
                for offered in plugins.providers()
                if key in offered.spec.key_env
            ),
            None,
        )
    if not wanted:
        return None
    named_options = options or {}
    check_settings(named_options, "the command")
    merged = merge_options(options_in(environ), named_options)
    by_model = {
        model: merge_options(each, named_options)
        for model, each in model_options_in(environ).items()
    }
    router = open_provider(wanted, plugins, environ, listen)
    model = str(getattr(router.default, "default_model", "") or router.argument)
    executor = provider_executor(router)
    return Provider(router.name, router.argument, executor, router.close, merged, by_model, model)


def open_provider(
    named: str, plugins: Plugins, environ: Mapping[str, str], listen: Listen | None = None
) -> Router:
    """Return the `complete` of a provider, which passes a request for another provider to it.

    Args:
        named: as for `choose_provider`.
        plugins: the installed plugins.
        environ: keys and settings.
        listen: as for `choose_provider`.

    Raises:
        UnknownPlugin, AmbiguousName, KandoError: as for `choose_provider`.
    """
    offered, argument = _find_provider(named, plugins)
    complete = _open(offered, argument, plugins, environ)
    spec = offered.spec
    keeps_all = spec.is_offline or getattr(complete, "answers_every_model", False)
    return Router(spec.name, argument, spec.models, keeps_all, complete, plugins, environ, listen)


@attrs.frozen
class Router:
    """A provider's `complete`, which routes requests for other models to other providers.

    The named provider answers requests for the model ``default``, and for models that it knows, or
    may know since it declares none. A request for ``provider:argument``, or for a model that only
    one other provider knows, goes to that provider, which is opened on first use, unless its argument
    is a file. A provider that ``answers_every_model``, or is offline, answers all requests.

    Attributes:
        name: of the named provider.
        argument: of that provider.
        models: patterns of the models that it declares.
        keeps_all: whether it answers all requests.
        default: its `complete`.
    """

    name: str
    argument: str
    models: tuple[str, ...]
    keeps_all: bool
    default: Complete = attrs.field(repr=False)
    _plugins: Plugins = attrs.field(repr=False)
    _environ: Mapping[str, str] = attrs.field(repr=False)
    _listen: Listen | None = attrs.field(default=None, repr=False)
    _others: dict[tuple[str, str], Complete] = attrs.field(factory=dict, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the data of the ``llm.response`` to the data of an ``llm.request``.

        Raises:
            UnknownPlugin, AmbiguousName: no provider, or more than one, knows the model.
            RequestRejected: the model of the request names a file for another provider.
            Exception: the error of the provider.
        """
        complete, asked = self._route(request)
        if self._listen is None:
            answered: dict[str, Any] = awaited(complete(asked))
            return answered
        with _Listener(self._listen, request) as on_text:
            stream = getattr(complete, "stream", None)
            if stream is not None:
                streamed: dict[str, Any] = awaited(stream(asked, on_text))
                return streamed
            answer: dict[str, Any] = awaited(complete(asked))
            on_text(str(answer.get("text", "")))
            return answer

    def worst_case_usd(self, request: dict[str, Any]) -> float | None:
        """Return the highest possible cost of a request in US dollars; None if it is unknown."""
        complete, asked = self._route(request)
        worst: Callable[[dict[str, Any]], float | None] | None
        worst = getattr(complete, "worst_case_usd", None)
        return None if worst is None else worst(asked)

    def close(self) -> None:
        """Close the providers that can be closed."""
        for complete in (self.default, *self._others.values()):
            close = getattr(complete, "close", None)
            if close is not None:
                close()

    def _route(self, request: dict[str, Any]) -> tuple[Complete, dict[str, Any]]:
        model = request.get("model") or DEFAULT_MODEL
        if model == DEFAULT_MODEL or self.keeps_all:
            return self.default, request
        own = self.models if _is_bare(str(model), self._plugins) else None
        if own == () or (own and _matches(str(model), own)):
            return self.default, request
        offered, argument = _find_provider(str(model), self._plugins)
        asked = {**request, "model": DEFAULT_MODEL}
        where = (offered.spec.name, argument)
        if where == (self.name, self.argument):
            return self.default, asked
        if offered.spec.reads_file:
            msg = f"The model {model!r:.200} of the request names a file, which is not opened."
            raise RequestRejected(msg, hint="To use the file, name it with --llm or KANDO_LLM.")
        with self._lock:
            if where not in self._others:
                opened = _open(offered, argument, self._plugins, self._environ)
                self._others[where] = opened
            return self._others[where], asked


def keys_without_provider(plugins: Plugins, environ: Mapping[str, str]) -> list[str]:
    """Return the keys that are set although no installed provider uses them."""
    used = {key for offered in plugins.providers() for key in offered.spec.key_env}
    return [key for key in KEY_ORDER if environ.get(key) and key not in used]


def located_provider(named: str, plugins: Plugins) -> tuple[str, str]:
    """Return the name and the argument of a provider that is named as for `choose_provider`.

    Raises:
        UnknownPlugin, AmbiguousName: as for `choose_provider`.
    """
    offered, argument = _find_provider(named, plugins)
    return offered.spec.name, argument


def _find_provider(named: str, plugins: Plugins) -> tuple[Offered[ProviderSpec], str]:
    name, _, argument = named.partition(":")
    try:
        return plugins.provider(name), argument
    except UnknownPlugin as error:
        unknown = error
    matching = [offered for offered in plugins.providers() if _matches(named, offered.spec.models)]
    if not matching:
        hint = f"{unknown.hint} For a model write PROVIDER:{named}."
        unknown.hint = hint if not argument else unknown.hint
        raise unknown
    if len(matching) > 1:
        names = ", ".join(f"{offered.spec.name}:{named}" for offered in matching)
        msg = f"Several providers know the model {named!r}."
        raise AmbiguousName(msg, hint=f"Name one of: {names}.")
    return matching[0], named


def _matches(model: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def _is_bare(named: str, plugins: Plugins) -> bool:
    """Whether a name does not start with the name of a provider."""
    try:
        plugins.provider(named.partition(":")[0])
    except UnknownPlugin:
        return True
    return False


def _open(
    offered: Offered[ProviderSpec], argument: str, plugins: Plugins, environ: Mapping[str, str]
) -> Complete:
    opener: Any = plugins.resolve(offered)
    complete = opener(argument, environ)
    if not callable(complete):
        name = offered.spec.name
        msg = f"Provider {name!r} returned a {type(complete).__name__}, not a function."
        raise ConfigurationError(msg, hint="Report this to the authors of the plugin.")
    checked: Complete = complete
    return checked


class _Listener:
    """The display of one answer as it streams in; if it raises, it is not called again."""

    def __init__(self, listen: Listen, request: dict[str, Any]) -> None:
        self._listen, self._request = listen, request
        self._on_text: Callable[[str], None] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Callable[[str], None]:
        with self._guarded():
            self._on_text = self._stack.enter_context(self._listen(self._request))
        return self._show

    def __exit__(self, *about: object) -> None:
        with self._guarded():
            self._stack.close()

    def _show(self, text: str) -> None:
        with self._guarded():
            if self._on_text is not None:
                self._on_text(text)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Including SystemExit: who watches a run has no part in it.
            self._on_text = None
            warn_always([f"This answer is not shown as it streams in: {describe(error)}."])
