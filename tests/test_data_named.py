"""Named sets: the real files where they lie, and MNIST's and small NORB's formats written here."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits

from augury.data import available_splits, load
from augury.data.named import NAMED
from augury.errors import InputError

Array = npt.NDArray[Any]

FOLDERS = {"mnist": "MNIST/raw", "cifar10": "cifar-10-batches-py", "norb": "norb"}


def real(name: str) -> Path:
    """The folder of the real set's files, or a skip."""
    root = os.environ.get("AUGURY_DATA")
    if not root:
        pytest.skip("AUGURY_DATA is not set: it names the folder with the published data sets")
    folder = Path(root) / FOLDERS[name]
    if not folder.is_dir():
        pytest.skip(f"AUGURY_DATA has no {FOLDERS[name]}")
    return folder


@pytest.mark.parametrize("name", NAMED)
def test_named_sets_have_a_test_set_and_no_validation_set(name: str) -> None:
    assert available_splits(name) == ("train", "test")


def test_digits_are_scikit_learns_the_first_1000_to_train_on() -> None:
    digits = load_digits()
    train, test = load("digits"), load("digits", split="test")
    assert_array_equal(np.concatenate([train.images, test.images])[:, 0] * 16, digits.images)
    assert_array_equal(np.concatenate([train.labels, test.labels]), digits.target)
    assert (len(train), len(test), train.classes, train.images.max()) == (1000, 797, tuple("0123456789"), 1)
    assert (train.origin[17], test.origin[0]) == ("digits/train/17", "digits/test/0")


