"""Arrays, `.npz` files, parts of a set, and what is refused."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from augury.data import Examples, available_splits, from_arrays, load
from augury.data.examples import CHUNK, _check_images
from augury.errors import InputError

Array = npt.NDArray[Any]

GREY = np.random.default_rng(0).integers(0, 256, (6, 1, 5, 4), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 3, 5, 4), dtype=np.uint8)
LABELS = [0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("as_given", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("images", "truth"),
    [(GREY[:, 0], GREY), (GREY, GREY), (GREY.transpose(0, 2, 3, 1), GREY), (COLOUR, COLOUR), (COLOUR.transpose(0, 2, 3, 1), COLOUR)],
    ids=["nhw", "nchw grey", "nhwc grey", "nchw", "nhwc"],
)
def test_every_layout_becomes_points_channels_height_width(images: object, truth: Array, as_given: Callable[[Array], object]) -> None:
    examples = from_arrays(as_given(images.copy()), as_given(np.array(LABELS)))
    assert_array_equal(examples.images, truth)
    assert_array_equal(examples.labels, LABELS)
    assert examples.shape == truth.shape[1:]
    assert examples.images.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, torch.bfloat16, torch.float64])
def test_floats_become_float32_with_the_same_values(dtype: type | torch.dtype) -> None:
    values = np.arange(6 * 8, dtype=np.float32).reshape(6, 2, 4) / 64  # exact in every one of these types
    given_ = torch.as_tensor(values).to(dtype) if isinstance(dtype, torch.dtype) else values.astype(dtype)
    examples = from_arrays(given_, LABELS)
    assert examples.images.dtype == np.float32
    assert_array_equal(examples.images[:, 0], values)


def test_a_tensor_that_needs_gradients_is_read_and_stays_as_it_was() -> None:
    images = torch.rand(6, 1, 2, 2, requires_grad=True)
    assert_array_equal(from_arrays(images, LABELS).images, images.detach().numpy())
    assert images.requires_grad


def test_arrays_that_cannot_be_written_to_are_copied() -> None:
    frozen = GREY.copy()
    frozen.flags.writeable = False
    assert from_arrays(frozen, LABELS).images.flags.writeable


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [
        ([8, 3, 3, 8, 8, 3], ("3", "8"), [1, 0, 0, 1, 1, 0]),
        ([10, 9, 9, 2, 2, 10], ("2", "9", "10"), [2, 1, 1, 0, 0, 2]),
        (["dog", "cat", "cat", "dog", "ant", "ant"], ("ant", "cat", "dog"), [2, 1, 1, 2, 0, 0]),
        ([b"b", b"a", b"a", b"b", b"b", b"b"], ("a", "b"), [1, 0, 0, 1, 1, 1]),
        (np.array(["b", "a", "a", "b", "b", "b"], dtype=object), ("a", "b"), [1, 0, 0, 1, 1, 1]),
        (np.array([1, 0, 0, 1, 1, 1], dtype=np.uint8), ("0", "1"), [1, 0, 0, 1, 1, 1]),
    ],
    ids=["numbers", "numbers sort as numbers", "strings", "bytes", "objects", "uint8"],
)
def test_distinct_labels_sorted_are_the_classes(labels: object, classes: Sequence[str], indices: list[int]) -> None:
    examples = from_arrays(GREY, labels)
    assert examples.classes == classes
    assert examples.labels.dtype == np.int64
    assert_array_equal(examples.labels, indices)


@pytest.mark.parametrize("labels", [[2, 0, 0, 2, 2, 0], ["c", "a", "a", "c", "c", "a"]])
def test_given_classes_keep_their_order_and_may_be_without_points(labels: object) -> None:
    examples = from_arrays(GREY, labels, classes=["a", "b", "c"])
    assert examples.classes == ("a", "b", "c")
    assert_array_equal(examples.labels, [2, 0, 0, 2, 2, 0])


def test_a_saved_set_is_read_back_the_same(tmp_path: Path) -> None:
    examples = from_arrays(COLOUR, LABELS, classes=["a", "b", "unused"], origin=[f"here/{i}" for i in range(6)])
    again = load(examples.save(tmp_path / "set.npz"))
    for name in ("images", "labels", "origin"):
        assert_array_equal(getattr(again, name), getattr(examples, name))
    assert again.classes == examples.classes


def test_an_npz_of_other_hands_is_read(tmp_path: Path) -> None:
    path = tmp_path / "birds.npz"
    np.savez(path, images=COLOUR.transpose(0, 2, 3, 1) / 255, labels=np.array(["owl", "auk"] * 3))
    examples = load(str(path))
    assert available_splits(path) == ("train",)
    assert examples.classes == ("auk", "owl")
    assert_array_equal(examples.images, (COLOUR / 255).astype(np.float32))
    assert list(examples.origin[:2]) == ["birds/train/0", "birds/train/1"]


@pytest.mark.parametrize("floats", [False, True], ids=["uint8", "float32"])
def test_size_resizes_the_shorter_side_and_keeps_the_centre(tmp_path: Path, *, floats: bool) -> None:
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (4, 3, 20, 30), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images / 255 if floats else images, labels=[0, 1, 0, 1])
    found = load(tmp_path / "set.npz", size=8).to_float()
    truth = torch.nn.functional.interpolate(torch.as_tensor(images / 255), size=(8, 12), mode="bilinear", antialias=True)[..., 2:10]
    np.testing.assert_allclose(found, truth, atol=1e-6 if floats else 1.01 / 255)


def refused(images: object = GREY, labels: object = LABELS, **others: Any) -> str:  # noqa: ANN401  (whatever from_arrays takes)
    with pytest.raises(InputError) as caught:
        from_arrays(images, labels, **others)
    return str(caught.value)


def test_bad_arrays_are_refused_with_the_reason() -> None:
    assert "the set is empty" in refused(GREY[:0], [])
    assert "empty (shape (6, 1, 0, 4))" in refused(GREY[:, :, :0])
    assert "5 labels for 6 images" in refused(labels=LABELS[:5])
    assert "single class 'cat'" in refused(labels=["cat"] * 6)
    assert "single class 'b'" in refused(labels=[1] * 6, classes=["a", "b"])
    assert "type int64" in refused(GREY.astype(np.int64))
    assert "type bool" in refused(GREY > 3)
    assert "neither 1 channel (grey) nor 3" in refused(np.repeat(GREY, 4, axis=1))
    assert "shape (6, 20)" in refused(GREY.reshape(6, 20))
    assert "different shapes" in refused([np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8)], [0, 1])


def test_bad_labels_are_refused_with_the_reason() -> None:
    assert "type float64" in refused(labels=np.array(LABELS) + 0.5)
    assert "none missing" in refused(labels=["a", "b", None, "a", "b", "a"])
    assert "take the argmax" in refused(labels=np.eye(6, dtype=int))
    assert "values from 0 to 7 for 2 classes" in refused(labels=[0, 1, 7, 0, 1, 0], classes=["a", "b"])
    assert "'c' is none of the classes a, b" in refused(labels=list("abcaba"), classes=["a", "b"])
    assert "stands twice" in refused(classes=["a", "a"])
    assert "same origin" in refused(origin=["x"] * 6)
    assert "5 entries for 6 images" in refused(origin=list("abcde"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (-np.inf, "NaN or infinite"), (1e300, "NaN or infinite"), (-0.1, "-0.1 to"),
     (255.0, "to 255; expected floats in [0, 1]")],
)  # fmt: skip
@pytest.mark.parametrize("bad", [0, 17, 49])
def test_a_bad_pixel_is_reported_with_its_image(value: float, reason: str, bad: int) -> None:
    images = np.full((50, 300, 400), 0.5)  # several chunks
    images[bad, 299, 399] = value
    assert images.size > CHUNK
    message = refused(images, [0, 1] * 25)
    assert f"image {bad} " in message
    assert reason in message


def test_the_extremes_0_and_1_are_good_pixels() -> None:
    images = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])
    assert_array_equal(from_arrays(images, [0, 1]).images[:, 0], images)


def test_examples_check_shape_and_type_themselves() -> None:
    with pytest.raises(InputError, match="type float64"):
        _check_images(np.zeros((2, 1, 3, 3)))
    with pytest.raises(InputError, match=re.escape("shape (2, 3, 3)")):
        _check_images(np.zeros((2, 3, 3), np.uint8))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"images": GREY}, "no array called 'labels', only images"),
        ({"x_train": GREY, "y_train": LABELS}, "no array called 'images', only x_train, y_train"),
        ({"images": GREY, "labels": np.array([object()] * 6)}, "labels.npy holds Python objects, which only a pickle can"),
        ({"images": np.uint8(3), "labels": LABELS}, "images: shape ()"),
        ({"images": GREY[:0], "labels": []}, "empty"),
        ({"images": GREY, "labels": [1] * 6}, "single class"),
        ({"images": GREY / np.nan, "labels": LABELS}, "image 0 has a NaN"),
    ],
    ids=["no labels", "other names", "pickled", "scalar", "empty", "one class", "NaN"],
)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value)")
def test_a_bad_npz_is_refused(tmp_path: Path, arrays: dict[str, object], reason: str) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(InputError, match=re.escape(reason)):
        load(tmp_path / "set.npz")


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: whole.replace(b"\x93NUMPY", b"\x93NOMPY")]
)
def test_a_damaged_npz_is_refused_and_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=GREY, labels=LABELS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=re.escape(str(path))):
        load(path)


def test_sources_of_an_unknown_kind_or_nowhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("image,label\n")
    with pytest.raises(InputError, match=r"unknown kind \(\.csv\); expected an \.npz file"):
        load(tmp_path / "table.csv")
    with pytest.raises(InputError, match="no file or folder 'minst', nor a named set"):
        load("minst")
    with pytest.raises(InputError, match="size: 0"):
        load("digits", size=0)


def numbered(labels: Sequence[int], classes: Sequence[str]) -> Examples:
    """Points that know their number: the image's pixel, out of 1,000."""
    images = (np.arange(len(labels), dtype=np.float32) / 1000).reshape(-1, 1, 1, 1)
    return from_arrays(images, labels, classes)


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=5), share=st.floats(0.05, 0.95), seed=st.integers(0, 2**31), order=st.randoms()
)
def test_a_split_divides_the_points_keeps_class_shares_and_repeats(
    counts: list[int], share: float, seed: int, order: random.Random
) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    order.shuffle(labels)
    examples = numbered(labels, [f"class {i}" for i in range(len(counts))])
    taken_size = int(np.ceil(share * len(labels)))
    assume(len(counts) <= taken_size <= len(labels) - len(counts))
    kept, taken = examples.split(share, seed)
    numbers = [list(map(int, part.origin)) for part in (kept, taken)]
    assert sorted(numbers[0] + numbers[1]) == list(range(len(labels)))
    assert all(part == sorted(part) for part in numbers)
    assert len(taken) == taken_size
    shares = np.bincount(taken.labels, minlength=len(counts)) - np.array(counts) * taken_size / len(labels)
    assert np.abs(shares).max() < 1
    assert_array_equal(examples.split(share, seed)[1].origin, taken.origin)
    assert_array_equal(taken.images.ravel(), np.array(numbers[1], np.float32) / 1000)


