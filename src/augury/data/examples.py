"""`Examples`: labelled images, checked once, and the ways to take a part of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int64, Shaped, UInt8
from sklearn.model_selection import train_test_split

from augury.errors import InputError
from augury.files import write_atomic

Images = UInt8[np.ndarray, "points channels height width"] | Float32[np.ndarray, "points channels height width"]

# Pixels looked at in one go: large enough to be fast, small enough (16 MB of float32) to need no memory worth a thought.
CHUNK = 2**22


@dataclass(frozen=True)
class Examples:
    """Labelled images: what every run starts from.

    Parameters
    ----------
    images
        (points, channels, height, width); uint8, or float32 in [0, 1]; one channel (grey) or three (RGB).
    labels
        (points,) integers; `labels[i]` is an index into `classes`.
    classes
        The classes' names.
    origin
        (points,) strings that say where each point came from, unique: a path, or the data set's name and the index in it.

    Raises
    ------
    InputError
        If there is no point, the images have another shape or type, a pixel is NaN, infinite or outside [0, 1], a label has no class, or
        the lengths differ. `augury.data.from_arrays` converts other shapes, types and labels.
    """

    images: Images
    labels: Int64[np.ndarray, " points"]
    classes: tuple[str, ...]
    origin: Shaped[np.ndarray, " points"]

    def __post_init__(self) -> None:
        _check_images(self.images)
        _check_labels(self.labels, self.classes, len(self.images))
        if len(self.origin) != len(self.images):
            raise InputError(f"origin: {len(self.origin)} entries for {len(self.images)} images; give one for each image")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def select(self, indices: npt.ArrayLike) -> Examples:
        """The points at `indices` (integers, or a mask of booleans), in that order; the classes stay."""
        chosen = np.asarray(indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)  # an empty list has no integer type, and the answer to it is "the set is empty"
        return Examples(self.images[chosen], self.labels[chosen], self.classes, self.origin[chosen])

    def first(self, count: int) -> Examples:
        """The first `count` points (all, if there are fewer), in the data set's order."""
        return self.select(np.arange(min(count, len(self))))

    def only(self, classes: Sequence[str]) -> Examples:
        """The points of the named classes alone, in the data set's order; labels count the classes in the order given here."""
        unknown = [name for name in classes if name not in self.classes]
        if unknown:
            raise InputError(f"classes: no class is called {unknown[0]!r}; there are {', '.join(self.classes)}")
        if len(set(classes)) < max(2, len(classes)):
            raise InputError(f"classes: expected two or more different names, got {', '.join(classes)}")
        relabel = np.full(len(self.classes), -1)
        relabel[[self.classes.index(name) for name in classes]] = np.arange(len(classes))
        labels = relabel[self.labels]
        kept = labels >= 0
        return Examples(self.images[kept], labels[kept].astype(np.int64), tuple(classes), self.origin[kept])

    def split(self, size: float | int, seed: int) -> tuple[Examples, Examples]:  # noqa: PYI041  (checked at run time, where 1 is no float)
        """Two parts, the second of `size` (a share in (0, 1), or a number of points), stratified by class.

        Each class has in each part its share of that part's points, to within one point. The parts keep the data set's order; the same
        seed gives the same parts.

        Raises
        ------
        InputError
            If a class has a single point, or `size` leaves either part with fewer points than there are classes.
        """
        counts = np.bincount(self.labels, minlength=len(self.classes))
        rare = [self.classes[label] for label in np.flatnonzero(counts == 1)]
        if rare:
            raise InputError(f"split: class {rare[0]!r} has a single point, and a split needs two; add a point or leave the class out")
        try:
            kept, taken = train_test_split(np.arange(len(self)), test_size=size, random_state=seed, stratify=self.labels)
        except ValueError as error:
            raise InputError(f"split: cannot take {size} of {len(self)} points of {np.count_nonzero(counts)} classes: {error}") from None
        return self.select(np.sort(kept)), self.select(np.sort(taken))

    def to_float(self) -> Float32[np.ndarray, "points channels height width"]:
        """The images as float32 in [0, 1]."""
        if self.images.dtype == np.uint8:
            return self.images.astype(np.float32) / np.float32(255)
        return self.images

    def save(self, path: str | Path) -> Path:
        """Write an `.npz` (`images`, `labels`, `classes`, `origin`), atomically; `augury.load(path)` reads it."""
        return write_atomic(
            path,
            lambda stream: np.savez_compressed(
                stream, images=self.images, labels=self.labels, classes=np.array(self.classes), origin=self.origin.astype(str)
            ),
        )


def _check_images(images: npt.NDArray[np.generic]) -> None:
    if images.ndim != 4:
        raise InputError(f"images: shape {images.shape}; expected (points, channels, height, width)")
    if images.size == 0:
        raise InputError(f"images: the set is empty (shape {images.shape}); expected at least one image of at least one pixel")
    if images.shape[1] not in (1, 3):
        raise InputError(
            f"images: {images.shape[1]} channels; expected 1 (grey) or 3 (RGB), in the shape (points, channels, height, width)"
        )
    if images.dtype not in (np.uint8, np.float32):
        raise InputError(f"images: type {images.dtype}; expected uint8, or float32 in [0, 1]")
    if images.dtype == np.float32:
        _check_pixels(images)


def _check_pixels(images: npt.NDArray[Any]) -> None:
    step = max(1, CHUNK // images[0].size)
    for begin in range(0, len(images), step):
        chunk = images[begin : begin + step]
        if not (chunk.min() >= 0 and chunk.max() <= 1):  # written so that NaN, which compares false, is caught too
            _blame_image(chunk, begin)


def _blame_image(chunk: npt.NDArray[Any], begin: int) -> NoReturn:
    flat = chunk.reshape(len(chunk), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    i = int(np.flatnonzero(~((low >= 0) & (high <= 1)))[0])
    if not np.isfinite(flat[i]).all():
        raise InputError(f"images: image {begin + i} has a NaN or infinite pixel; mend or leave out this image")
    raise InputError(
        f"images: image {begin + i} has pixels from {low[i]:g} to {high[i]:g}; expected floats in [0, 1] (divide by 255?) or uint8"
    )


def _check_labels(labels: npt.NDArray[np.int64], classes: tuple[str, ...], points: int) -> None:
    if len(labels) != points:
        raise InputError(f"labels: {len(labels)} labels for {points} images; give one label for each image")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(
            f"labels: values from {labels.min()} to {labels.max()} for {len(classes)} classes; expected 0 to {len(classes) - 1}"
        )
