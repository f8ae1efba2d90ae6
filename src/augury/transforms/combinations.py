"""Transforms made of others: copies of copies, copies side by side, and a user's own copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from augury.errors import InputError
from augury.transforms.transform import (
    Array,
    Transform,
    WrittenTransform,
    blocks,
    check_images,
    check_names,
    dtype_name,
    empty_copies,
    write_copies,
)

CHUNK = 2**22  # bytes of intermediate copies made at a time


@dataclass(frozen=True, init=False)
class Combination(WrittenTransform):
    """Two or more transforms put together; one of the same kind among them is laid out flat, which changes nothing."""

    transforms: tuple[Transform, ...]

    def __init__(self, *transforms: Transform) -> None:
        if len(transforms) < 2:
            raise InputError(f"{type(self).__name__}: {len(transforms)} transforms; expected two or more")
        parts: list[Transform] = []
        for transform in transforms:
            parts.extend(transform.transforms if isinstance(transform, type(self)) else [transform])
        object.__setattr__(self, "transforms", tuple(parts))
        check_names(self.names)

    def check(self, height: int, width: int) -> None:
        """Raise an `InputError` if images of this size are too small for one of the transforms."""
        for transform in self.transforms:
            if isinstance(transform, WrittenTransform):
                transform.check(height, width)


@dataclass(frozen=True, init=False)
class Compose(Combination):
    """Copies of copies: every copy of the first transform goes through the second, and so on; as many as the product of the counts.

    The last transform's copies change fastest. uint8 images are rounded after each transform, as if each had been applied by itself.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """`rotate(-30)+flip`: in the order in which they are applied."""
        return tuple("+".join(names) for names in product(*(transform.names for transform in self.transforms)))

    @property
    def spec(self) -> str:
        """The parts' specs joined by `+`."""
        return "+".join(f"({part.spec})" if isinstance(part, Union) else part.spec for part in self.transforms)

    def write(
        self, images: Shaped[Array, "points channels height width"], out: Shaped[Array, "points copies channels height width"]
    ) -> None:
        """Write the rest's copies of each of the first transform's copies."""
        first, *others = self.transforms
        rest = others[0] if len(others) == 1 else Compose(*others)
        k = len(rest)
        for part in blocks(images, CHUNK, len(first)):
            made = empty_copies(images[part], len(first))
            write_copies(first, images[part], made)
            for i in range(len(first)):
                write_copies(rest, made[:, i], out[part, i * k : (i + 1) * k])


@dataclass(frozen=True, init=False)
class Union(Combination):
    """The copies of each transform, side by side: a mixed pool."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of each transform's copies, one transform after the other."""
        return tuple(name for transform in self.transforms for name in transform.names)

    @property
    def spec(self) -> str:
        """The parts' specs joined by commas."""
        return ",".join(transform.spec for transform in self.transforms)

    def write(
        self, images: Shaped[Array, "points channels height width"], out: Shaped[Array, "points copies channels height width"]
    ) -> None:
        """Write one transform's copies after the other's."""
        start = 0
        for transform in self.transforms:
            write_copies(transform, images, out[:, start : start + len(transform)])
            start += len(transform)


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

    def copies(self, images: Shaped[Array, ...]) -> Shaped[Array, "points copies channels height width"]:
        """What the function gives, checked.

        Raises
        ------
        InputError
            If the images are no images, or the function gives another shape, kind or dtype than it must, a NaN, or a float outside [0, 1].
        """
        check_images(images)
        made: Array = self.function(images)
        expected = (len(images), len(self), *images.shape[1:])
        kind = Tensor if isinstance(images, Tensor) else np.ndarray
        self._require(isinstance(made, kind), type(made).__name__, kind.__name__)
        self._require(tuple(made.shape) == expected, f"the shape {tuple(made.shape)}", f"{expected}; name each copy in names=")
        self._require(made.dtype == images.dtype, f"the dtype {dtype_name(made)}", dtype_name(images))
        if dtype_name(made) != "uint8" and len(images):
            low, high = float(made.min()), float(made.max())
            self._require(low >= 0 and high <= 1, f"pixels from {low:g} to {high:g}", "finite floats in [0, 1]; clip them")
        return made

    def _require(self, holds: bool, got: str, expected: str) -> None:  # noqa: FBT001  (reads as an assertion)
        if not holds:
            raise InputError(f"{self.spec}: the function gave {got}; expected {expected}")
