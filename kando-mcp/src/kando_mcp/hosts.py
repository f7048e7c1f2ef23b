"""What hosts need to know to start kando-mcp, and where each of them reads it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kando.app.substrates import substrate_url
from kando.errors import ConfigurationError
from kando_mcp.jsonc import parse, with_member

__all__ = ["configuration", "merge", "place_of"]

_NAME = "kando"
_BY_HAND = "Mend it by hand, or name another with --file."
# Keys and tokens stay where they are: a host hands its own environment on.
_HANDED_ON = ("KANDO_LLM", "KANDO_SNAPSHOT_DIR", "KANDO_PLUGINS", "KANDO_DISABLE_PLUGINS")


def configuration(
    host: str, options: Sequence[str], ledger_url: str | None, environ: Mapping[str, str]
) -> tuple[dict[str, Any], bool]:
    """Return what a host's file must hold, and whether that is all that kando-mcp needs to know.

    Args:
        host: ``claude-desktop``, ``claude-code``, ``cursor`` or ``vscode``.
        options: handed to kando-mcp.
        ledger_url: that the options name, or None.
        environ: settings, whose Kando part the host hands on; no keys, and no URL with a password.
    """
    url = substrate_url(ledger_url, environ)
    is_whole = not _is_secret(url)
    command, *before = _command()
    env = {name: environ[name] for name in _HANDED_ON if environ.get(name)}
    if is_whole:
        env["KANDO_LEDGER"] = _absolute(url)
    args = [*before, *_without_ledger(options)]
    server: dict[str, Any] = {"command": command, "args": args, "env": env}
    if host in ("vscode", "claude-code"):
        server = {"type": "stdio", **server}
    return {"servers" if host == "vscode" else "mcpServers": {_NAME: server}}, is_whole


def _without_ledger(options: Sequence[str]) -> list[str]:
    """Return options without the URL of the ledger, which goes into the environment."""
    kept: list[str] = []
    given = iter(options)
    for option in given:
        if option == "--ledger":
            next(given, None)
        elif not option.startswith("--ledger="):
            kept.append(option)
    return kept


def _is_secret(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    return "@" in rest and scheme.lower() != "sqlite"


def _command() -> list[str]:
    script = shutil.which("kando-mcp", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-P", "-m", "kando_mcp.main"]


def _absolute(url: str) -> str:
    """Return a URL that means the same from whichever folder a host starts us in."""
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or path.startswith("//"):
        return url
    return f"sqlite:{Path(path).expanduser().absolute()}"


def place_of(host: str, environ: Mapping[str, str]) -> str:
    """Return the path of a host's file: the user's for those that have one, else the project's.

    Args:
        host: as for `configuration`.
        environ: where the places of applications are looked up.
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
    """Put an entry into a host's file and leave everything else in it as it is, comments too.

    Args:
        path: of the file; made if it is missing.
        entry: as `configuration` returns it.

    Returns:
        False if the file holds it already.

    Raises:
        ConfigurationError: the file is not JSON, or cannot be written; it was not changed.
    """
    # Through a link, to where the file is kept.
    file = Path(os.path.realpath(path))
    text = _read(file)
    known = _parsed(file, text)
    ((section, servers),) = entry.items()
    if not isinstance(known.get(section, {}), dict):
        msg = f"{file}: {section!r} is not an object."
        raise ConfigurationError(msg, hint=_BY_HAND)
    merged = {**known, section: {**known.get(section, {}), **servers}}
    if merged == known:
        return False
    for name, server in servers.items():
        text = with_member(text, (section, name), server)
    try:
        _replace(file, text)
    except OSError as error:
        msg = f"{file} cannot be written: {error.strerror}."
        raise ConfigurationError(msg, hint="Name another place with --file.") from error
    return True


def _read(file: Path) -> str:
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return "{}\n"
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be read: {error}."
        raise ConfigurationError(msg, hint=_BY_HAND) from error
    return text if text.strip() else "{}\n"


def _parsed(file: Path, text: str) -> dict[str, Any]:
    try:
        known = parse(text)
    except (ValueError, RecursionError) as error:
        msg = f"{file} cannot be read as JSON: {error}."
        raise ConfigurationError(msg, hint=_BY_HAND) from error
    if isinstance(known, dict):
        return known
    msg = f"{file} holds no JSON object."
    raise ConfigurationError(msg, hint=_BY_HAND)


def _replace(file: Path, text: str) -> None:
    """Write a file as one step: a host that reads it meanwhile sees the old or the new."""
    file.parent.mkdir(parents=True, exist_ok=True)
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    descriptor, made = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(text.encode("utf-8"))
        os.chmod(made, mode)
        os.replace(made, file)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise
