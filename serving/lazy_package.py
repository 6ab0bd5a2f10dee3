"""Import modules of a large package without all the others."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType


class _LazyPackage(ModuleType):
    """A package whose `__init__.py` runs when somebody asks for something that only it defines."""

    def __getattr__(self, name: str) -> object:
        self.__class__ = ModuleType  # type: ignore[assignment]  # from now on like any other
        self.__spec__.loader.exec_module(self)  # type: ignore[union-attr]  # found by make_lazy
        return getattr(self, name)


def make_lazy(name: str) -> None:
    """Let `from NAME.part import …` run that part and what it needs, while NAME's own `__init__.py` waits.

    It runs once an attribute is asked for that no imported part is (`NAME.attribute`, `from NAME import attribute`). A
    package that has been imported already, or that is not there, stays as it is.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is not None:
        package = importlib.util.module_from_spec(spec)
        package.__class__ = _LazyPackage
        sys.modules[name] = package