def test_another_seed_gives_another_split() -> None:
    examples = numbered([0, 1] * 50, ["a", "b"])
    assert set(examples.split(20, seed=0)[1].origin) != set(examples.split(20, seed=1)[1].origin)


def test_splits_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="class 'b' has a single point"):
        numbered([0, 0, 1, 0], ["a", "b"]).split(0.5, seed=0)
    with pytest.raises(InputError, match="cannot take 1 of 6 points"):
        numbered(LABELS, ["a", "b"]).split(1, seed=0)


def test_parts_of_a_set_are_the_named_points_in_order() -> None:
    examples = from_arrays(GREY, [3, 8, 5, 8, 3, 5])
    assert_array_equal(examples.first(2).origin, ["0", "1"])
    assert len(examples.first(99)) == 6
    assert_array_equal(examples.select([5, 0]).images, GREY[[5, 0]])
    assert_array_equal(examples.select(examples.labels == 2).origin, ["1", "3"])
    two = examples.only(["8", "3"])
    assert two.classes == ("8", "3")
    assert_array_equal(two.origin, ["0", "1", "3", "4"])
    assert_array_equal(two.labels, [1, 0, 0, 1])
    assert_array_equal(two.images, GREY[[0, 1, 3, 4]])


def test_parts_that_cannot_be_are_refused() -> None:
    examples = from_arrays(GREY, LABELS, classes=["a", "b", "c", "d"])
    for attempt, reason in [
        (lambda: examples.select([]), "empty"),
        (lambda: examples.first(0), "empty"),
        (lambda: examples.only(["c", "d"]), "empty"),
        (lambda: examples.only(["a", "e"]), "no class is called 'e'"),
        (lambda: examples.only(["a", "a"]), "two or more different names"),
    ]:
        with pytest.raises(InputError, match=reason):
            attempt()


def test_uint8_images_become_floats_by_255() -> None:
    assert_array_equal(from_arrays(GREY, LABELS).to_float(), (GREY / 255).astype(np.float32))
    assert isinstance(from_arrays(GREY, LABELS), Examples)
