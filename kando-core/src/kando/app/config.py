"""The files of settings: those of the user and of the project, and where each setting comes from.

A setting of a file is put into the environment as if its variable had been set, so that there is one
way to read a setting (`kando.settings.value_of`), also for providers and for processes that are
started.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kando.errors import ConfigurationError
from kando.ledger.urls import redact_url
from kando.settings import CONFIG, LEDGER, LLM_MODEL_OPTIONS, LLM_OPTIONS, Setting, value_of

# Not at the top, since most processes have no file of settings: `_config_file`, which knows every
# limit of a budget, and the options of models.
if TYPE_CHECKING:
    from kando.app._config_file import SettingsFile

__all__ = ["FILE_NAME", "Settings", "SourcedValue", "read_settings", "sourced_values"]

#: Name of a file of settings.
FILE_NAME = "kando.toml"

_OPTIONS = (LLM_OPTIONS, LLM_MODEL_OPTIONS)
_BUDGET = "budget."


@attrs.frozen
class Settings:
    """The settings of a process.

    Attributes:
        environ: the environment variables, and those that stand for the settings of files.
        variables: the environment variables alone.
        files: that were read, of the user first.
        origins: the file that sets a variable, by variable.
    """

    #: Holds keys, which must not end up in a log.
    environ: Mapping[str, str] = attrs.field(repr=False)
    variables: Mapping[str, str] = attrs.field(repr=False)
    files: tuple[SettingsFile, ...] = ()
    origins: Mapping[str, SettingsFile] = attrs.field(factory=dict)


@attrs.frozen
class SourcedValue:
    """The value of a setting, and where it comes from.

    Attributes:
        key: in a file of settings.
        value: as JSON; None if it has none.
        origin: ``option``, ``environment``, ``project``, ``user`` or ``default``.
        where: the option, the variable or the path of the file; empty for a default.
        variable: that sets it.
    """

    key: str
    value: Any
    origin: str
    where: str
    variable: str


def read_settings(
    environ: Mapping[str, str] | None = None, folder: str | Path | None = None
) -> Settings:
    """Read the files of settings, and return the settings of a process.

    An environment variable takes precedence over the file of the project, and that over the file of
    the user. The file of a project that the user does not trust makes no choices, and does not raise
    a limit of the budget.

    Args:
        environ: the environment variables; those of the process if None.
        folder: whose project counts; the working directory if None.

    Raises:
        ConfigurationError: a file is malformed, holds a secret or an unknown setting, or makes a
            choice that a project may not make.
    """
    variables = os.environ if environ is None else environ
    files = tuple(_files(variables, folder))
    if not files:
        return Settings(variables, variables)
    from kando.app._config_file import table_of_settings

    merged: dict[str, str] = dict(variables)
    origins: dict[str, SettingsFile] = {}
    for setting in table_of_settings():
        if setting in _OPTIONS or setting.set_by(variables) is not None:
            continue
        for file in files:
            if setting.key in file.values and _may_set(setting, file, merged):
                merged[setting.variable] = file.values[setting.key]
                origins[setting.variable] = file
    _merge_options(merged, origins, files)
    return Settings(merged, variables, files, origins)


def _may_set(setting: Setting[Any], file: SettingsFile, environ: Mapping[str, str]) -> bool:
    """Whether a file may replace the value so far: strangers lower limits, and do not raise them."""
    if file.is_trusted or not setting.key.startswith(_BUDGET):
        return True
    before = value_of(setting, environ)
    return before is None or float(file.values[setting.key]) <= before


def _merge_options(
    merged: dict[str, str], origins: dict[str, SettingsFile], files: tuple[SettingsFile, ...]
) -> None:
    """Merge the options of requests, by name.

    Options of one model override those of all models; those of a file do not override a variable.
    """
    from kando.responders.options import merge_options, model_options_in, options_in

    variables = options_in(merged)
    general = merge_options(*(options_in(each.environ()) for each in files), variables)
    by_model: dict[str, dict[str, Any]] = {}
    for file in files:
        for model, options in model_options_in(file.environ()).items():
            by_model[model] = merge_options(by_model.get(model), options, variables)
    for model, options in model_options_in(merged).items():
        by_model[model] = merge_options(by_model.get(model), options)
    for setting, value in ((LLM_OPTIONS, general), (LLM_MODEL_OPTIONS, by_model)):
        if value:
            merged[setting.variable] = json.dumps(value)
        for file in files:
            if setting.key in file.values:
                origins[setting.variable] = file


def _files(environ: Mapping[str, str], folder: str | Path | None) -> Iterator[SettingsFile]:
    if CONFIG.set_by(environ) is not None:
        named = value_of(CONFIG, environ)
        if named:
            yield _required(Path(os.path.expanduser(named)))
        return
    user_path = user_file(environ)
    has_user, path = _exists(user_path), _project_file(folder)
    if not has_user and path is None:
        return
    from kando.app._config_file import read_file

    user = read_file(user_path) if has_user else None
    if user is not None:
        yield user
    if path is not None and not (user is not None and path.samefile(user_path)):
        yield read_file(path, user_path=user_path, user=user)


def _required(path: Path) -> SettingsFile:
    from kando.app._config_file import read_file

    if not _exists(path):
        msg = f"{CONFIG.variable} names {path}, which is not a file."
        raise ConfigurationError(msg, hint="Name a file of settings, or unset it.")
    return read_file(path)


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def user_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the user's file of settings, which need not exist.

    Args:
        environ: ``XDG_CONFIG_HOME`` names the folder for configuration; ``~/.config`` if it is not set.
    """
    home = environ.get("XDG_CONFIG_HOME", "")
    base = home if os.path.isabs(home) else os.path.expanduser("~/.config")
    return Path(base, "kando", FILE_NAME)


