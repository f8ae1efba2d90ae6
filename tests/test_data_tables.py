"""Parquet files and saved Hugging Face data sets, in every way that they hold images and labels."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from augury.data import available_splits, load
from augury.errors import InputError

Array = npt.NDArray[Any]

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
TRUTH = PIXELS.transpose(0, 3, 1, 2)
LABELS = [8, 3, 3, 8]


@pytest.fixture(autouse=True)
def _offline_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing may go to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    datasets.disable_progress_bars()


def encoded(pixels: Sequence[Array] | Array = PIXELS, kind: str = "png") -> list[bytes]:
    files = [io.BytesIO() for _ in pixels]
    for file, values in zip(files, pixels, strict=True):
        Image.fromarray(values).save(file, kind)
    return [file.getvalue() for file in files]


def write(path: Path, images: Sequence[object], labels: object = LABELS, names: Sequence[str] = ("image", "label")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = dict(zip(names, (images, labels), strict=True))
    pq.write_table(pa.table({"id": list(range(len(images))), **columns}), path, row_group_size=3)
    return path


def structs() -> list[dict[str, object]]:
    return [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(encoded())]


@pytest.mark.parametrize(
    ("images", "truth"),
    [
        (encoded(), TRUTH),
        (structs(), TRUTH),
        (PIXELS.tolist(), TRUTH),
        (TRUTH.tolist(), TRUTH),
        (PIXELS[..., 0].tolist(), TRUTH[:, :1]),
        ((PIXELS[..., 0] / 255).tolist(), (TRUTH[:, :1] / 255).astype(np.float32)),
        (pa.array(encoded(kind="bmp"), pa.large_binary()), TRUTH),
    ],
    ids=["bytes", "struct", "lists nhwc", "lists nchw", "lists nhw", "lists of floats", "bmp"],
)
@pytest.mark.parametrize("names", [("image", "label"), ("img", "labels")])
def test_a_parquet_file_is_read_however_it_holds_its_images(tmp_path: Path, images: object, truth: Array, names: Sequence[str]) -> None:
    path = write(tmp_path / "birds.parquet", images, names=names)
    examples = load(path)
    assert available_splits(path) == ("train",)
    assert_array_equal(examples.images, truth)
    assert examples.images.dtype == truth.dtype
    assert_array_equal(examples.labels, [1, 0, 0, 1])
    assert examples.classes == ("3", "8")
    assert list(examples.origin) == [f"birds/train/{i}" for i in range(4)]


def test_images_named_by_path_are_read_beside_the_file(tmp_path: Path) -> None:
    for i, content in enumerate(encoded()):
        (tmp_path / f"{i}.png").write_bytes(content)
    write(tmp_path / "set.parquet", [{"path": f"{i}.png"} for i in range(4)])
    assert_array_equal(load(tmp_path / "set.parquet").images, TRUTH)


@pytest.mark.parametrize("labels", [["owl", "auk", "auk", "owl"], pa.array(["owl", "auk", "auk", "owl"]).dictionary_encode()])
def test_labels_may_be_strings(tmp_path: Path, labels: object) -> None:
    examples = load(write(tmp_path / "set.parquet", encoded(), labels))
    assert examples.classes == ("auk", "owl")
    assert_array_equal(examples.labels, [1, 0, 0, 1])


@pytest.mark.parametrize("pattern", ["data/{}-00000-of-00001.parquet", "{}.parquet", "{}/0000.parquet"])
def test_a_folder_of_parquet_files_has_the_splits_that_their_paths_name(tmp_path: Path, pattern: str) -> None:
    write(tmp_path / pattern.format("train"), encoded(), [3, 3, 8, 8])
    write(tmp_path / pattern.format("test"), encoded(PIXELS[:3]), [8, 11, 11])
    assert available_splits(tmp_path) == ("train", "test")
    train, test = load(tmp_path), load(tmp_path, split="test")
    assert train.classes == test.classes == ("3", "8", "11")
    assert_array_equal(train.labels, [0, 0, 1, 1])
    assert_array_equal(test.labels, [1, 2, 2])
    assert_array_equal(test.images, TRUTH[:3])


def test_parquet_files_without_splits_are_one_set_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path / "part-1.parquet", encoded(PIXELS[2:]), [3, 8])
    write(tmp_path / "part-0.parquet", encoded(PIXELS[:2]), [8, 3])
    examples = load(tmp_path)
    assert_array_equal(examples.images, TRUTH)
    assert_array_equal(examples.labels, [1, 0, 0, 1])
    write(tmp_path / "test.parquet", encoded(), LABELS)
    with pytest.raises(InputError, match=r"part-0\.parquet: names no split"):
        load(tmp_path)


def test_encoded_images_of_several_sizes_are_resized_as_files_are(tmp_path: Path) -> None:
    images = encoded([np.full((20, 30, 3), 7, np.uint8), np.full((40, 24, 3), 9, np.uint8)])
    path = write(tmp_path / "set.parquet", images, [0, 1])
    assert load(path).shape == (3, 22, 22)
    assert_array_equal(load(path, size=9).images, np.stack([np.full((3, 9, 9), 7), np.full((3, 9, 9), 9)]))


FEATURES = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["owl", "auk", "bat"]))


def hugging_face(labels: Sequence[object] = (1, 0, 0, 1), features: datasets.Features = FEATURES) -> datasets.Dataset:
    images = [Image.fromarray(values) for values in PIXELS] if isinstance(features["image"], datasets.Image) else PIXELS
    return datasets.Dataset.from_dict({"image": images, "label": list(labels)}, features=features)


def test_a_saved_data_set_is_read_with_its_class_names(tmp_path: Path) -> None:
    hugging_face().save_to_disk(tmp_path / "birds")
    examples = load(tmp_path / "birds")
    assert available_splits(tmp_path / "birds") == ("train",)
    assert_array_equal(examples.images, TRUTH)
    assert_array_equal(examples.labels, [1, 0, 0, 1])
    assert examples.classes == ("owl", "auk", "bat")
    assert list(examples.origin)[-1] == "birds/train/3"


def test_a_selection_saved_on_disk_keeps_its_own_order(tmp_path: Path) -> None:
    hugging_face().select([3, 2]).save_to_disk(tmp_path / "set")
    assert_array_equal(load(tmp_path / "set").images, TRUTH[[3, 2]])


def test_a_saved_dictionary_has_its_keys_as_splits(tmp_path: Path) -> None:
    parts = {"test": hugging_face([2, 2, 1, 1]), "train": hugging_face(), "valid": hugging_face(), "extra": hugging_face([-1] * 4)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    assert available_splits(tmp_path / "set") == ("train", "validation", "test", "extra")
    test = load(tmp_path / "set", split="test")
    assert_array_equal(test.labels, [2, 2, 1, 1])
    assert test.classes == ("owl", "auk", "bat")
    with pytest.raises(InputError, match=r"\(extra\): labels are missing: 4 rows hold -1"):
        load(tmp_path / "set", split="extra")


def test_parquet_that_hugging_face_wrote_keeps_the_class_names(tmp_path: Path) -> None:
    for name in ("train", "test"):
        hugging_face().to_parquet(tmp_path / f"{name}-0.parquet")
        hugging_face().to_parquet(tmp_path / f"{name}-1.parquet")
    examples = load(tmp_path)
    assert examples.classes == ("owl", "auk", "bat")
    assert_array_equal(examples.images, np.concatenate([TRUTH, TRUTH]))


@pytest.mark.parametrize("saved", [True, False])
def test_arrays_of_hugging_face_are_read(tmp_path: Path, *, saved: bool) -> None:
    features = datasets.Features(image=datasets.Array3D((5, 6, 3), "uint8"), label=datasets.Value("string"))
    made = hugging_face(["owl", "auk", "auk", "owl"], features)
    if saved:
        made.save_to_disk(tmp_path / "set")
    else:
        made.to_parquet(tmp_path / "set.parquet")
    examples = load(tmp_path / ("set" if saved else "set.parquet"))
    assert_array_equal(examples.images, TRUTH)
    assert examples.classes == ("auk", "owl")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": encoded()}, "no column of labels; expected one called label or labels, found image"),
        ({"picture": encoded(), "label": LABELS}, "no column of images; expected one called image or img, found picture, label"),
        ({"image": encoded(), "label": [8, None, 3, None]}, "labels are missing in 2 rows"),
        ({"image": encoded(), "label": [0.5, 1.0, 0.5, 1.0]}, "type float64"),
        ({"image": encoded(), "label": [1] * 4}, "single class '1'"),
        ({"image": [*encoded()[:3], None], "label": LABELS}, "1 rows have no image"),
        ({"image": [*encoded()[:3], b"junk"], "label": LABELS}, "(train), row 3: not a readable image"),
        ({"image": [{"bytes": b"", "path": "7.png"}] * 4, "label": LABELS}, "row 0 (7.png): not a readable image"),
        ({"image": [{"bytes": None, "path": "gone.png"}] * 4, "label": LABELS}, "row 0: gone.png: not a readable image"),
        ({"image": [{"bytes": None, "path": None}] * 4, "label": LABELS}, "neither the image's bytes nor its path"),
        ({"image": ["a", "b", "c", "d"], "label": LABELS}, "images of type string"),
        ({"image": [[[1, 2]], [[3]], [[4]], [[5]]], "label": LABELS}, "nested lists of different lengths"),
        ({"image": [[[1, 2]], [[3, None]], [[4, 5]], [[5, 6]]], "label": LABELS}, "1 pixels are missing"),
        ({"image": [[[1, 300]]] * 4, "label": LABELS}, "pixels from 1 to 300"),
        ({"image": [[[0.5, float("nan")]]] * 4, "label": LABELS}, "image 0 has a NaN"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "the set is empty"),
    ],
)
def test_a_bad_parquet_file_is_refused(tmp_path: Path, columns: dict[str, object], reason: str) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match=re.escape(reason)):
        load(path)


def test_files_that_are_damaged_or_differ_are_refused_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "0.parquet", encoded())
    write(tmp_path / "1.parquet", PIXELS.tolist())
    with pytest.raises(InputError, match="the Parquet files differ in their columns"):
        load(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"0\.parquet: not a readable Parquet file"):
        load(path)
    hugging_face().save_to_disk(tmp_path / "saved")
    for file in (tmp_path / "saved").glob("*.arrow"):
        file.write_bytes(b"junk")
    with pytest.raises(InputError, match="saved: not a readable Hugging Face data set"):
        load(tmp_path / "saved")
