"""`.npz` files: `images`, `labels`, and optionally `classes` and `origin`."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from augury.data.arrays import from_arrays
from augury.data.examples import Examples
from augury.errors import InputError

REQUIRED = ("images", "labels")
NAMES = (*REQUIRED, "classes", "origin")


@dataclass(frozen=True)
class NpzFile:
    """One `.npz` file: a source without splits. Arrays that only a pickle can hold are refused, so that reading runs no code."""

    path: Path

    @property
    def splits(self) -> tuple[str, ...]:
        """("train",): a file is one set."""
        return ("train",)

    def read(self, split: str) -> Examples:
        """All of it."""
        arrays = _read(self.path)
        points = len(arrays["images"]) if arrays["images"].ndim else 0
        origin = arrays.get("origin", [f"{self.path.stem}/{split}/{i}" for i in range(points)])
        classes = arrays["classes"].astype(str).tolist() if "classes" in arrays else None
        return from_arrays(arrays["images"], arrays["labels"], classes, [str(name) for name in origin])


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not an .npz archive; write one with numpy.savez(path, images=..., labels=...)")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in REQUIRED if name not in archive]
            found = ", ".join(archive.files)
            arrays = {name: archive[name] for name in NAMES if name in archive}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected plain arrays of numbers or strings: write the file anew") from None
    if missing:
        raise InputError(f"{path}: no array called {missing[0]!r}, only {found}; expected images and labels (and classes, if you like)")
    return arrays