def test_mnist_is_the_published_one() -> None:
    folder = real("mnist")
    train, test = load("mnist"), load("mnist", split="test")
    assert_array_equal(train.labels[:10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    assert_array_equal(np.bincount(train.labels), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
    assert_array_equal(np.bincount(test.labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    raw = np.fromfile(folder / "t10k-images-idx3-ubyte", np.uint8, offset=16)
    assert_array_equal(test.images, raw.reshape(10000, 1, 28, 28))
    assert round(float(train.images.mean()) / 255, 4) == 0.1307  # the mean that every MNIST tutorial subtracts
    assert train.origin[17] == "mnist/train/17"


def test_mnist_3_against_8_is_the_papers_problem() -> None:
    real("mnist")
    test = load("mnist", split="test").only(["3", "8"])
    assert_array_equal(np.bincount(test.labels), [1010, 974])
    train = load("mnist").only(["3", "8"]).first(1000)
    assert len(train) == 1000
    assert train.origin[0] == "mnist/train/7"  # the eighth training image is the first 3 or 8


def trusted_batch(path: Path) -> dict[str, Any]:
    with warnings.catch_warnings(), path.open("rb") as stream:
        warnings.simplefilter("ignore", DeprecationWarning)  # the files name numpy's modules by their old paths
        return pickle.load(stream, encoding="latin1")


def test_cifar10_is_the_published_one() -> None:
    folder = real("cifar10")
    train, test = load("cifar10"), load("cifar10", split="test")
    assert (train.images.shape, test.images.shape) == ((50000, 3, 32, 32), (10000, 3, 32, 32))
    assert_array_equal(np.bincount(train.labels), [5000] * 10)
    assert train.classes == ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    for examples, begin, name in [(train, 20000, "data_batch_3"), (test, 0, "test_batch")]:
        batch = trusted_batch(folder / name)
        assert_array_equal(examples.images[begin : begin + 10000].reshape(10000, -1), batch["data"])
        assert_array_equal(examples.labels[begin : begin + 10000], batch["labels"])
    np.testing.assert_allclose(train.images.mean(axis=(0, 2, 3)) / 255, [0.4914, 0.4822, 0.4465], atol=1e-4)


def test_cifar10_airplane_against_automobile_takes_the_first_of_both() -> None:
    folder = real("cifar10")
    train = load("cifar10").only(["airplane", "automobile"]).first(1000)
    first = np.array(trusted_batch(folder / "data_batch_1")["labels"])
    rows = np.flatnonzero(first < 2)[:1000]
    assert_array_equal(train.origin, [f"cifar10/train/{row}" for row in rows])
    assert_array_equal(train.labels, first[rows])
    assert len(load("cifar10", split="test").only(["airplane", "automobile"])) == 2000


@pytest.mark.parametrize(("split", "word"), [("train", "training"), ("test", "testing")])
def test_norb_is_the_first_camera_of_each_pair(split: str, word: str) -> None:
    folder = real("norb")
    examples = load("norb", split=split)
    (pixels,), (categories,) = folder.glob(f"*-{word}-dat.mat"), folder.glob(f"*-{word}-cat.mat")
    pairs = np.memmap(pixels, np.uint8, "r", offset=24, shape=(24300, 2, 96, 96))
    assert examples.images.shape == (24300, 1, 96, 96)
    for i in (0, 1, 12345, 24299):
        assert_array_equal(examples.images[i, 0], pairs[i, 0])
    assert_array_equal(examples.labels, np.fromfile(categories, "<i4", offset=20))
    assert_array_equal(np.bincount(examples.labels), [4860] * 5)
    assert examples.classes == ("animal", "human", "airplane", "truck", "car")


# Files written here, in the published formats


def write(path: Path, content: bytes, *, zipped: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.with_name(path.name + ".gz") if zipped else path
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


def idx(values: Array) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_mnist(folder: Path, *, zipped: bool = False, images: bytes | None = None) -> Path:
    images = images or idx(np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4))
    write(folder / "train-images-idx3-ubyte", images, zipped=zipped)
    return write(folder / "train-labels-idx1-ubyte", idx(np.array([7, 2], np.uint8)), zipped=zipped)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["MNIST/raw", "mnist", "."])
def test_mnist_files_are_found_in_each_place_gzipped_or_not(tmp_path: Path, below: str, *, zipped: bool) -> None:
    write_mnist(tmp_path / below, zipped=zipped)
    examples = load("mnist", data_dir=tmp_path)
    assert_array_equal(examples.images.ravel(), np.arange(24))
    assert (examples.shape, list(examples.labels)) == ((1, 3, 4), [7, 2])


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (idx(np.zeros((2, 3, 4), np.uint8))[:-1], "ends 1 bytes early"),
        (idx(np.zeros((2, 3, 4), np.uint8)) + b"\0", "longer than its header"),
        (b"\0\0\x0d\x03" + bytes(40), "begins with 00000d03"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "damaged"),
        (b"\0", "damaged"),
    ],
    ids=["short", "long", "floats", "huge", "stump"],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_mnist_files_are_refused_and_named(tmp_path: Path, images: object, reason: str, *, zipped: bool) -> None:
    write_mnist(tmp_path, images=images, zipped=zipped)
    with pytest.raises(InputError, match=f"train-images-idx3-ubyte.*{reason}"):
        load("mnist", data_dir=tmp_path)


def test_a_cut_gzip_file_is_refused_and_named(tmp_path: Path) -> None:
    path = write_mnist(tmp_path, zipped=True)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte\.gz: damaged"):
        load("mnist", data_dir=tmp_path)


def write_norb(folder: Path, pairs: Array, categories: Array, *, zipped: bool = False, mark: int = 0x1E3D4C55) -> None:
    write(folder / "small-training-dat.mat", struct.pack("<6i", mark, 4, *pairs.shape) + pairs.tobytes(), zipped=zipped)
    write(folder / "small-training-cat.mat", struct.pack("<5i", 0x1E3D4C54, 1, len(categories), 1, 1) + categories.tobytes(), zipped=zipped)


PAIRS = np.arange(3 * 2 * 4 * 5, dtype=np.uint8).reshape(3, 2, 4, 5)
CATEGORIES = np.array([4, 0, 2], "<i4")


@pytest.mark.parametrize("zipped", [False, True])
def test_norb_files_are_read_gzipped_or_not(tmp_path: Path, *, zipped: bool) -> None:
    write_norb(tmp_path / "norb", PAIRS, CATEGORIES, zipped=zipped)
    examples = load("norb", data_dir=tmp_path)
    assert_array_equal(examples.images, PAIRS[:, :1])
    assert_array_equal(examples.labels, [4, 0, 2])


@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_norb_files_are_refused(tmp_path: Path, *, zipped: bool) -> None:
    for pairs, mark, reason in [(PAIRS, 0x1E3D4C51, "0x1e3d4c51"), (PAIRS[:, [0, 1, 1]], 0x1E3D4C55, "3 images a point")]:
        write_norb(tmp_path, pairs, CATEGORIES, zipped=zipped, mark=mark)
        with pytest.raises(InputError, match=f"training-dat.mat.*damaged.*{reason}"):
            load("norb", data_dir=tmp_path)
    for change, reason in (
        (lambda whole: whole[:-1], "ends 1 bytes early"),
        (lambda whole: whole[:-30], "ends 30 bytes early|its length"),
        (lambda whole: whole + b"\0", "longer than its header says"),
        (lambda whole: whole[:8] + b"\xff\xff\xff\x7f" + whole[12:], "its length is not what its header says"),
    ):
        write_norb(tmp_path, PAIRS, CATEGORIES)
        whole = change((tmp_path / "small-training-dat.mat").read_bytes())
        (tmp_path / "small-training-dat.mat").unlink()
        write(tmp_path / "small-training-dat.mat", whole, zipped=zipped)
        with pytest.raises(InputError, match=reason):
            load("norb", data_dir=tmp_path)
        for file in tmp_path.iterdir():
            file.unlink()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_missing_set_says_where_it_was_sought_and_where_to_get_it(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=rf"no {name} .*{FOLDERS[name]}.*put https://") as caught:
        load(name, data_dir=tmp_path)
    assert str(tmp_path) in str(caught.value)
    monkeypatch.setenv("AUGURY_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="elsewhere"):
        load(name)
    monkeypatch.delenv("AUGURY_DATA")
    with pytest.raises(InputError, match="AUGURY_DATA is not set"):
        load(name)


def test_named_sets_refuse_a_split_that_they_lack() -> None:
    with pytest.raises(InputError, match="digits has no split 'val'; it has train, test"):
        load("digits", split="val")
