"""The settings of a process: the variable, the key in `kando.toml` and the default of each.

A setting is an environment variable, or a key of a file that `kando.app.config` reads: what a file
sets is put into the environment that a command works with. So `value_of` is the only way to read a
setting. The limits of the budget are in `kando.app.limits`, which makes a setting of each.
"""

# long: one entry for each setting.

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Generic, TypeVar

import attrs

from kando.errors import ConfigurationError

__all__ = [
    "CONFIG",
    "DISABLED_PLUGINS",
    "GRACE_SECONDS",
    "LEASE_SECONDS",
    "LEDGER",
    "LLM",
    "LLM_MODEL_OPTIONS",
    "LLM_OPTIONS",
    "LLM_RETRIES",
    "LLM_TIMEOUT",
    "MCP",
    "ONLY_PLUGINS",
    "PREFERRED_PLUGINS",
    "PRICES",
    "QUIET",
    "RECORD",
    "SETTINGS",
    "SNAPSHOT_DIR",
    "STRICT_PLUGINS",
    "WORKSPACES",
    "WORKSPACE_IGNORE",
    "WORKSPACE_MAX_BYTES",
    "WORKSPACE_MAX_FILES",
    "Kind",
    "Setting",
    "number_of",
    "value_of",
]

T = TypeVar("T")


class Kind(Enum):
    """The type that a setting has in `kando.toml`."""

    TEXT = "text"
    PATH = "path"
    NUMBER = "number"
    FLAG = "flag"
    NAMES = "names"
    OBJECT = "object"


@attrs.frozen
class Setting(Generic[T]):
    """A setting of a process.

    Attributes:
        variable: its environment variable.
        key: its key in `kando.toml`, with a dot after the name of its table; empty if no file may
            set it.
        about: what it sets, in a few words.
        parse: returns the value of a text; raises ValueError if the text is malformed.
        default: its value if it is not set.
        kind: its type in a file.
        expected: what its text must be, such as ``a number of seconds``.
        cure: what to do if its text is malformed.
        option: of `kando` that takes precedence; empty if there is none.
        others: further variables that set it, if `variable` does not.
        is_choice: whether it chooses who is asked and paid, what is read and written, or which code
            runs. Then the file of a project sets it only if the user trusts the project.
        may_be_empty: whether an empty text is a value.
    """

    variable: str
    key: str
    about: str
    parse: Callable[[str], T] = attrs.field(repr=False)
    default: T
    kind: Kind = Kind.TEXT
    expected: str = "a text"
    cure: str = "Correct it, or remove it for the default."
    option: str = ""
    others: tuple[str, ...] = ()
    is_choice: bool = False
    may_be_empty: bool = False

    def parsed(self, text: str, variable: str = "") -> T:
        """Return the value of a text.

        Args:
            text: of a variable.
            variable: whose text it is; `Setting.variable` if omitted.

        Raises:
            ConfigurationError: the text is malformed.
        """
        try:
            return self.parse(text.strip())
        except (ValueError, OverflowError):
            name = variable or self.variable
            msg = f"{name} is {text!r:.80}, which is not {self.expected}."
            raise ConfigurationError(msg, hint=self.cure) from None

    def set_by(self, environ: Mapping[str, str]) -> str | None:
        """Return the variable that sets it, or None. An empty one does not, unless that is a value."""
        for name in (self.variable, *self.others):
            text = environ.get(name)
            if text is not None and (text.strip() or self.may_be_empty):
                return name
        return None


def value_of(setting: Setting[T], environ: Mapping[str, str]) -> T:
    """Return the value of a setting.

    Args:
        setting: one of `SETTINGS`, or of the limits of the budget.
        environ: environment variables, with the settings of files.

    Raises:
        ConfigurationError: its text is malformed.
    """
    name = setting.set_by(environ)
    return setting.default if name is None else setting.parsed(environ[name], name)


