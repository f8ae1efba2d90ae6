"""What a setting's value may be: each check gives the value in the form in which it is recorded, or says what was expected.

Numbers may come as texts, as the command line has them.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any, get_args

Check = Callable[[Any], object]


class UnexpectedError(ValueError):
    """A value is none that its setting can have; the text says what was expected."""


def text(value: object) -> str:
    """Any text; a number is taken as it is written."""
    if isinstance(value, bool) or not isinstance(value, str | Real):
        raise UnexpectedError("a text")
    return str(value)


def path(value: object) -> str:
    """A path, or the name of a data set."""
    if not isinstance(value, str | os.PathLike):
        raise UnexpectedError("a path, or the name of a data set")
    return str(os.fspath(value))


def flag(value: object) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise UnexpectedError("True or False")
    return value


def at_least(lowest: int) -> Check:
    """A whole number from `lowest` up."""

    def check(value: object) -> int:
        number = _read(value, int)
        if not isinstance(number, Integral) or number < lowest:
            raise UnexpectedError(f"a whole number, {lowest} or more")
        return int(number)

    return check


def processes(value: object) -> int:
    """A number of processes; -1 is one for each core."""
    number = _read(value, int)
    if not isinstance(number, Integral) or (number < 1 and number != -1):
        raise UnexpectedError("a number of processes, 1 or more, or -1 for one a core")
    return int(number)


def positive(value: object) -> float:
    """A number above zero, not infinite."""
    number = _read(value, float)
    if not isinstance(number, Real) or not 0 < float(number) < math.inf:
        raise UnexpectedError("a positive number")
    return float(number)


def share(value: object) -> float:
    """A number between zero and one."""
    number = _read(value, float)
    if not isinstance(number, Real) or not 0 < float(number) < 1:
        raise UnexpectedError("a share between 0 and 1")
    return float(number)


def _read(value: object, kind: Callable[[str], float]) -> object:
    """A text as the number it is; True and False, which Python takes for numbers, as nothing."""
    if isinstance(value, bool):
        return None
    try:
        return kind(value) if isinstance(value, str) else value
    except ValueError:
        return None


def one_of(choices: Any) -> Check:  # noqa: ANN401  (a Literal)
    """One of the texts of a `Literal`."""

    def check(value: object) -> object:
        if value not in get_args(choices):
            raise UnexpectedError(f"one of {', '.join(get_args(choices))}")
        return value

    return check


def names(value: str | Iterable[str]) -> tuple[str, ...]:
    """Names, or a text of names with commas; there, a name that holds a comma itself stands in double quotes."""
    if not isinstance(value, str):
        return tuple(map(str, value))
    try:
        return tuple(name.strip() for name in next(csv.reader([value], skipinitialspace=True), []))
    except csv.Error:
        raise UnexpectedError("names of classes, with commas between them") from None
