"""Configuration of the hosts that start kando-mcp: its contents, and the file of each host."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kando.app.substrates import substrate_url
from kando.errors import ConfigurationError
from kando.ledger.files import write_whole
from kando_mcp.jsonc import parse, with_member

__all__ = ["config_path", "configuration", "merge"]

_NAME = "kando"
_FIX_BY_HAND = "Fix the file by hand, or name another with --file."
# Keys and tokens are not copied: a host passes its own environment on.
_COPIED = ("KANDO_LLM", "KANDO_SNAPSHOT_DIR", "KANDO_PLUGINS", "KANDO_DISABLE_PLUGINS")


def configuration(
    host: str, options: Sequence[str], ledger_url: str | None, environ: Mapping[str, str]
) -> tuple[dict[str, Any], bool]:
    """Return the entry for a host's file, and whether it is complete.

    It is incomplete if the ledger's URL contains a user or a password, which is left out.

    Args:
        host: ``claude-desktop``, ``claude-code``, ``cursor`` or ``vscode``.
        options: options for kando-mcp.
        ledger_url: the ledger given among the options, or None.
        environ: where Kando's settings are copied from; keys are not copied.
    """
    url = substrate_url(ledger_url, environ)
    is_complete = not _has_credentials(url)
    command, *before = _command()
    env = {name: environ[name] for name in _COPIED if environ.get(name)}
    if is_complete:
        env["KANDO_LEDGER"] = _absolute(url)
    args = [*before, *_without_ledger(options)]
    server: dict[str, Any] = {"command": command, "args": args, "env": env}
    if host in ("vscode", "claude-code"):
        server = {"type": "stdio", **server}
    return {"servers" if host == "vscode" else "mcpServers": {_NAME: server}}, is_complete


def _without_ledger(options: Sequence[str]) -> list[str]:
    """Return the options without the ledger's URL, which goes into the environment."""
    kept: list[str] = []
    given = iter(options)
    for option in given:
        if option == "--ledger":
            next(given, None)
        elif not option.startswith("--ledger="):
            kept.append(option)
    return kept


def _has_credentials(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    return "@" in rest and scheme.lower() != "sqlite"


def _command() -> list[str]:
    script = shutil.which("kando-mcp", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-P", "-m", "kando_mcp.main"]


def _absolute(url: str) -> str:
    """Return the URL with an absolute path: the host chooses the working directory."""
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or path.startswith("//"):
        return url
    return f"sqlite:{Path(path).expanduser().absolute()}"


def config_path(host: str, environ: Mapping[str, str]) -> str:
    """Return the path of a host's file: the user's if the host has one, else the project's.

    Args:
        host: as for `configuration`.
        environ: names the folder for application data.
    """
    home = Path.home()
    if host == "cursor":
        return str(home / ".cursor" / "mcp.json")
    if host == "claude-code":
        return str(Path.cwd() / ".mcp.json")
    if host == "vscode":
        return str(Path.cwd() / ".vscode" / "mcp.json")
    name = Path("Claude") / "claude_desktop_config.json"
    if sys.platform == "darwin":
        return str(home / "Library" / "Application Support" / name)
    if sys.platform == "win32":
        return str(Path(environ.get("APPDATA", home / "AppData" / "Roaming")) / name)
    return str(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / name)


def merge(path: str | Path, entry: Mapping[str, Any]) -> bool:
    """Merge an entry into a host's file and leave the rest unchanged, comments included.

    Args:
        path: path of the file, which is created if it is missing.
        entry: the entry, as returned by `configuration`.

    Returns:
        False if the file already contains the entry.

    Raises:
        ConfigurationError: the file is not JSON, or cannot be written; it was not changed.
    """
    # A symbolic link is kept: its target is replaced.
    file = Path(os.path.realpath(path))
    text = _read(file)
    known = _parsed(file, text)
    ((section, servers),) = entry.items()
    if not isinstance(known.get(section, {}), dict):
        msg = f"{file}: {section!r} is not an object."
        raise ConfigurationError(msg, hint=_FIX_BY_HAND)
    merged = {**known, section: {**known.get(section, {}), **servers}}
    if merged == known:
        return False
    for name, server in servers.items():
        text = with_member(text, (section, name), server)
    try:
        write_whole(file, [text.encode("utf-8")], make_folder=True)
    except OSError as error:
        msg = f"{file} cannot be written: {error.strerror}."
        raise ConfigurationError(msg, hint="Name another file with --file.") from error
    return True


def _read(file: Path) -> str:
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return "{}\n"
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be read: {error}."
        raise ConfigurationError(msg, hint=_FIX_BY_HAND) from error
    return text if text.strip() else "{}\n"


def _parsed(file: Path, text: str) -> dict[str, Any]:
    try:
        known = parse(text)
    except (ValueError, RecursionError) as error:
        msg = f"{file} cannot be read as JSON: {error}."
        raise ConfigurationError(msg, hint=_FIX_BY_HAND) from error
    if isinstance(known, dict):
        return known
    msg = f"{file} does not contain a JSON object."
    raise ConfigurationError(msg, hint=_FIX_BY_HAND)
