"""Named data sets: `digits`, embedded, and those that lie in a data folder in their publishers' formats."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from augury.data.arrays import from_arrays
from augury.data.cifar import read_cifar10
from augury.data.examples import Examples
from augury.data.mnist import read_mnist
from augury.data.norb import read_norb
from augury.errors import InputError

ENVIRONMENT = "AUGURY_DATA"
DIGITS_TRAIN = 1000

Read = Callable[[Path, str], tuple[npt.NDArray[Any], npt.NDArray[Any], tuple[str, ...]]]


@dataclass(frozen=True)
class Publication:
    """Where a set's files lie below the data folder, the file to know them by, where they come from, and how they are read."""

    folders: tuple[str, ...]
    sign: str
    address: str
    read: Read


PUBLISHED = {
    "mnist": Publication(
        ("MNIST/raw", "mnist", ""),
        "train-images-idx3-ubyte*",
        "https://ossci-datasets.s3.amazonaws.com/mnist/ (four .gz files)",
        read_mnist,
    ),
    "cifar10": Publication(
        ("cifar-10-batches-py", ""), "data_batch_1", "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz (unpacked)", read_cifar10
    ),
    "norb": Publication(
        ("norb", ""), "*-training-dat.mat*", "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/ (four -dat and -cat files)", read_norb
    ),
}
NAMED = ("digits", *PUBLISHED)


@dataclass(frozen=True)
class NamedSet:
    """One of `NAMED`, from `data_dir` or, where that is None, from the folder that the environment variable `AUGURY_DATA` names."""

    name: str
    data_dir: str | Path | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """("train", "test"): no publisher gave a validation set."""
        return "train", "test"

    def read(self, split: str) -> Examples:
        """One split, in its publisher's order."""
        if self.name == "digits":
            images, labels, classes = _read_digits(split)
        else:
            published = PUBLISHED[self.name]
            images, labels, classes = published.read(self._locate(published), split)
        return from_arrays(images, labels, classes, [f"{self.name}/{split}/{i}" for i in range(len(images))])

    def _locate(self, published: Publication) -> Path:
        root = self.data_dir or os.environ.get(ENVIRONMENT)
        cure = f"put {published.address} into {published.folders[0]} below it"
        if not root:
            raise InputError(f"data_dir: not given, and {ENVIRONMENT} is not set; {self.name} needs a data folder: name one, and {cure}")
        folders = [Path(root).expanduser() / folder for folder in published.folders]
        for folder in folders:
            if any(folder.glob(published.sign)):
                return folder
        looked = ", ".join(str(folder) for folder in folders)
        raise InputError(f"data_dir: no {self.name} (a file {published.sign}) in {looked}; {cure}")


def _read_digits(split: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], tuple[str, ...]]:
    """scikit-learn's digits, whose 17 grey values from 0 to 16 become floats in [0, 1]."""
    digits = load_digits()
    part = slice(DIGITS_TRAIN) if split == "train" else slice(DIGITS_TRAIN, None)
    return (digits.images[part] / 16).astype(np.float32), digits.target[part].astype(np.int64), tuple("0123456789")
