"""One file of settings: it is read strictly, and each error names the file, the line and the key."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from kando.app.limits import limit_settings
from kando.errors import ConfigurationError
from kando.responders.options import KNOWN_OPTIONS, check_settings
from kando.schema.visible import clean
from kando.settings import LEDGER, LLM_MODEL_OPTIONS, LLM_OPTIONS, SETTINGS, Kind, Setting

__all__ = ["SettingsFile", "read_file", "table_of_settings"]

#: Folders of the projects whose files may make choices; only the user's file has it.
TRUSTED = "trusted"

_MAX_BYTES = 1_000_000
_SECRET_NAME = re.compile(
    r"(?:^|(?<!max)[_-])(?:api_?key|key|token|secret|passw(?:or)?d|credentials?)$", re.I
)
_SECRET_VALUE = re.compile(r"(?:sk|pk|rk|gsk|xai|ghp|hf|glpat)[-_][\w-]{16,}|AIza[\w-]{30,}")
_SECRET_IN_QUERY = re.compile(r"[?&](?:passw(?:or)?d|token|secret|api_?key)=", re.I)
_NAME = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_HEADER = re.compile(rf"\s*\[\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
# How similar a word must be to count as a misspelled option: servers have options of their own.
_MISSPELLED = 0.9
_TOML_TYPES = {
    Kind.TEXT: "a string",
    Kind.PATH: "a string",
    Kind.NUMBER: "a number",
    Kind.FLAG: "true or false",
    Kind.NAMES: "a list of strings",
    Kind.OBJECT: "a table",
}


@attrs.frozen
class SettingsFile:
    """A file of settings.

    Attributes:
        path: of the file.
        is_project: whether it is the file of a project, instead of the user's.
        is_trusted: whether it may make choices.
        values: the text of each setting that it sets, as its variable would have it, by key.
        trusted: folders of the projects that the user trusts.
    """

    path: Path
    is_project: bool
    is_trusted: bool
    values: Mapping[str, str]
    trusted: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """``project`` or ``user``."""
        return "project" if self.is_project else "user"

    def environ(self) -> dict[str, str]:
        """Return its settings as environment variables."""
        return {
            setting.variable: self.values[setting.key]
            for setting in table_of_settings()
            if setting.key in self.values
        }


def table_of_settings() -> list[Setting[Any]]:
    """Return every setting that a file may hold, the limits of the budget last."""
    return [*SETTINGS, *limit_settings().values()]


def read_file(
    path: Path, *, user_path: Path | None = None, user: SettingsFile | None = None
) -> SettingsFile:
    """Read a file of settings.

    Args:
        path: of the file.
        user_path: of the user's file, which need not exist, if this one is the file of a project.
        user: the user's file, if it exists.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is not allowed.
    """
    text = _text_of(path)
    folder = path.parent.resolve()
    known = user.trusted if user is not None else ()
    is_project = user_path is not None
    is_trusted = not is_project or any(
        Path(os.path.expanduser(each)).resolve() == folder for each in known
    )
    reader = _Reader(path, text, None if is_trusted else user_path, is_project)
    values, trusted = reader.read(_parsed(path, text))
    return SettingsFile(path, is_project, is_trusted, values, trusted)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = file.read(_MAX_BYTES + 1)
        if len(found) > _MAX_BYTES:
            msg = f"{path} has more than {_MAX_BYTES} bytes."
            raise ConfigurationError(msg, hint="Remove it, or correct it: settings are short.")
        return found.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        msg = f"{path} cannot be read: {reason}."
        raise ConfigurationError(
            msg, hint="Correct the file, or set KANDO_CONFIG= to read none."
        ) from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    # Most commands have no file to read.
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        place = _PLACE.search(said)
        line = place[1] or len(text.splitlines()) if place else None
        where = f"{path}, line {line}" if line else str(path)
        what = clean(_PLACE.sub("", said))
        msg = f"{where} is not TOML: {what[0].lower()}{what[1:]}."
        raise ConfigurationError(
            msg, hint="Each line is KEY = VALUE; a string has quotes."
        ) from None


class _Reader:
    """Reads one parsed file.

    Args:
        path: of the file.
        text: of the file, for the lines.
        user_path: of the user's file, if this one may make no choices.
        is_project: whether it is the file of a project.
    """

    def __init__(self, path: Path, text: str, user_path: Path | None, is_project: bool) -> None:
        self._path, self._text = path, text
        self._user_path, self._is_project = user_path, is_project
        self._settings = {setting.key: setting for setting in table_of_settings()}
        self._tables = {key.partition(".")[0] for key in self._settings if "." in key}

    def read(self, found: dict[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the texts of the settings by key, and the folders that the user trusts."""
        values: dict[str, str] = {}
        self._refuse_secrets(found, ())
        trusted = self._trusted(found.pop(TRUSTED, []))
        for key, value in self._entries(found):
            values[key] = self._value(self._settings[key], value)
        return values, trusted

    def _error(self, keys: Sequence[str], message: str, hint: str) -> ConfigurationError:
        line = _line_of(self._text, tuple(keys))
        where = f"{self._path}, line {line}" if line else str(self._path)
        return ConfigurationError(f"{where}: {message}", hint=hint)

    def _refuse_secrets(self, found: object, keys: tuple[str, ...]) -> None:
        if isinstance(found, dict):
            for name, value in found.items():
                if _SECRET_NAME.search(name) and value is not False:
                    raise self._secret((*keys, name))
                self._refuse_secrets(value, (*keys, name))
        elif isinstance(found, list):
            for value in found:
                self._refuse_secrets(value, keys)
        elif isinstance(found, str) and (_SECRET_VALUE.search(found) or _has_password(found)):
            raise self._secret(keys)

    def _secret(self, keys: tuple[str, ...]) -> ConfigurationError:
        name = clean(".".join(keys))
        is_url = name == LEDGER.key
        msg = f"{name} contains a password." if is_url else f"{name} looks like a secret."
        hint = (
            "Set KANDO_LEDGER in the environment instead."
            if is_url
            else "Keys belong in the environment, such as ANTHROPIC_API_KEY; remove it from the file."
        )
        return self._error(keys, msg, hint)

    def _trusted(self, found: object) -> tuple[str, ...]:
        if self._is_project and found:
            msg = f"{TRUSTED} belongs in the user's file: no project trusts itself."
            raise self._error([TRUSTED], msg, "Remove it.")
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            msg = f"{TRUSTED} must be a list of strings."
            raise self._error([TRUSTED], msg, f'Write {TRUSTED} = ["~/projects/mine"].')
        return tuple(found)

    def _entries(self, found: dict[str, Any], table: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in found.items():
            key = f"{table}{name}"
            if key in self._settings:
                yield key, value
            elif key in self._tables and isinstance(value, dict):
                yield from self._entries(value, f"{key}.")
            elif key in self._tables:
                raise self._error(
                    [key], f"{key} must be a table.", f"Write [{key}] above its keys."
                )
            else:
                raise self._unknown(key, [*table.split(".")[:-1], name])

    def _unknown(self, key: str, keys: Sequence[str]) -> ConfigurationError:
        every = [*self._settings, TRUSTED]
        every += [f"{LLM_OPTIONS.key}.{option}" for option in sorted(KNOWN_OPTIONS)]
        near = get_close_matches(key, every, 1, 0.6)
        # A key may be right and in the wrong table.
        last = {each.rpartition(".")[2]: each for each in reversed(every)}
        near = [last[keys[-1]]] if keys[-1] in last else near
        known = ", ".join(sorted([*self._settings, TRUSTED]))
        hint = f"Did you mean {near[0]}?" if near else f"Keys: {known}."
        return self._error(keys, f"there is no setting {clean(key)!r:.80}.", hint)

    def _value(self, setting: Setting[Any], value: Any) -> str:
        keys = setting.key.split(".")
        if self._user_path is not None and setting.is_choice:
            raise self._choice(keys, setting.key)
        text = _as_text(setting, value)
        expected = _TOML_TYPES[setting.kind] if text is None else setting.expected
        if text is not None:
            try:
                setting.parse(text)
            except ValueError:
                text = None
        if text is None and isinstance(value, dict):
            msg = f"{setting.key} holds a date, an infinite number, or a model without a table."
            raise self._error(
                keys, msg, f'Write [{LLM_MODEL_OPTIONS.key}."NAME"] above its options.'
            )
        if text is None:
            shown = "" if isinstance(value, list) else f", not {value!r:.60}"
            msg = f"{setting.key} must be {expected}{shown}."
            raise self._error(keys, msg, "Correct it, or remove it.")
        if setting is LLM_OPTIONS:
            self._check_options(value, keys)
        elif setting is LLM_MODEL_OPTIONS:
            for model, options in value.items():
                self._check_options(options, [*keys, model])
        return self._from_here(setting, text)

    def _check_options(self, options: dict[str, Any], keys: Sequence[str]) -> None:
        for name, value in options.items():
            near = get_close_matches(name, KNOWN_OPTIONS, 1, _MISSPELLED)
            if near and near[0] != name:
                msg = f"{clean(name)} of [{'.'.join(keys)}] is not an option of requests."
                raise self._error([*keys, name], msg, f"Did you mean {near[0]}?")
            if self._user_path is not None and name not in KNOWN_OPTIONS - {"extra_body"}:
                raise self._choice([*keys, name], clean(".".join([*keys, name])))
            try:
                check_settings({name: value}, f"[{'.'.join(keys)}]")
            except ConfigurationError as error:
                raise self._error([*keys, name], error.message, error.hint or "") from None

    def _choice(self, keys: Sequence[str], key: str) -> ConfigurationError:
        folder = self._path.parent.resolve()
        msg = f"the file of a project that you do not trust cannot set {key}."
        hint = (
            f"Set it in {self._user_path}, or trust the project: a line {TRUSTED} = "
            f"[{json.dumps(str(folder))}] at the top of that file."
        )
        return self._error(keys, msg, hint)

    def _from_here(self, setting: Setting[Any], text: str) -> str:
        """Return a text whose relative path starts at the folder of the file."""
        folder = self._path.parent.absolute()
        if setting.kind is Kind.PATH:
            return str(folder / os.path.expanduser(text))
        if setting is LEDGER and text.lower().startswith("sqlite:") and text[7:9] != "//":
            return f"sqlite:{folder / os.path.expanduser(text[7:])}"
        return text


def _as_text(setting: Setting[Any], value: Any) -> str | None:
    """Return a value as the text of the variable; None if it has another type."""
    if setting.kind in (Kind.TEXT, Kind.PATH):
        return value if isinstance(value, str) and value.strip() else None
    if setting.kind is Kind.NUMBER:
        return (
            str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        )
    if setting.kind is Kind.FLAG:
        return str(int(value)) if isinstance(value, bool) else None
    if setting.kind is Kind.NAMES:
        is_list = isinstance(value, list) and all(
            isinstance(e, str) and "," not in e for e in value
        )
        return ",".join(value) if is_list else None
    try:
        return json.dumps(value, allow_nan=False) if isinstance(value, dict) else None
    except (TypeError, ValueError):
        # A date, or a number that is not finite.
        return None


def _has_password(text: str) -> bool:
    if "://" not in text:
        return False
    try:
        return urlsplit(text).password is not None or _SECRET_IN_QUERY.search(text) is not None
    except ValueError:
        return "@" in text


def _line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the line that sets a key, or the last of its tables; None if it is not found."""
    table: tuple[str, ...] = ()
    best, inner = (0, 0), 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            here = table
        elif assignment := _ASSIGNMENT.match(line):
            here = (*table, *_parts(assignment[1]))
        else:
            continue
        if here == keys[: len(here)] and len(here) > best[0]:
            best = (len(here), number)
        elif here[: len(keys)] == keys:
            inner = inner or number
    return best[1] if best[0] == len(keys) else inner or best[1] or None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_NAME, dotted))