def _project_file(folder: str | Path | None) -> Path | None:
    """Return the nearest file, up to the root of a repository or the home folder."""
    home = Path(os.path.expanduser("~"))
    try:
        start = Path(folder or os.getcwd()).absolute()
    except OSError:
        # The working directory was removed.
        return None
    for each in (start, *start.parents):
        if _exists(each / FILE_NAME):
            return each / FILE_NAME
        if each == home or os.path.lexists(each / ".git"):
            return None
    return None


def sourced_values(
    settings: Settings, options: Mapping[str, tuple[str, Any]] | None = None
) -> list[SourcedValue]:
    """Return every setting with its value and where it comes from; options of requests one by one.

    Args:
        settings: as `read_settings` returned them.
        options: of the command line, each with its value, by the key of the setting.

    Raises:
        ConfigurationError: a variable is malformed.
    """
    from kando.app._config_file import table_of_settings

    given = options or {}
    found: list[SourcedValue] = []
    for setting in table_of_settings():
        if setting in _OPTIONS:
            found += _sourced_options(setting, settings)
        else:
            found.append(_sourced(setting, settings, given))
    return found


def _sourced(
    setting: Setting[Any], settings: Settings, given: Mapping[str, tuple[str, Any]]
) -> SourcedValue:
    from kando.responders.redaction import redact

    value: Any
    if setting.key in given:
        where, value = given[setting.key]
        origin = "option"
    else:
        value = value_of(setting, settings.environ)
        origin, where = _origin(setting, settings)
    if setting == LEDGER and isinstance(value, str):
        value = redact_url(value)
    shown = redact(value, settings.environ) if isinstance(value, str) else value
    return SourcedValue(setting.key, shown, origin, where, setting.variable)


def _origin(setting: Setting[Any], settings: Settings) -> tuple[str, str]:
    file = settings.origins.get(setting.variable)
    if file is not None:
        return file.origin, str(file.path)
    name = setting.set_by(settings.environ)
    return ("default", "") if name is None else ("environment", name)


def _sourced_options(setting: Setting[Any], settings: Settings) -> Iterator[SourcedValue]:
    """Yield the options of requests, each from the last layer that sets it."""
    from kando.responders.redaction import redact

    layers = [(each.origin, str(each.path), each.environ()) for each in settings.files]
    layers.append(("environment", setting.variable, dict(settings.variables)))
    found: dict[str, tuple[Any, str, str]] = {}
    for origin, where, layer in layers:
        for name, value in _flat(setting, layer):
            found[name] = (value, origin, where)
    if setting is LLM_MODEL_OPTIONS:
        _override(found, settings.variables)
    for name, (value, origin, where) in found.items():
        text = json.dumps(value)
        shown = redact(text, settings.environ)
        shown_value = value if shown == text else shown
        yield SourcedValue(f"{setting.key}.{name}", shown_value, origin, where, setting.variable)


def _override(found: dict[str, tuple[Any, str, str]], variables: Mapping[str, str]) -> None:
    """Replace the options of files for one model by those of the environment for all."""
    from kando.responders.options import options_in

    general = options_in(variables)
    for name, (_, origin, _) in list(found.items()):
        option = name.rpartition(".")[2]
        if origin != "environment" and option in general:
            found[name] = (general[option], "environment", LLM_OPTIONS.variable)


def _flat(setting: Setting[Any], environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    from kando.responders.options import model_options_in, options_in

    if setting is LLM_OPTIONS:
        yield from options_in(environ).items()
        return
    for model, options in model_options_in(environ).items():
        for name, value in options.items():
            yield f"{json.dumps(model)}.{name}", value
