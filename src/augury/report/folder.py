"""What a run folder holds, read and checked: everything the page shows."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from augury.errors import InputError
from augury.evaluation import Curve
from augury.files import read_json
from augury.scores import Scores
from augury.selection import Ordering

CURE = "run the step again that made it"


@dataclass(frozen=True)
class Gallery:
    """The pictures of a run: points with the highest and the lowest scores, and selected points with their copies.

    `highest`, `lowest` and `chosen` are indices of training points.
    """

    highest: Int64[np.ndarray, " highest"]
    highest_images: UInt8[np.ndarray, "highest channels height width"]
    lowest: Int64[np.ndarray, " lowest"]
    lowest_images: UInt8[np.ndarray, "lowest channels height width"]
    chosen: Int64[np.ndarray, " chosen"]
    chosen_images: UInt8[np.ndarray, "chosen channels height width"]
    chosen_copies: UInt8[np.ndarray, "chosen copies channels height width"]
    copy_names: Shaped[np.ndarray, " copies"]

    @classmethod
    def load(cls, path: Path) -> Gallery:
        """Read an `.npz` with these arrays and no pickles; anything else is an `InputError` that names the file."""
        found = read_arrays(path, cls.__annotations__)
        _check_arrays(found, path)
        indices = {name: found[name].astype(np.int64) for name in ("highest", "lowest", "chosen")}
        return cls(**{**found, **indices, "copy_names": found["copy_names"].astype(str)})


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file, without pickles."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {CURE}") from None
    except (OSError, ValueError, LookupError, TypeError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable gallery ({error}); {CURE}") from None


def _check_arrays(found: Mapping[str, np.ndarray], path: Path) -> None:
    for name in ("highest", "lowest", "chosen"):
        check_pictures(found, name, f"{name}_images", path)
    copies, names, images = found["chosen_copies"], found["copy_names"], found["chosen_images"]
    if copies.dtype != np.uint8 or names.ndim != 1 or copies.shape != (len(images), len(names), *images.shape[1:]):
        raise InputError(f"{path}: chosen_copies is {describe(copies)}; expected {len(names)} uint8 copies of each chosen image; {CURE}")


def check_pictures(found: Mapping[str, np.ndarray], name: str, pictures: str, path: Path) -> None:
    """Refuse indices (`name`) that are none, or `pictures` that are not one image for each."""
    images = found[pictures]
    if not np.issubdtype(found[name].dtype, np.integer) or found[name].ndim != 1:
        raise InputError(f"{path}: {name} is {describe(found[name])}; expected integer indices; {CURE}")
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(found[name]) or images.shape[1] not in (1, 3):
        raise InputError(f"{path}: {pictures} is {describe(images)}; expected {len(found[name])} grey or RGB uint8 images; {CURE}")


def describe(array: np.ndarray) -> str:
    """An array's type and shape in words."""
    return f"{array.dtype} of shape {array.shape}"


@dataclass(frozen=True)
class RunFolder:
    """The results of one run, as its files hold them."""

    config: dict[str, Any]
    versions: dict[str, Any]
    scores: Scores
    ordering: Ordering
    curve: Curve
    gallery: Gallery

    @classmethod
    def load(cls, folder: Path) -> RunFolder:
        """Read every file; a missing, damaged or contradictory one is an `InputError` that names it."""
        run = cls(
            read_json(folder / "config.json"),
            read_json(folder / "versions.json"),
            Scores.load(folder / "scores.parquet"),
            Ordering.load(folder / "selection.parquet"),
            Curve.load(folder / "curve.parquet"),
            Gallery.load(folder / "gallery.npz"),
        )
        run._check(folder)
        return run

    def _check(self, folder: Path) -> None:
        points = len(self.ordering)
        for name, found in (("scores.parquet", len(self.scores)), ("curve.parquet", self.curve.points)):
            if found != points:
                raise InputError(f"{folder / name}: {found} points, but selection.parquet has {points}; expected files of one run")
        shown = np.concatenate([self.gallery.highest, self.gallery.lowest, self.gallery.chosen])
        if shown.size and not (shown.min() >= 0 and shown.max() < points):
            raise InputError(f"{folder / 'gallery.npz'}: shows a point outside 0 to {points - 1}; expected files of one run")
