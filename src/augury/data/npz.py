"""`.npz` files: `images`, `labels`, and optionally `classes` and `origin`."""

from __future__ import annotations

import math
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from augury.data.arrays import from_arrays
from augury.data.bombs import most_unpacked
from augury.data.examples import Examples
from augury.errors import InputError
from augury.files import first_line

REQUIRED = ("images", "labels")
NAMES = (*REQUIRED, "classes", "origin")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


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


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """Those of the named arrays that the archive holds; whatever may be wrong with one raises an exception of nearly any kind."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        return {name: _array(archive, members[name], path.stat().st_size) for name in names if name in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> npt.NDArray[Any]:
    """One member, once it is sure that it holds as many bytes as its header announces, and that these are not too many to be honest."""
    if member.compress_type not in METHODS:
        raise ValueError(f"{member.filename} is packed in another way than numpy does it")
    if member.file_size > most_unpacked(min(size, member.compress_size)):
        raise ValueError(f"{member.filename} unpacks to {member.file_size} bytes; if that is meant, write it with numpy.savez, unpacked")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read_header(stream)
        if kind.hasobject:
            raise ValueError(f"{member.filename} holds Python objects, which only a pickle can, and a pickle can run code")
        if stream.tell() + math.prod(shape) * kind.itemsize != member.file_size:
            raise ValueError(f"{member.filename} announces the shape {shape} and does not hold it")
    with archive.open(member) as stream:
        found: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    if kind.kind == "U" and found.size and found.reshape(-1).view(f"{kind.str[0]}u4").max() > sys.maxunicode:
        raise ValueError(f"{member.filename} holds letters that there are not")
    return found


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not an .npz archive; write one with numpy.savez(path, images=..., labels=...)")
    try:
        arrays = read_arrays(path, NAMES)
    except Exception as error:  # noqa: BLE001  (a damaged archive makes numpy and zipfile raise nearly any kind)
        reason = first_line(error)
        raise InputError(f"{path}: cannot be read ({reason}); expected plain arrays of numbers or strings: write the file anew") from None
    missing = [name for name in REQUIRED if name not in arrays]
    if missing:
        with zipfile.ZipFile(path) as archive:
            found = ", ".join(name.removesuffix(".npy") for name in archive.namelist()) or "nothing"
        raise InputError(f"{path}: no array called {missing[0]!r}, only {found}; expected images and labels (and classes, if you like)")
    for name in arrays.keys() - set(REQUIRED):
        if arrays[name].ndim != 1 or arrays[name].dtype.kind not in "USiu":
            raise InputError(f"{path}: {name} is {arrays[name].dtype} of shape {arrays[name].shape}; expected a list of names")
    return arrays
