"""Small NORB: little-endian binary matrices of stereo pairs, of which the first camera's image is read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from augury.data.binary import expect_end, open_binary, read_exactly
from augury.progress import track

WORD = {"train": "training", "test": "testing"}
CLASSES = ("animal", "human", "airplane", "truck", "car")
BYTES, INTEGERS = 0x1E3D4C55, 0x1E3D4C54  # the format's marks of uint8 and int32 values


def read_norb(folder: Path, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], tuple[str, ...]]:
    """Images (points, 1, height, width), labels (points,) and the five categories' names. The second camera is never held in memory."""
    with open_binary(folder, f"*-{WORD[split]}-dat.mat") as stream:
        images = _first_camera(stream)
    with open_binary(folder, f"*-{WORD[split]}-cat.mat") as stream:
        (points,) = _header(stream, INTEGERS, axes=1)
        labels = np.frombuffer(read_exactly(stream, 4 * points), dtype="<i4")
        expect_end(stream)
    return images, labels, CLASSES


def _first_camera(stream: io.BufferedIOBase) -> npt.NDArray[np.uint8]:
    points, cameras, height, width = _header(stream, BYTES, axes=4)
    end = stream.tell() + points * cameras * height * width
    if cameras != 2:
        raise OSError(f"{cameras} images a point, expected stereo pairs")
    images = np.empty((points, 1, height, width), dtype=np.uint8)
    for image in track(images, "Reading small NORB"):
        stream.readinto(image.data)
        stream.seek(height * width, io.SEEK_CUR)
    if stream.seek(0, io.SEEK_END) != end:  # also where a read above came back short
        raise OSError("its length is not what its header says")
    return images


def _header(stream: io.BufferedIOBase, kind: int, axes: int) -> list[int]:
    magic, found = (int(value) for value in np.frombuffer(read_exactly(stream, 8), dtype="<i4"))
    if (magic, found) != (kind, axes):
        raise OSError(f"it begins with {magic:#x} and {found} axes, expected {kind:#x} and {axes}")
    lengths = np.frombuffer(read_exactly(stream, 4 * max(3, axes)), dtype="<i4")  # never fewer than three are written
    if lengths.min() < 1:
        raise OSError(f"its header gives the lengths {lengths.tolist()}")
    return [int(length) for length in lengths[:axes]]
