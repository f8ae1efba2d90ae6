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
PLACE = " --out DIR"  # how a recorded command ends
ITSELF = -1  # stands where a copy's number would, for the point that it is a copy of


@dataclass(frozen=True)
class Gallery:
    """The images that a run's page shows, reduced where they are large: training points, and copies of them.

    Parameters
    ----------
    points
        (images,) the training point that is shown, or that the shown copy is of.
    copies
        (images,) which of the point's copies; `ITSELF` for the point itself.
    images
        (images, channels, height, width) their pixels.
    copy_names
        (copies,) the name of each of a point's copies.
    """

    points: Int64[np.ndarray, " images"]
    copies: Int64[np.ndarray, " images"]
    images: UInt8[np.ndarray, "images channels height width"]
    copy_names: Shaped[np.ndarray, " copies"]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def candidates(self) -> Int64[np.ndarray, " images"]:
        """Each image's number among all copies, copy j of point i being i k + j; `ITSELF` for a point."""
        return np.where(self.copies == ITSELF, ITSELF, self.points * len(self.copy_names) + self.copies)

    @classmethod
    def load(cls, path: Path) -> Gallery:
        """Read an `.npz` with these arrays and no pickles; anything else is an `InputError` that names the file."""
        found = read_arrays(path, cls.__annotations__)
        _check_arrays(found, path)
        indices = {name: found[name].astype(np.int64) for name in ("points", "copies")}
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
    """Refuse indices that are none, and images that are not one for each."""
    images, names, copies = found["images"], found["copy_names"], found["copies"]
    for name in ("points", "copies"):
        if not np.issubdtype(found[name].dtype, np.integer) or found[name].ndim != 1 or len(found[name]) != len(found["points"]):
            raise InputError(f"{path}: {name} is {describe(found[name])}; expected an integer index for each image; {CURE}")
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(copies) or images.shape[1] not in (1, 3):
        raise InputError(f"{path}: images is {describe(images)}; expected {len(copies)} grey or RGB uint8 images; {CURE}")
    if names.ndim != 1 or not len(names):
        raise InputError(f"{path}: copy_names is {describe(names)}; expected the name of each copy of a point; {CURE}")
    if copies.size and not ITSELF <= copies.min() <= copies.max() < len(names):
        raise InputError(f"{path}: shows copy {copies.max()} of a point, and names {len(names)}; {CURE}")


def describe(array: np.ndarray) -> str:
    """An array's type and shape in words."""
    return f"{array.dtype} of shape {array.shape}"


def with_unit(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a run of points, its command telling so: those written while points were the default leave it out."""
    command = record.get("command")
    if not isinstance(command, str) or not command.endswith(PLACE) or "--unit points" in command:
        return record
    return record | {"command": f"{command.removesuffix(PLACE)} --unit points{PLACE}"}


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
            with_unit(read_json(folder / "config.json")),
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
        check_shown(self.gallery, points, folder)


def check_shown(gallery: Gallery, points: int, folder: Path) -> None:
    """Refuse a gallery that shows a point that there is not."""
    shown = gallery.points
    if shown.size and not 0 <= shown.min() <= shown.max() < points:
        raise InputError(f"{folder / 'gallery.npz'}: shows a point outside 0 to {points - 1}; expected files of one run")
