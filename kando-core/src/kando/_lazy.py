"""Names that a package offers and imports on first use (PEP 562)."""

# No module is imported here but sys and time, which every process has: importing kando loads nothing else.
import sys
from time import time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType
else:
    ModuleType = type(sys)

__all__ = ["IMPORTED_AT", "lazily"]

#: When this process began to import Kando, in ns since 1970; it imported no kit before.
IMPORTED_AT = time_ns()


class _Package(ModuleType):
    """A package whose names take precedence over its submodules.

    When the import system has loaded a submodule, it sets it as an attribute of the package. For
    ``kando.emit`` that attribute is the function ``emit`` of the module instead, so that ``from
    kando import emit`` does not depend on what was imported before it. The module stays in
    ``sys.modules``, where ``from kando.emit import create`` finds it.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name in self.__all__:
            value = getattr(value, name)
        super().__setattr__(name, value)


def lazily(
    package: str, modules: "Mapping[str, Iterable[str]]"
) -> "tuple[Callable[[str], object], Callable[[], list[str]]]":
    """Return the ``__getattr__`` and the ``__dir__`` of a package.

    Args:
        package: its ``__name__``.
        modules: the names that the package offers, by the module that defines them.
    """
    owner = sys.modules[package]
    owner.__class__ = _Package
    module_of = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> object:
        if name not in module_of:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg, name=name, obj=owner)
        from importlib import import_module

        value = getattr(import_module(module_of[name]), name)
        setattr(owner, name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(owner), *module_of})

    return get, names
