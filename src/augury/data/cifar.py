"""CIFAR-10's python batches, which are pickles: read by `augury.data.batches`, which can build arrays of bytes and little else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from augury.data.batches import unpickled
from augury.errors import InputError
from augury.files import first_line

FILES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
SIDE = 32
HIGHEST = 2**31  # no label is above; a pickle may hold whole numbers of any length


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
    if not (isinstance(labels, list) and len(labels) == len(pixels) and all(map(_is_label, labels))):
        raise InputError(f"{path}: expected `labels`, a list of {len(pixels)} whole numbers; fetch the data set again")
    return pixels.reshape(-1, 3, SIDE, SIDE), np.array(labels, dtype=np.int64)


def _is_label(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= HIGHEST


def _read_classes(path: Path) -> tuple[str, ...]:
    names = _unpickle(path).get("label_names")
    if not (isinstance(names, list) and all(isinstance(name, str | bytes) for name in names)):
        raise InputError(f"{path}: expected `label_names`, a list of names; fetch the data set again")
    return tuple(_text(name) for name in names)


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        record = unpickled(path.read_bytes())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; fetch the data set again") from None
    except KeyError:
        raise InputError(f"{path}: damaged (an instruction that no batch needs); fetch the data set again") from None
    except Exception as error:  # noqa: BLE001  (a damaged pickle can raise nearly any kind)
        raise InputError(f"{path}: damaged ({first_line(error)}); fetch the data set again") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: expected a dictionary, got {type(record).__name__}; fetch the data set again")
    return {_text(key): value for key, value in record.items()}


def _text(name: object) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)
