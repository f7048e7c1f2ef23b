"""Prices of tokens: from a file with a date and a source for each, else from `genai_prices`."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import cattrs

from kando.schema.strict_json import WrongType, describe_errors, strict_converter
from kando.settings import PRICES, value_of
from kando_llm.errors import ProviderError

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

__all__ = ["Price", "Prices", "load_prices"]

_MILLION = 1_000_000
# Dated versions of a model have its price: claude-haiku-4-5-20251001, gpt-5-2025-08-07.
# Vertex has the date after an @.
_DATED = re.compile(r"[-@](?:\d{8}|\d{4}-\d{2}-\d{2})$")
# Bedrock has a version after the name.
_VERSION = re.compile(r"-v\d+(?::\d+)?$")


#: Providers as `genai_prices` names them.
_LISTED_AS = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "deepseek": "deepseek",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "vertex": "google",
    "xai": "x-ai",
}


def _check_amount(instance: object, attribute: attrs.Attribute[float], value: float | None) -> None:
    if value is not None and not 0 <= value < inf:
        msg = f"{attribute.name} must be a number of at least 0, not {value}"
        raise ValueError(msg)


def _check_window(instance: object, attribute: attrs.Attribute[int], value: int | None) -> None:
    if value is not None and value < 1:
        msg = f"{attribute.name} must be a number of tokens from 1, not {value}"
        raise ValueError(msg)


@attrs.frozen
class Price:
    """The price of a million tokens of a model, in US dollars.

    Attributes:
        provider: name of the provider, or the host of a server set with ``..._BASE_URL``.
        model: its id, or ``*`` for any.
        input: price of input tokens.
        output: price of output tokens, reasoning included.
        date: when it was looked up.
        source: where it was looked up.
        cache_read: price of input tokens read from the server's cache; as `input` if None.
        cache_write: price of input tokens written to the cache; as `input` if None.
        over_input_tokens: the price applies to requests with more input tokens than this.
        window: how many tokens the model reads, with its answer; as `genai_prices` lists it if None.
    """

    provider: str
    model: str
    input: float = attrs.field(validator=_check_amount)
    output: float = attrs.field(validator=_check_amount)
    date: datetime.date
    source: str
    cache_read: float | None = attrs.field(default=None, validator=_check_amount)
    cache_write: float | None = attrs.field(default=None, validator=_check_amount)
    over_input_tokens: int = 0
    window: int | None = attrs.field(default=None, validator=_check_window)

    def usd(self, usage: Mapping[str, int]) -> float:
        """Return the cost of a call with this usage; its input includes cached tokens."""
        read, written = usage.get("cache_read_tokens", 0), usage.get("cache_write_tokens", 0)
        amount = (
            max(usage["input_tokens"] - read - written, 0) * self.input
            + read * (self.input if self.cache_read is None else self.cache_read)
            + written * (self.input if self.cache_write is None else self.cache_write)
            + usage["output_tokens"] * self.output
        )
        return round(amount / _MILLION, 9)


@attrs.frozen
class Prices:
    """A price list; an earlier entry takes precedence.

    Attributes:
        price: the entries.
    """

    price: list[Price] = attrs.field(factory=list)

    def of(self, provider: str, model: str, input_tokens: int) -> Price | None:
        """Return the price of a model, or None if it is unknown.

        Args:
            provider: as in `Price`.
            model: its id, with or without a version date.
            input_tokens: of the request.
        """
        for name in (model, _DATED.sub("", model), "*"):
            found = [
                each
                for each in self.price
                if (each.provider, each.model) == (provider, name)
                and (not each.over_input_tokens or input_tokens > each.over_input_tokens)
            ]
            if found:
                return max(found, key=lambda each: each.over_input_tokens)
        return None

    def cost(self, provider: str, model: str, usage: Mapping[str, int]) -> float | None:
        """Return the cost of a call, in US dollars; None if price or usage is unknown."""
        if "input_tokens" not in usage or "output_tokens" not in usage:
            return None
        price = self.of(provider, model, usage["input_tokens"])
        return _published_usd(provider, model, usage) if price is None else price.usd(usage)

    def window(self, provider: str, model: str) -> int | None:
        """Return how many tokens a model reads, with its answer, or None if it is unknown.

        Args:
            provider: as in `Price`.
            model: its id.
        """
        price = self.of(provider, model, 0)
        if price is not None and price.window is not None:
            return price.window
        found = _published(provider, model, {})
        return found.model.context_window if found is not None else None

    def knows(self, provider: str, model: str) -> bool:
        """Whether the price of a model is known; arguments as for `of`."""
        return self.worst_case(provider, model, 0, 0) is not None

    def worst_case(
        self, provider: str, model: str, input_tokens: int, output_tokens: int
    ) -> float | None:
        """Return the most that a call can cost, in US dollars; None if the price is unknown.

        Args:
            provider: as in `Price`.
            model: its id.
            input_tokens: the most that the request can have.
            output_tokens: the most that the answer can have.
        """
        starts = {each.over_input_tokens + 1 for each in self.price if each.over_input_tokens}
        reached = {0, *(start for start in starts if start <= input_tokens)}
        bands = [self.of(provider, model, tokens) for tokens in sorted(reached)]
        if bands == [None] * len(bands):
            return _published_worst_usd(provider, model, input_tokens, output_tokens)
        if None in bands:
            return None
        dearest = [
            max(each.input, each.cache_read or 0, each.cache_write or 0) * input_tokens
            + each.output * output_tokens
            for each in bands
            if each is not None
        ]
        return max(dearest) / _MILLION


def _published_usd(provider: str, model: str, usage: Mapping[str, int]) -> float | None:
    found = _published(provider, model, usage)
    return round(float(found.total_price), 9) if found is not None else None


def _published(provider: str, model: str, usage: Mapping[str, int]) -> PriceCalculation | None:
    """Return what `genai_prices` lists for a call and its model; None if it does not list the model."""
    listed = _LISTED_AS.get(provider)
    if listed is None:
        return None
    # Imported late: it is large, and most models have a price of ours.
    from genai_prices import Usage, calc_price

    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    counts = {name: usage[name] for name in names if usage.get(name)}
    model = _listed_model(provider, model)
    # The list has the prices of one place of Bedrock under "regional", and finds them by the bare name.
    at_one_place = provider == "bedrock" and not model.startswith("global.")
    listed_id = f"regional.{model}" if at_one_place else model
    try:
        found = calc_price(Usage(**counts), model_ref=model, provider_id=listed)
    except Exception:
        # A LookupError for a model that is not listed; counts that contradict each other.
        return None
    # It also finds a model whose name only begins like this one, such as a faster and dearer one.
    if provider == "bedrock":
        is_it = _VERSION.sub("", found.model.id) == _VERSION.sub("", listed_id)
    else:
        accepted = {model, _DATED.sub("", model), model.removesuffix("-latest")}
        is_it = not accepted.isdisjoint([found.model.id, re.sub(r"-\d{4,}$", "", found.model.id)])
    return found if is_it else None


def _listed_model(provider: str, model: str) -> str:
    """Return a model under a name by which `genai_prices` finds it."""
    if provider == "vertex":
        return model.replace("@", "-")
    at = model.find("anthropic.")
    if provider != "bedrock" or at < 0:
        return model
    # Prices differ between requests that may be answered anywhere, and those of one place.
    is_global = model.rpartition("/")[2].startswith("global.")
    return f"global.{model[at:]}" if is_global else model[at:]


def _published_worst_usd(provider: str, model: str, given: int, answered: int) -> float | None:
    usage = {"input_tokens": given, "output_tokens": answered}
    plain = _published_usd(provider, model, usage)
    written = _published_usd(provider, model, {**usage, "cache_write_tokens": given})
    return None if plain is None else max(plain, written or 0.0)


def load_prices(environ: Mapping[str, str]) -> Prices:
    """Return the prices in the file named by ``KANDO_PRICES``, then those that ship with this package.

    Raises:
        ProviderError: the named file cannot be read, or is malformed.
    """
    shipped = _parse(files("kando_llm").joinpath("prices.toml").read_text("utf-8"), "prices.toml")
    named = value_of(PRICES, environ)
    if not named:
        return shipped
    path = Path(named).expanduser()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        msg = f"Price file {str(path)!r} cannot be read: {reason}."
        raise ProviderError(msg, hint="Name a readable file in KANDO_PRICES.") from None
    own = _parse(text, str(path))
    replaced = {(each.provider, each.model) for each in own.price}
    rest = [each for each in shipped.price if (each.provider, each.model) not in replaced]
    return Prices([*own.price, *rest])


def _parse(text: str, name: str) -> Prices:
    converter = strict_converter()
    converter.register_structure_hook(datetime.date, _date)
    try:
        return converter.structure(tomllib.loads(text), Prices)
    except tomllib.TOMLDecodeError as error:
        problems = str(error)
    except (cattrs.BaseValidationError, WrongType) as error:
        problems = describe_errors(error, "file")
    msg = f"Price file {name!r} is malformed: {problems}."
    hint = "Each [[price]] needs provider, model, input, output (USD per million tokens), date, source."
    raise ProviderError(msg, hint=hint)


def _date(value: object, kind: type) -> datetime.date:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    msg = f"expected a date such as 2026-11-21, not {value!r:.60}"
    raise WrongType(msg)
