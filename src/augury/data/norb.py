"""Small NORB: little-endian binary matrices of stereo pairs, of which the first camera's image is read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from augury.data.binary import Binary, open_binary
from augury.progress import track

WORD = {"train": "training", "test": "testing"}
CLASSES = ("animal", "human", "airplane", "truck", "car")
BYTES, INTEGERS = 0x1E3D4C55, 0x1E3D4C54  # the format's marks of uint8 and int32 values


def read_norb(folder: Path, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], tuple[str, ...]]:
    """Images (points, 1, height, width), labels (points,) and the five categories' names. The second camera is never held in memory."""
    with open_binary(folder, f"*-{WORD[split]}-dat.mat") as file:
        images = _first_camera(file)
    with open_binary(folder, f"*-{WORD[split]}-cat.mat") as file:
        (points,) = _header(file, INTEGERS, axes=1)
        labels = np.frombuffer(file.read(4 * points), dtype="<i4")
        file.expect_end()
    return images, labels, CLASSES


def _first_camera(file: Binary) -> npt.NDArray[np.uint8]:
    points, cameras, height, width = shape = _header(file, BYTES, axes=4)
    if cameras != 2:
        raise OSError(f"{cameras} images a point, expected stereo pairs")
    if math.prod(shape) > file.most:
        raise OSError(f"its length is not what its header says, {' x '.join(map(str, shape))}")
    images = np.empty((points, 1, height, width), dtype=np.uint8)
    for image in track(images, "Reading small NORB"):
        pair = np.frombuffer(file.read(cameras * height * width), dtype=np.uint8)
        image[:] = pair.reshape(cameras, height, width)[:1]
    file.expect_end()
    return images


def _header(file: Binary, kind: int, axes: int) -> list[int]:
    magic, found = (int(value) for value in np.frombuffer(file.read(8), dtype="<i4"))
    if (magic, found) != (kind, axes):
        raise OSError(f"it begins with {magic:#x} and {found} axes, expected {kind:#x} and {axes}")
    lengths = np.frombuffer(file.read(4 * max(3, axes)), dtype="<i4")  # never fewer than three are written
    if lengths.min() < 1:
        raise OSError(f"its header gives the lengths {lengths.tolist()}")
    return [int(length) for length in lengths[:axes]]
