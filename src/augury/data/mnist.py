"""MNIST, and what comes in its format (IDX): big-endian header, then unsigned bytes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from augury.data.binary import open_binary

PREFIX = {"train": "train", "test": "t10k"}
UNSIGNED_BYTE = 0x08  # IDX's code of the values' type


def read_mnist(folder: Path, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], tuple[str, ...]]:
    """Images (points, height, width), labels (points,) and the ten digits' names."""
    images = _read_idx(folder, f"{PREFIX[split]}-images-idx3-ubyte", axes=3)
    labels = _read_idx(folder, f"{PREFIX[split]}-labels-idx1-ubyte", axes=1)
    return images, labels, tuple("0123456789")


def _read_idx(folder: Path, name: str, axes: int) -> npt.NDArray[np.uint8]:
    with open_binary(folder, name) as file:
        magic = file.read(4)
        if magic != bytes([0, 0, UNSIGNED_BYTE, axes]):
            raise OSError(f"it begins with {magic.hex()}, which is not the IDX format's mark of {axes} axes of bytes")
        shape = [int(length) for length in np.frombuffer(file.read(4 * axes), dtype=">u4")]
        values = file.read(math.prod(shape))
        file.expect_end()
        return np.frombuffer(values, dtype=np.uint8).reshape(shape)
