"""A kit in a Python file, which the person at the terminal names; no package is needed."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from kando.errors import ConfigurationError, KandoError
from kando.kit import Kit
from kando.plugins import PluginBroken
from kando.runtime.failure import with_place

__all__ = ["kit_in_file"]


def kit_in_file(path: str | Path) -> Kit:
    """Return the kit in a Python file: its variable ``kit``, or its only `Kit`.

    Only a person at the terminal may name a file: running it runs its code. A ledger does not
    remember the path.

    Raises:
        ConfigurationError: the file does not exist, or holds no kit or several.
        PluginBroken: it raises when it is run.
    """
    file = Path(path).resolve()
    if not file.is_file():
        msg = f"There is no file {str(path)!r:.200}."
        raise ConfigurationError(msg, hint="Name a Python file that holds a kit.")
    found = vars(_run(file))
    named = found.get("kit")
    kits = {id(each): each for each in found.values() if isinstance(each, Kit)}
    if isinstance(named, Kit):
        named.child_kits += [
            each for each in kits.values() if each not in (named, *named.child_kits)
        ]
        return named
    if len(kits) == 1:
        return next(iter(kits.values()))
    msg = f"{path} holds {len(kits) or 'no'} kit{'s' if kits else ''}."
    raise ConfigurationError(msg, hint="Give its kit the name `kit`.")


def _run(file: Path) -> ModuleType:
    # Like a script: it may import the modules in its folder.
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{file} is not a Python file.", hint="Its name ends with .py.")
    module = module_from_spec(spec)
    # Dataclasses and type hints look their module up by its name.
    known = sys.modules.get(file.stem)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if known is not None:
            sys.modules[file.stem] = known
        if isinstance(error, KandoError):
            raise
        msg = with_place(f"{file.name} failed: {type(error).__name__}: {error}", error)
        raise PluginBroken(msg, hint="Correct the file.") from error
    return module