def number_of(
    is_valid: Callable[[float], bool], *, is_whole: bool = False
) -> Callable[[str], float]:
    """Return a parser of finite numbers.

    Args:
        is_valid: whether a number is allowed.
        is_whole: whether it must be a whole number.
    """

    def parse(text: str) -> float:
        number = int(text) if is_whole else float(text)
        if not math.isfinite(number) or not is_valid(number):
            msg = f"{text} is out of range"
            raise ValueError(msg)
        return number

    return parse


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _flag(text: str) -> bool:
    return text.lower() not in {"", "0", "false", "no"}


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        msg = "it is not an object"
        raise ValueError(msg)
    return found


def _objects(text: str) -> dict[str, dict[str, Any]]:
    found = _object(text)
    if not all(isinstance(each, dict) for each in found.values()):
        msg = "it is not an object of objects"
        raise ValueError(msg)
    return found


LEDGER: Setting[str | None] = Setting(
    "KANDO_LEDGER",
    "ledger",
    "URL of the substrate",
    str,
    None,
    option="--ledger",
    others=("EVENTSTORE_URL",),
    is_choice=True,
)

LLM: Setting[str | None] = Setting(
    "KANDO_LLM",
    "llm.provider",
    "provider that answers requests to models",
    str,
    None,
    option="--llm",
    is_choice=True,
)

LLM_OPTIONS: Setting[dict[str, Any]] = Setting(
    "KANDO_LLM_OPTIONS",
    "llm.options",
    "options of all requests to models",
    _object,
    {},
    Kind.OBJECT,
    expected="a JSON object",
    cure="Set KANDO_LLM_OPTIONS='{\"max_tokens\": 4000}'.",
    option="--max-tokens",
)

LLM_MODEL_OPTIONS: Setting[dict[str, dict[str, Any]]] = Setting(
    "KANDO_LLM_MODEL_OPTIONS",
    "llm.models",
    "options of requests to one model",
    _objects,
    {},
    Kind.OBJECT,
    expected="a JSON object of objects",
    cure='Set KANDO_LLM_MODEL_OPTIONS=\'{"MODEL": {"max_tokens": 4000}}\'.',
)

LLM_TIMEOUT = Setting(
    "KANDO_LLM_TIMEOUT",
    "llm.timeout",
    "seconds of silence after which an attempt to reach a model fails",
    number_of(lambda n: 0 < n < 1e6),
    120.0,
    Kind.NUMBER,
    expected="a number above 0",
    cure="Unset it for the default, 120.",
)

LLM_RETRIES = Setting(
    "KANDO_LLM_RETRIES",
    "llm.retries",
    "how often a failed attempt to reach a model is retried",
    number_of(lambda n: 0 <= n < 1e6),
    4.0,
    Kind.NUMBER,
    expected="a number of at least 0",
    cure="Unset it for the default, 4.",
)

MCP: Setting[dict[str, Any]] = Setting(
    "KANDO_MCP_SERVERS",
    "mcp",
    "MCP servers that may be added to runs",
    _object,
    {},
    Kind.OBJECT,
    expected="a JSON object",
    cure='Set KANDO_MCP_SERVERS=\'{"NAME": "COMMAND"}\'.',
    option="--mcp",
    is_choice=True,
)

PRICES: Setting[str | None] = Setting(
    "KANDO_PRICES", "llm.prices", "file of prices", str, None, Kind.PATH, is_choice=True
)

RECORD: Setting[str | None] = Setting(
    "KANDO_RECORD",
    "llm.record",
    "provider from which recorded:FILE records",
    str,
    None,
    is_choice=True,
)

GRACE_SECONDS = Setting(
    "KANDO_GRACE_SECONDS",
    "grace_seconds",
    "seconds that calls in flight have when a process is ended",
    number_of(lambda n: n >= 0),
    60.0,
    Kind.NUMBER,
    expected="a number of seconds",
    cure="Use a number of at least 0.",
    option="--grace",
)

LEASE_SECONDS = Setting(
    "KANDO_LEASE_SECONDS",
    "lease_seconds",
    "seconds without a sign of life after which a process loses its claim on a run",
    number_of(lambda n: n >= 1),
    30.0,
    Kind.NUMBER,
    expected="a number of seconds",
    cure="Use a number of at least 1.",
)

SNAPSHOT_DIR: Setting[str | None] = Setting(
    "KANDO_SNAPSHOT_DIR",
    "snapshot_dir",
    "folder for snapshots",
    str,
    None,
    Kind.PATH,
    is_choice=True,
)

WORKSPACES: Setting[str | None] = Setting(
    "KANDO_WORKSPACES",
    "workspaces.folder",
    "folder for the workspaces of runs",
    str,
    None,
    Kind.PATH,
    is_choice=True,
)

WORKSPACE_IGNORE: Setting[tuple[str, ...]] = Setting(
    "KANDO_WORKSPACE_IGNORE",
    "workspaces.ignore",
    "names of files and folders that no workspace records, with * and ?",
    _names,
    (
        ".hg",
        ".svn",
        ".venv",
        "node_modules",
        "__pycache__",
        "*.pyc",
        ".pytest_cache",
        ".mypy_cache",
        ".ruff_cache",
        ".DS_Store",
    ),
    Kind.NAMES,
    may_be_empty=True,
)

WORKSPACE_MAX_FILES = Setting(
    "KANDO_WORKSPACE_MAX_FILES",
    "workspaces.max_files",
    "how many files a workspace may have",
    number_of(lambda n: n >= 1, is_whole=True),
    10_000.0,
    Kind.NUMBER,
    expected="a whole number above 0",
    cure="Unset it for the default, 10000.",
)

WORKSPACE_MAX_BYTES = Setting(
    "KANDO_WORKSPACE_MAX_BYTES",
    "workspaces.max_bytes",
    "how many bytes the files of a workspace may have together",
    number_of(lambda n: n >= 1, is_whole=True),
    256.0 * 1024 * 1024,
    Kind.NUMBER,
    expected="a whole number above 0",
    cure="Unset it for the default, 268435456.",
)

ONLY_PLUGINS: Setting[tuple[str, ...] | None] = Setting(
    "KANDO_PLUGINS",
    "plugins.only",
    "the only plugins to load",
    _names,
    None,
    Kind.NAMES,
    is_choice=True,
    may_be_empty=True,
)

DISABLED_PLUGINS: Setting[tuple[str, ...]] = Setting(
    "KANDO_DISABLE_PLUGINS",
    "plugins.disabled",
    "plugins not to load",
    _names,
    (),
    Kind.NAMES,
    is_choice=True,
)

PREFERRED_PLUGINS: Setting[tuple[str, ...]] = Setting(
    "KANDO_PREFER",
    "plugins.preferred",
    "distributions to prefer when several plugins claim a name",
    _names,
    (),
    Kind.NAMES,
    option="--prefer",
    is_choice=True,
)

STRICT_PLUGINS = Setting(
    "KANDO_STRICT_PLUGINS",
    "plugins.strict",
    "whether a plugin that fails is an error at once",
    _flag,
    False,
    Kind.FLAG,
    is_choice=True,
)

QUIET = Setting(
    "KANDO_QUIET",
    "quiet",
    "whether commands show no progress",
    _flag,
    False,
    Kind.FLAG,
    option="--quiet",
)

#: File of settings to read instead of those of the user and of the project; empty: read none.
CONFIG: Setting[str | None] = Setting(
    "KANDO_CONFIG", "", "file of settings to read instead of others", str, None, may_be_empty=True
)

#: Every setting except the limits of the budget, as `kando config` lists them.
SETTINGS: tuple[Setting[Any], ...] = (
    LEDGER,
    LLM,
    LLM_OPTIONS,
    LLM_MODEL_OPTIONS,
    LLM_TIMEOUT,
    LLM_RETRIES,
    MCP,
    PRICES,
    RECORD,
    GRACE_SECONDS,
    LEASE_SECONDS,
    SNAPSHOT_DIR,
    WORKSPACES,
    WORKSPACE_IGNORE,
    WORKSPACE_MAX_FILES,
    WORKSPACE_MAX_BYTES,
    ONLY_PLUGINS,
    DISABLED_PLUGINS,
    PREFERRED_PLUGINS,
    STRICT_PLUGINS,
    QUIET,
)
