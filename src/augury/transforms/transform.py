"""What every transform is, and the arrays it takes and gives."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from augury.errors import InputError

Array = TypeVar("Array", np.ndarray, Tensor)


@runtime_checkable
class Transform(Protocol):
    """An exhaustive, deterministic set of copies: each image in, the same fixed number of changed copies out.

    An image's copies have the same bits whatever else is in the batch. Images are numpy arrays or torch tensors, of uint8 or floats; copies
    are of the same kind, dtype and device.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """One readable name a copy, such as `rotate(-30)`; no two are the same."""

    @property
    def spec(self) -> str:
        """The text that `parse` turns back into an equal transform."""

    def __len__(self) -> int:
        """Number of copies of one image."""

    def copies(self, images: Shaped[Array, "points channels height width"]) -> Shaped[Array, "points copies channels height width"]:
        """All copies of all images, in the order of `names`."""


class WrittenTransform(ABC):
    """A transform that writes its copies into memory made for them; subclasses say how."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """One readable name a copy; no two are the same."""

    @property
    @abstractmethod
    def spec(self) -> str:
        """The text that `parse` turns back into an equal transform."""

    @abstractmethod
    def check(self, height: int, width: int) -> None:
        """Raise an `InputError` if images of this size are too small for the transform."""

    @abstractmethod
    def write(
        self, images: Shaped[Array, "points channels height width"], out: Shaped[Array, "points copies channels height width"]
    ) -> None:
        """Write all copies of images that have been checked into `out`."""

    def __len__(self) -> int:
        return len(self.names)

    def copies(self, images: Shaped[Array, ...]) -> Shaped[Array, "points copies channels height width"]:
        """All copies of all images.

        Parameters
        ----------
        images
            (points, channels, height, width), numpy or torch, uint8, float32 or float64.

        Returns
        -------
        (points, copies, channels, height, width), of the same kind, dtype and device, in the order of `names`; uint8 copies are rounded to
        the nearest grey level.

        Raises
        ------
        InputError
            If `images` is anything else, or too small for the transform.
        """
        check_images(images)
        self.check(*images.shape[2:])
        out = empty_copies(images, len(self))
        self.write(images, out)
        return out


def write_copies(
    transform: Transform, images: Shaped[Array, "points channels height width"], out: Shaped[Array, "points copies channels height width"]
) -> None:
    """Write any transform's copies into `out`, straight where it can."""
    if isinstance(transform, WrittenTransform):
        transform.write(images, out)
    else:
        out[:] = transform.copies(images)


def check_images(images: object) -> None:
    """Raise an `InputError` unless `images` is a (points, channels, height, width) array of uint8, float32 or float64."""
    if not isinstance(images, (np.ndarray, Tensor)):
        raise InputError(f"images: got {type(images).__name__}; expected a numpy array or a torch tensor")
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(f"images: shape {tuple(images.shape)}; expected (points, channels, height, width); give one image as image[None]")
    if dtype_name(images) not in ("uint8", "float32", "float64"):
        raise InputError(f"images: dtype {dtype_name(images)}; expected uint8, float32 or float64; convert the images first")


def check_names(names: Sequence[str]) -> None:
    """Raise an `InputError` if there is no copy, or two copies have the same name, for then no one could tell them apart."""
    if not names:
        raise InputError("copies: none is made; expected at least one")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"copies: two are called {twice[0]!r}; leave one of them out")


def check_pixels(transform: str, pixels: object) -> None:
    """Raise an `InputError` unless `pixels` is a whole number of at least 1."""
    if not isinstance(pixels, int | np.integer) or pixels < 1:
        raise InputError(f"{transform}: {pixels} pixels; expected a whole number, at least 1")


def possible(most: int) -> str:
    """What to say about sizes in an error: `1 to 3`, or that none will do."""
    return f"1 to {most}" if most > 0 else "larger images"


def empty_copies(images: Array, copies: int) -> Array:
    """Room for `copies` copies of each image, on the same device."""
    shape = (len(images), copies, *images.shape[1:])
    if isinstance(images, np.ndarray):
        return np.empty(shape, images.dtype)
    if images.device.type != "cpu":
        return torch.empty(shape, dtype=images.dtype, device=images.device)
    # numpy asks the system for huge pages and torch does not: without them a large result costs more in page faults than in arithmetic.
    return torch.from_numpy(np.empty(shape, dtype_name(images)))


def blocks(images: np.ndarray | Tensor, budget: int, copies: int = 1) -> Iterator[slice]:
    """Slices that cover all points: each as many as `budget` bytes hold with `copies` images a point, and at least one."""
    step = max(1, budget // (images.itemsize * math.prod(images.shape[1:]) * copies))
    for start in range(0, len(images), step):
        yield slice(start, start + step)


def as_tensor(images: np.ndarray | Tensor) -> Tensor:
    """A tensor in the array's own memory; an array that torch cannot share, read-only or reversed, is copied."""
    if isinstance(images, Tensor):
        return images
    shared = images.flags.writeable and min(images.strides) >= 0
    return torch.from_numpy(images if shared else images.copy())


def dtype_name(images: np.ndarray | Tensor) -> str:
    """`float32` for numpy's and for torch's."""
    return str(images.dtype).removeprefix("torch.")
