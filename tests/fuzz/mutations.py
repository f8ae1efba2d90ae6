"""Damage, drawn from a seed: to bytes, and to records that keep their form but hold junk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator
Json = Any  # what a JSON file may hold

INTERESTING = [
    bytes([0]) * 4,
    bytes([255]) * 4,
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\x00\x10\x00\x00",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
]
JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    3,
    2**31,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../x",
    "\0",
    [],
    [1],
    ["a", None],
    {},
    {"a": 1},
]


def mutated(content: bytes, rng: Rng) -> bytes:
    """The content after one to four changes."""
    for _ in range(rng.integers(1, 5)):
        content = CHANGES[rng.integers(len(CHANGES))](content, rng)
    return content


def _flip(content: bytes, rng: Rng) -> bytes:
    if not content:
        return content
    changed = bytearray(content)
    for place in rng.integers(len(changed), size=rng.integers(1, 9)):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def _truncate(content: bytes, rng: Rng) -> bytes:
    return content[: rng.integers(len(content) + 1)]


def _insert(content: bytes, rng: Rng) -> bytes:
    place = rng.integers(len(content) + 1)
    return content[:place] + rng.bytes(rng.integers(1, 40)) + content[place:]


def _remove(content: bytes, rng: Rng) -> bytes:
    place = rng.integers(len(content) + 1)
    return content[:place] + content[place + rng.integers(1, 40) :]


def _swap(content: bytes, rng: Rng) -> bytes:
    """Two stretches change places."""
    first, second, third = sorted(rng.integers(len(content) + 1, size=3))
    return content[:first] + content[second:third] + content[first:second] + content[third:]


def _overwrite(content: bytes, rng: Rng) -> bytes:
    """A number that is extreme in some format, where the headers are, or anywhere."""
    place = rng.integers(min(64, len(content)) + 1) if rng.random() < 0.5 else rng.integers(len(content) + 1)
    number = INTERESTING[rng.integers(len(INTERESTING))]
    return content[:place] + number + content[place + len(number) :]


CHANGES: list[Callable[[bytes, Rng], bytes]] = [_flip, _truncate, _insert, _remove, _swap, _overwrite]


def junked(record: Json, rng: Rng) -> Json:
    """A JSON value in which one entry, at any depth, is taken out, called otherwise, or replaced by something of another kind."""
    if isinstance(record, dict) and record and rng.random() < 0.9:
        name = list(record)[rng.integers(len(record))]
        others = {key: value for key, value in record.items() if key != name}
        if rng.random() < 0.2:
            return others
        if rng.random() < 0.1:
            return others | {name + "?": record[name]}
        return others | {name: junked(record[name], rng)}
    if isinstance(record, list) and record and rng.random() < 0.5:
        place = int(rng.integers(len(record)))
        return [*record[:place], junked(record[place], rng), *record[place + 1 :]]
    return JUNK[rng.integers(len(JUNK))]
