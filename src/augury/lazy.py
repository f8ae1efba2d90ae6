"""Imports that wait until they are used, so that a command's help need not load what computes.

Both ways are for the few places that a quick start depends on: the command line, and packages whose settings it reads. There, imports for
the type checker stand under `TYPE_CHECKING`, so that types and the direction of imports are checked as everywhere.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def module(name: str) -> Any:  # noqa: ANN401  (any module)
    """Stands for the module of that full name, which is imported when one of its names is first asked for."""
    return _Module(name)


def modules(*names: str) -> Iterator[Any]:
    """What `module` gives, for each of the names."""
    return map(module, names)


class _Module:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401  (anything that a module may hold)
        return getattr(importlib.import_module(self._name), attribute)


def names(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names are imported when first used (PEP 562).

    Parameters
    ----------
    package
        Its `__name__`.
    homes
        For each of its modules, the names that are found there.
    """
    home = {name: f"{package}.{inside}" for inside, found in homes.items() for name in found}

    def look_up(name: str) -> Any:  # noqa: ANN401  (any public name)
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return look_up
