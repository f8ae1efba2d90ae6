"""A selection made real: the originals, the chosen points' copies, and the weight of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float32, Float64, Int64
from PIL import Image

from augury.data.examples import Examples
from augury.errors import InputError
from augury.files import write_atomic, write_table
from augury.progress import track
from augury.transforms import as_transform

DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}


class TrainingSet(NamedTuple):
    """What a head is fitted to: float64 features, labels, weights."""

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


@runtime_checkable
class MakesCopies(Protocol):
    """What turns images into copies: a transform of `augury.transforms`, a learned augmentation, or anything with these two members."""

    @property
    def names(self) -> tuple[str, ...]:
        """One name a copy."""

    def copies(self, images: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """(points, channels, height, width) -> (points, copies, channels, height, width)."""


@dataclass(frozen=True)
class CopiedFeatures:
    """Points and all their copies as features: what curves are measured on, whatever the data were.

    Parameters
    ----------
    features
        (points, features) of the originals.
    copies
        (points, copies, features) of every copy of every point.
    labels
        (points,); a copy has its point's label.
    """

    features: Float32[np.ndarray, "points features"] | Float64[np.ndarray, "points features"]
    copies: Float32[np.ndarray, "points copies features"] | Float64[np.ndarray, "points copies features"]
    labels: Int64[np.ndarray, " points"]

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.copies) == len(self.labels):
            raise InputError(
                f"copies: {len(self.features)} points, copies of {len(self.copies)} and {len(self.labels)} labels; expected as many of each"
            )
        if self.features.shape[1:] != self.copies.shape[2:]:
            raise InputError(f"copies: shape {self.copies.shape}; expected (points, copies, {self.features.shape[1]}), as the originals'")

    def __len__(self) -> int:
        return len(self.labels)

    def augmented(self, chosen: npt.ArrayLike, *, downweight: bool = False) -> TrainingSet:
        """Training set with every original, and then all copies of the `chosen` points: their indices, each once, or a mask of booleans.

        With `downweight` a chosen point and each of its k copies weigh 1 / (k + 1), so that no point counts for more than another
        (paper 2, section 4.2); without it everything weighs 1.
        """
        chosen = _indices(chosen, len(self))
        k, width = self.copies.shape[1:]
        X = np.empty((len(self) + k * len(chosen), width))
        X[: len(self)], X[len(self) :] = self.features, self.copies[chosen].reshape(-1, width)
        y = np.concatenate([self.labels, np.repeat(self.labels[chosen], k)])
        weights = np.ones(len(y))
        if downweight:
            weights[chosen] = weights[len(self) :] = 1 / (k + 1)
        return TrainingSet(X, y, weights)


def augment(examples: Examples, chosen: npt.ArrayLike, transform: object) -> Examples:
    """The copies alone of the `chosen` points, point by point in the given order: images, labels, and `origin` as "<point>#<copy's name>".

    `transform`: Augury's, or another library's random augmentation as `augury.transforms.as_transform` takes it (4 draws an image).
    Cost: the transform's, for the chosen points only.
    """
    points = examples.select(_indices(chosen, len(examples)))
    copies = transform if isinstance(transform, MakesCopies) else as_transform(transform)
    images = copies.copies(points.images)
    k = images.shape[1]
    origin = np.array([f"{point}#{name}" for point in points.origin for name in copies.names])
    return Examples(images.reshape(len(points) * k, *examples.shape), np.repeat(points.labels, k), examples.classes, origin)


def _indices(chosen: npt.ArrayLike, points: int) -> npt.NDArray[np.int64]:
    """The chosen points' indices, from indices or a mask, once it is sure that each is a point and none is there twice."""
    given = np.asarray(chosen)
    found = np.flatnonzero(given) if given.dtype == np.bool_ and given.shape == (points,) else given
    if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
        raise InputError(f"chosen: shape {given.shape}, type {given.dtype}; expected indices of points, or a mask with one boolean a point")
    if found.size and not 0 <= found.min() <= found.max() < points:
        raise InputError(f"chosen: indices from {found.min()} to {found.max()}; expected 0 to {points - 1}")
    if len(np.unique(found)) < len(found):
        raise InputError("chosen: a point is there twice; expected each at most once")
    return found.astype(np.int64)


def write_images(examples: Examples, folder: str | Path, listing: str | Path) -> Path:
    """Write each image as a PNG file below a folder of its class, and then, as Parquet, the list of what was written.

    The list has a row an image: `file` (relative to `folder`), `label`, and `origin`. It is written last, so that where it exists, all
    files do. Names of classes and points are reduced to letters, digits and `._+-`, and cannot lead out of the folder.

    Raises
    ------
    InputError
        If the folder holds other PNG files, of an earlier selection perhaps: whoever reads the folder could not tell them apart.
    """
    names = _folder_names(examples.classes)
    files = [f"{names[label]}/{i:06d}-{_plain(_short(origin))}.png" for i, (label, origin) in enumerate(_rows(examples))]
    _check_no_others(Path(folder), files)
    for file, image in zip(track(files, "writing images"), examples.images, strict=True):
        write_atomic(Path(folder) / file, partial(_write_png, image))
    frame = pd.DataFrame({"file": files, "label": np.array(examples.classes)[examples.labels], "origin": examples.origin.astype(str)})
    return write_table(listing, frame, {"kind": "copies", "classes": list(examples.classes)})


def _check_no_others(folder: Path, files: list[str]) -> None:
    others = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} - set(files)
    if others:
        raise InputError(f"{folder}: holds other images, such as {min(others)}; give a new or empty folder")


def to_picture(image: npt.NDArray[np.generic]) -> Image.Image:
    """A (channels, height, width) image as Pillow's, 8 bits a channel."""
    pixels = image if image.dtype == np.uint8 else np.rint(image.astype(np.float64) * 255).astype(np.uint8)
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, 2))


def _write_png(image: npt.NDArray[np.generic], stream: IO[bytes]) -> None:
    to_picture(image).save(stream, format="PNG")


def _rows(examples: Examples) -> list[tuple[int, str]]:
    return list(zip(examples.labels.tolist(), examples.origin.astype(str).tolist(), strict=True))


def _folder_names(classes: tuple[str, ...]) -> list[str]:
    """A safe folder name for each class; all begin with the class's number if two would be the same but for upper and lower case."""
    plain = [_plain(name) for name in classes]
    different = len({name.casefold() for name in plain}) == len(plain)
    return plain if different else [f"{label}-{name}" for label, name in enumerate(plain)]


def _short(origin: str) -> str:
    """A point's own name without folders and file ending, and the name of the copy: "cats/tom.jpg#flip" becomes "tom-flip"."""
    point, _, copy = origin.partition("#")
    return "-".join(filter(None, (Path(point).stem, copy)))


def _plain(text: str) -> str:
    """Letters, digits and `._+-` alone, not at the ends; a name that some systems keep for a device gets a `_`."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", text)[:100].strip("._-") or "_"
    return f"_{name}" if name.split(".")[0].upper() in DEVICES else name
