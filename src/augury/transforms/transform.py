"""What every transform is, and the arrays it takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class FixedTransform(ABC):
    """A transform whose copies depend on the image's size alone, and which writes them into memory made for them."""

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
    def _write(
        self, images: Shaped[Tensor, "points channels height width"], out: Shaped[Tensor, "points copies channels height width"]
    ) -> None:
        """Fill `out`."""

    def __len__(self) -> int:
        return len(self.names)

    def copies(self, images: Shaped[Array, "..."]) -> Shaped[Array, "points copies channels height width"]:
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
        self._write(_as_tensor(images), _as_tensor(out))
        return out


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
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise InputError(f"copies: two are called {twice[0]!r}; leave one of them out")


def empty_copies(images: Array, copies: int) -> Array:
    """Room for `copies` copies of each image, on the same device."""
    shape = (len(images), copies, *images.shape[1:])
    if isinstance(images, np.ndarray):
        return np.empty(shape, images.dtype)
    if images.device.type != "cpu":
        return torch.empty(shape, dtype=images.dtype, device=images.device)
    # numpy asks the system for huge pages and torch does not: without them a large result costs more in page faults than in arithmetic.
    return torch.from_numpy(np.empty(shape, dtype_name(images)))


def blocks(points: int, size: int, budget: int) -> Iterator[slice]:
    """Slices that cover `points` points: each as many points of `size` bytes as `budget` bytes hold, and at least one."""
    step = max(1, budget // size)
    for start in range(0, points, step):
        yield slice(start, start + step)


def _as_tensor(images: np.ndarray | Tensor) -> Tensor:
    """A tensor in the array's own memory; a read-only array is copied, because torch refuses it."""
    if isinstance(images, Tensor):
        return images
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))


def dtype_name(images: np.ndarray | Tensor) -> str:
    """`float32` for numpy's and for torch's."""
    return str(images.dtype).removeprefix("torch.")
