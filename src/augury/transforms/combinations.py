"""Transforms made of others: copies of copies, copies side by side, and a user's own copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from augury.errors import InputError
from augury.transforms.transform import Array, Transform, blocks, check_images, check_names, dtype_name, empty_copies

CHUNK = 2**24  # bytes of copies made at a time


@dataclass(frozen=True, init=False)
class Compose:
    """Copies of copies: every copy of the first transform goes through the second, and so on; as many as the product of the counts.

    The last transform's copies change fastest. uint8 images are rounded after each transform, as if each had been applied by itself.
    A composition inside a composition is laid out flat, which changes nothing.
    """

    transforms: tuple[Transform, ...]

    def __init__(self, *transforms: Transform) -> None:
        object.__setattr__(self, "transforms", _flat(transforms, Compose))
        check_names(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """`rotate(-30)+flip`: in the order in which they are applied."""
        names = [""]
        for transform in self.transforms:
            names = [f"{before}+{name}" for before in names for name in transform.names]
        return tuple(name.removeprefix("+") for name in names)

    @property
    def spec(self) -> str:
        """The parts' specs joined by `+`."""
        return "+".join(f"({part.spec})" if isinstance(part, Union) else part.spec for part in self.transforms)

    def __len__(self) -> int:
        return prod(len(transform) for transform in self.transforms)

    def copies(self, images: Shaped[Array, "..."]) -> Shaped[Array, "points copies channels height width"]:
        """All copies of all images, as `Transform` says."""
        check_images(images)
        out = empty_copies(images, len(self))
        first, *others = self.transforms
        rest = others[0] if len(others) == 1 else Compose(*others)
        for part in blocks(len(images), images[:1].nbytes * len(self), CHUNK):
            made = first.copies(images[part])
            for i in range(len(first)):
                out[part, i * len(rest) : (i + 1) * len(rest)] = rest.copies(made[:, i])
        return out


@dataclass(frozen=True, init=False)
class Union:
    """The copies of each transform, side by side: a mixed pool. A union inside a union is laid out flat, which changes nothing."""

    transforms: tuple[Transform, ...]

    def __init__(self, *transforms: Transform) -> None:
        object.__setattr__(self, "transforms", _flat(transforms, Union))
        check_names(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of each transform's copies, one transform after the other."""
        return tuple(name for transform in self.transforms for name in transform.names)

    @property
    def spec(self) -> str:
        """The parts' specs joined by commas."""
        return ",".join(transform.spec for transform in self.transforms)

    def __len__(self) -> int:
        return sum(len(transform) for transform in self.transforms)

    def copies(self, images: Shaped[Array, "..."]) -> Shaped[Array, "points copies channels height width"]:
        """All copies of all images, as `Transform` says."""
        check_images(images)
        out = empty_copies(images, len(self))
        for part in blocks(len(images), images[:1].nbytes * len(self), CHUNK):
            start = 0
            for transform in self.transforms:
                out[part, start : start + len(transform)] = transform.copies(images[part])
                start += len(transform)
        return out


def _flat(transforms: Sequence[Transform], kind: type[Compose] | type[Union]) -> tuple[Transform, ...]:
    """The parts, with the parts of a part of the same kind in its place."""
    if len(transforms) < 2:
        raise InputError(f"{kind.__name__}: {len(transforms)} transforms; expected two or more")
    parts: list[Transform] = []
    for transform in transforms:
        parts.extend(transform.transforms if isinstance(transform, kind) else [transform])
    return tuple(parts)


@dataclass(frozen=True, init=False)
class Custom:
    """Copies that a user's function makes.

    Parameters
    ----------
    function
        Takes images (points, channels, height, width), numpy or torch, as `copies` was given them; gives (points, copies, channels, height,
        width) of the same kind and dtype, floats in [0, 1]. For results that can be repeated it must be deterministic, and treat each
        point by itself.
    names
        One name a copy; None: the function makes one copy, which takes the function's name.
    """

    function: Callable[[Any], Any]
    names: tuple[str, ...]

    def __init__(self, function: Callable[[Any], Any], names: Sequence[str] | None = None) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "names", (self._name(),) if names is None else tuple(names))
        check_names(self.names)

    @property
    def spec(self) -> str:
        """`custom:` and the function's name; a text cannot hold the function, so `parse` refuses it."""
        return f"custom:{self._name()}"

    def _name(self) -> str:
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))

    def __len__(self) -> int:
        return len(self.names)

    def copies(self, images: Shaped[Array, "..."]) -> Shaped[Array, "points copies channels height width"]:
        """What the function gives, checked.

        Raises
        ------
        InputError
            If the images are no images, or the function gives another shape, kind or dtype than it must, a NaN, or a float outside [0, 1].
        """
        check_images(images)
        made = self.function(images)
        expected = (len(images), len(self), *images.shape[1:])
        self._require(isinstance(made, np.ndarray | Tensor) and isinstance(made, type(images)), type(made).__name__, type(images).__name__)
        self._require(tuple(made.shape) == expected, f"the shape {tuple(made.shape)}", f"{expected}; name each copy in names=")
        self._require(made.dtype == images.dtype, f"the dtype {dtype_name(made)}", dtype_name(images))
        if dtype_name(made) != "uint8" and len(images):
            low, high = float(made.min()), float(made.max())
            self._require(0 <= low and high <= 1, f"pixels from {low:g} to {high:g}", "finite floats in [0, 1]; clip them")
        return made

    def _require(self, holds: bool, got: str, expected: str) -> None:  # noqa: FBT001  (reads as an assertion)
        if not holds:
            raise InputError(f"{self.spec}: the function gave {got}; expected {expected}")
