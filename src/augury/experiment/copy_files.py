"""Chosen copies as files: these copies alone, each with the weight with which a head is to be fitted to it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Int64

from augury.augmentation import write_images
from augury.copies import CopyOrdering
from augury.data import Examples
from augury.files import read_table, write_atomic, write_table
from augury.transforms import Transform

BLOCK = 4096  # about how many copies are made at once


def copy_images(examples: Examples, candidates: Int64[np.ndarray, " chosen"], transform: Transform) -> npt.NDArray[Any]:
    """(chosen, channels, height, width): the pixels of some copies, candidate i k + j being copy j of point i, in the given order."""
    k = len(transform)
    point, copy = np.divmod(candidates, k)
    images = np.empty((len(candidates), *examples.shape), examples.images.dtype)
    points, step = np.unique(point), max(1, BLOCK // k)
    for start in range(0, len(points), step):
        block = points[start : start + step]
        rows = np.flatnonzero(np.isin(point, block))
        images[rows] = transform.copies(examples.images[block])[np.searchsorted(block, point[rows]), copy[rows]]
    return images


def chosen_copies(examples: Examples, ordering: CopyOrdering, transform: Transform) -> Examples:
    """The chosen copies, the first chosen first: images, labels, and `origin` as "<point>#<copy's name>"."""
    chosen = ordering.selected
    point, copy = np.divmod(chosen, len(transform))
    names = [f"{origin}#{transform.names[j]}" for origin, j in zip(examples.origin[point], copy, strict=True)]
    return Examples(copy_images(examples, chosen, transform), examples.labels[point], examples.classes, np.array(names))


def write_copies(copies: Examples, weight: float, folder: Path, listing: Path) -> Path:
    """Write PNG files and then their list with the column `weight`, as `augury.augmentation.write_images` does without."""
    with tempfile.TemporaryDirectory(prefix="augury-") as aside:
        frame, record = read_table(write_images(copies, folder, Path(aside) / "copies.parquet"), "copies", ("file",))
    return write_table(listing, frame.assign(weight=weight), record)


def save_copies(copies: Examples, weight: float, path: Path) -> Path:
    """Write an `.npz` as `Examples.save` does, with one more array: `weights`."""
    arrays: dict[str, Any] = {"images": copies.images, "labels": copies.labels, "classes": np.array(copies.classes)}
    arrays |= {"origin": copies.origin.astype(str), "weights": np.full(len(copies), weight)}
    return write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))
