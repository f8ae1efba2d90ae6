"""The parts that a publisher gives a data set in, under one name each: `train`, `validation`, `test`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from augury.errors import InputError

T = TypeVar("T")

STANDARD = ("train", "validation", "test")
SYNONYMS = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "validation"
)
_WORD = re.compile(rf"(?<![a-z0-9])({'|'.join(SYNONYMS)})(?![a-z0-9])")


def standard_name(name: str) -> str:
    """The split's usual name: `val`, `valid` and `dev` are `validation`; a name of the publisher's own stays as it is."""
    return SYNONYMS.get(name.lower(), name)


def split_in(path: str) -> str | None:
    """The split that a path names by a word of its own (`data/train-00000-of-00001.parquet`: train), if any."""
    word = _WORD.search(path.lower())
    return SYNONYMS[word[1]] if word else None


def by_standard_name(parts: Mapping[str, T], source: object) -> dict[str, T]:
    """The same parts under their usual names, the usual ones first; two names for one split are an `InputError`."""
    named: dict[str, T] = {}
    for name, part in parts.items():
        if standard_name(name) in named:
            raise InputError(f"{source}: two parts are the {standard_name(name)} split ({', '.join(parts)}); keep one of them")
        named[standard_name(name)] = part
    return {name: named[name] for name in ordered(named)}


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once: train, validation, test, then the publisher's own in their order."""
    given = dict.fromkeys(names)
    return tuple(name for name in STANDARD if name in given) + tuple(name for name in given if name not in STANDARD)
