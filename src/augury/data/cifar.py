"""CIFAR-10's python batches, read by an unpickler that can build arrays and nothing else."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from augury.errors import InputError

FILES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
SIDE = 32


def read_cifar10(folder: Path, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]:
    """Images (points, 3, 32, 32), labels (points,) and the ten classes' names."""
    batches = [_read_batch(folder / name) for name in FILES[split]]
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return images, labels, _read_classes(folder / "batches.meta")


def _read_batch(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    record = _unpickle(path)
    pixels, labels = record.get("data"), record.get("labels")
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.shape[1] == 3 * SIDE**2):
        raise InputError(f"{path}: expected `data`, bytes in the shape (points, {3 * SIDE**2}); fetch the data set again")
    if not (isinstance(labels, list) and len(labels) == len(pixels) and all(isinstance(label, int) for label in labels)):
        raise InputError(f"{path}: expected `labels`, a list of {len(pixels)} whole numbers; fetch the data set again")
    return pixels.reshape(-1, 3, SIDE, SIDE), np.array(labels, dtype=np.int64)


def _read_classes(path: Path) -> tuple[str, ...]:
    names = _unpickle(path).get("label_names")
    if not (isinstance(names, list) and all(isinstance(name, str | bytes) for name in names)):
        raise InputError(f"{path}: expected `label_names`, a list of names; fetch the data set again")
    return tuple(_text(name) for name in names)


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            record = _ArrayUnpickler(stream, path).load()
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; fetch the data set again") from None
    except Exception as error:  # noqa: BLE001  (a damaged pickle can raise nearly any kind)
        raise InputError(f"{path}: damaged ({error}); fetch the data set again") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: expected a dictionary, got {type(record).__name__}; fetch the data set again")
    return {_text(key): value for key, value in record.items()}


def _text(name: object) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How Python 2's pickles, and Python 3's in their format, write bytes; any other codec is refused."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin-1")


_REBUILD = np.empty(0).__reduce__()[0]  # the function that numpy itself pickles arrays with

# The names that batches ask for, mapped to objects here, so that nothing is imported on a file's word, numpy's old module paths included.
_PERMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _REBUILD,
    ("numpy._core.multiarray", "_reconstruct"): _REBUILD,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode_latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds what a batch consists of (containers, numbers, strings and arrays of numbers); every other global is an `InputError`."""

    def __init__(self, stream: io.BufferedReader, path: Path) -> None:
        super().__init__(stream, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _PERMITTED:
            raise InputError(
                f"{self._path}: asks for {module}.{name}, which no CIFAR-10 batch needs and which could run code; delete this file"
            )
        return _PERMITTED[module, name]
