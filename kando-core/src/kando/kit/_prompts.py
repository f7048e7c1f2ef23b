"""Prompts of a kit: loaded from files, filled in, and made the messages of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

from kando.errors import ConfigurationError, NotFoundError
from kando.schema.content import is_media
from kando.schema.names import suggestion

if TYPE_CHECKING:
    from kando.kit._kit import Kit

__all__ = ["filled", "load_prompts", "messages_from"]


def load_prompts(package: str, folder: str = "prompts") -> dict[str, str]:
    """Return the texts of a package's ``{folder}/*.md``, by file name without suffix.

    Args:
        package: import name, usually ``__package__``.
        folder: inside the package.
    """
    files = resources.files(package).joinpath(folder)
    return {
        file.name.removesuffix(".md"): file.read_text(encoding="utf-8")
        for file in sorted(files.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".md")
    }


def filled(kit: Kit, name: str, values: Mapping[str, Any]) -> str:
    """Return a prompt of a kit with its placeholders filled in.

    Raises:
        NotFoundError: the kit has no such prompt.
        ConfigurationError: a placeholder has no value.
    """
    return _filled(kit, name, _text_of(kit, name), values)


def messages_from(
    kit: Kit, prompt: str, system: str | None
) -> Callable[[Mapping[str, Any]], list[dict[str, Any]]]:
    """Return the function that makes the messages of a request from the values of its prompts.

    Args:
        kit: has the prompts.
        prompt: name of the prompt for the message.
        system: name of the prompt for the system message; None for none.

    Raises:
        NotFoundError: the kit has no such prompt.
    """
    for each in (prompt,) if system is None else (prompt, system):
        _text_of(kit, each)

    def messages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        user = [{"role": "user", "content": _content(kit, prompt, values)}]
        if system is None:
            return user
        return [{"role": "system", "content": filled(kit, system, values)}, *user]

    return messages


def _text_of(kit: Kit, name: str) -> str:
    if name not in kit.prompts:
        msg = f"Kit {kit.name!r} has no prompt {name!r}."
        raise NotFoundError(msg, hint=suggestion(name, kit.prompts))
    return kit.prompts[name]


def _filled(kit: Kit, name: str, text: str, values: Mapping[str, Any]) -> str:
    try:
        return Template(text).substitute(values)
    except (KeyError, ValueError) as error:
        msg = f"Prompt {name!r} of kit {kit.name!r}: no value for {error}."
        raise ConfigurationError(msg, hint="Pass it as a keyword argument.") from error


def _content(kit: Kit, name: str, values: Mapping[str, Any]) -> str | list[Any]:
    """Return a prompt as the content of a message: with parts, if a value is an image or a file.

    Raises:
        ConfigurationError: a placeholder has no value, or an image or a file has no placeholder.
    """
    media = {each: found for each, value in values.items() if (found := _media_of(value))}
    if not media:
        return filled(kit, name, values)
    texts = {each: value for each, value in values.items() if each not in media}
    template, content, at, placed = _text_of(kit, name), list[Any](), 0, set[str]()
    for match in Template.pattern.finditer(template):
        named = match["named"] or match["braced"]
        if named in media:
            content += [_filled(kit, name, template[at : match.start()], texts), *media[named]]
            at = match.end()
            placed.add(named)
    content.append(_filled(kit, name, template[at:], texts))
    if missing := sorted(media.keys() - placed):
        msg = f"Prompt {name!r} of kit {kit.name!r} has no place for the value {missing[0]!r:.60}."
        raise ConfigurationError(msg, hint=f"Write ${missing[0]:.60} where it is to be.")
    return [each for each in content if not isinstance(each, str) or each.strip()]


def _media_of(value: Any) -> list[Any]:
    """Return the images and files that a value of a prompt is; empty for any other value."""
    parts = value if isinstance(value, list | tuple) else [value]
    return [*parts] if all(map(is_media, parts)) else []
