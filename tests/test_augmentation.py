from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from augury.augmentation import CopiedFeatures, MakesCopies, augment, to_picture, write_images
from augury.data import Examples, load
from augury.errors import InputError
from augury.files import read_table
from augury.transforms import Crop, Flip, Rotate, Translate, Union

Array = npt.NDArray[Any]
COLUMNS = ("file", "label", "origin")
HOSTILE = [
    "../../x", "..", ".", "", "/etc/passwd", "/", "a/b", "a b", "a_b", "A_B", "0-a_b", "..\\..\\x", "C:\\x", "<script>alert(1)</script>",
    ".hidden", "...", "-rf", "~", "$HOME", "a\nb", "a\0b", "x" * 300, "x" * 301, "猫", "犬", "name.", "a/../../../b", "%2e%2e%2f", "*",
]  # fmt: skip


@dataclass(frozen=True)
class Darker:
    """A way of making copies that is none of the package's own."""

    names = ("same", "darker")

    def copies(self, images: Array) -> Array:
        return np.stack([images, (images / 2).astype(images.dtype)], axis=1)


def examples(n: int, *, channels: int = 1, dtype: Any = np.uint8, size: int = 6) -> Examples:  # noqa: ANN401  (a dtype)
    rng = np.random.default_rng(n)
    pixels = rng.integers(0, 256, (n, channels, size, size + 1)).astype(np.uint8)
    images = pixels if dtype == np.uint8 else (pixels / np.float32(255)).astype(np.float32)
    return Examples(images, np.arange(n) % 2, ("cat", "dog"), np.array([f"pictures/{i}.png" for i in range(n)]))


def copied(points: int, copies: int, width: int, dtype: Any = np.float64) -> CopiedFeatures:  # noqa: ANN401  (a dtype)
    """Features that tell where they came from: point, copy (0 for the original) and feature are its digits."""
    point, copy, feature = np.ogrid[0:points, 0 : copies + 1, 0:width]
    everything = (100.0 * point + 10.0 * copy + feature).astype(dtype)
    return CopiedFeatures(everything[:, 0], everything[:, 1:], np.arange(points) % 3)


def test_the_originals_come_first_and_then_the_copies_of_each_chosen_point() -> None:
    X, y, weights = copied(points=4, copies=2, width=2).augmented([2, 0])
    assert X.tolist() == [[0, 1], [100, 101], [200, 201], [300, 301], [210, 211], [220, 221], [10, 11], [20, 21]]
    assert y.tolist() == [0, 1, 2, 0, 2, 2, 0, 0]
    assert weights.tolist() == [1] * 8


def test_downweighted_points_share_their_weight_with_their_copies() -> None:
    weights = copied(points=4, copies=2, width=2).augmented([2, 0], downweight=True).weights
    np.testing.assert_array_equal(weights, [1 / 3, 1, 1 / 3, 1, 1 / 3, 1 / 3, 1 / 3, 1 / 3])


@given(st.integers(1, 20), st.integers(0, 15), st.data())
def test_downweighting_keeps_every_points_mass(points: int, copies: int, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, points - 1), unique=True))
    train = copied(points, copies, width=1)
    X, y, weights = train.augmented(chosen, downweight=True)
    assert len(X) == len(y) == len(weights) == points + copies * len(chosen)
    mass = np.bincount((X[:, 0] // 100).astype(int), weights, minlength=points)
    if copies < 10:  # beyond, the digits of the copies run into those of the points
        np.testing.assert_allclose(mass, 1, rtol=1e-12)
    assert weights.sum() == pytest.approx(points)
    assert copied(points, copies, width=1).augmented(chosen).weights.sum() == points + copies * len(chosen)


@pytest.mark.parametrize("chosen", [[], np.arange(0), np.zeros(4, dtype=bool)])
def test_none_chosen_is_the_originals_alone(chosen: npt.ArrayLike) -> None:
    train = copied(points=4, copies=2, width=2)
    X, y, weights = train.augmented(chosen, downweight=True)
    np.testing.assert_array_equal(X, train.features)
    np.testing.assert_array_equal(y, train.labels)
    np.testing.assert_array_equal(weights, np.ones(4))


def test_a_mask_of_booleans_chooses_as_its_indices_do() -> None:
    train, mask = copied(points=4, copies=2, width=2), np.array([True, False, False, True])
    for by_mask, by_index in zip(train.augmented(mask, downweight=True), train.augmented([0, 3], downweight=True), strict=True):
        np.testing.assert_array_equal(by_mask, by_index)
    ours, theirs = (augment(examples(4), chosen, Flip()) for chosen in (mask, [0, 3]))
    np.testing.assert_array_equal(ours.images, theirs.images)


def test_float32_features_become_float64_for_the_fit_and_are_left_as_they_were() -> None:
    train = copied(points=4, copies=2, width=2, dtype=np.float32)
    training_set = train.augmented([1])
    assert training_set.X.dtype == training_set.weights.dtype == np.float64
    training_set.X[:] = -1
    training_set.y[:] = -1
    assert train.features.min() >= 0
    assert train.labels.min() >= 0


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([4], "chosen: indices from 4 to 4; expected 0 to 3"),
        ([-1, 2], "chosen: indices from -1 to 2; expected 0 to 3"),
        ([1, 2, 1], "chosen: a point is there twice"),
        ([0.0, 1.0], "chosen: shape .* type float64; expected indices of points, or a mask"),
        ([True, False], "chosen: shape .* type bool; expected indices of points, or a mask"),
        ([[0, 1]], "chosen: shape .* expected indices of points"),
        (2, "chosen: shape .* expected indices of points"),
        (["1"], "chosen: shape .* expected indices of points"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_a_choice_that_names_no_points_is_refused(chosen: npt.ArrayLike, message: str) -> None:
    with pytest.raises(InputError, match=message):
        copied(points=4, copies=2, width=2).augmented(chosen)
    with pytest.raises(InputError, match=message):
        augment(examples(4), chosen, Flip())


@pytest.mark.usefixtures("without_type_checks")
def test_features_that_do_not_fit_together_are_refused() -> None:
    features, copies, labels = np.ones((3, 2)), np.ones((3, 4, 2)), np.zeros(3, dtype=np.int64)
    for arrays in ((features[:2], copies, labels), (features, copies[:2], labels), (features, copies, labels[:2])):
        with pytest.raises(InputError, match=r"copies: \d points, copies of \d and \d labels; expected as many of each"):
            CopiedFeatures(*arrays)
    with pytest.raises(InputError, match=r"copies: shape \(3, 4, 1\); expected \(points, copies, 2\)"):
        CopiedFeatures(features, copies[:, :, :1], labels)


@pytest.mark.parametrize("transform", [Translate(1), Rotate([-20, 20]), Union(Flip(), Crop([1, 2])), Darker()])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_augment_gives_the_transforms_copies_point_by_point(transform: MakesCopies, dtype: Any) -> None:  # noqa: ANN401  (a dtype)
    points = examples(5, channels=3, dtype=dtype)
    made = augment(points, [3, 0, 4], transform)
    copies = transform.copies(points.images[[3, 0, 4]])
    k = len(transform.names)
    np.testing.assert_array_equal(made.images, copies.reshape(3 * k, 3, 6, 7), strict=True)
    assert made.labels.tolist() == np.repeat([1, 0, 0], k).tolist()
    assert made.origin.tolist() == [f"pictures/{i}.png#{name}" for i in (3, 0, 4) for name in transform.names]
    assert made.classes == points.classes


def test_augmenting_no_point_is_refused() -> None:
    with pytest.raises(InputError, match="the set is empty"):
        augment(examples(3), [], Flip())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_written_images_show_the_same_pixels(tmp_path: Path, dtype: Any, channels: int) -> None:  # noqa: ANN401  (a dtype)
    points = examples(6, channels=channels, dtype=dtype)
    listing = write_images(points, tmp_path / "augmented", tmp_path / "copies.parquet")
    frame, record = read_table(listing, "copies", COLUMNS)
    for file, image in zip(frame["file"], points.images, strict=True):
        with Image.open(tmp_path / "augmented" / file) as picture:
            assert picture.mode == ("L" if channels == 1 else "RGB")
            shown = np.atleast_3d(np.asarray(picture))
        np.testing.assert_array_equal(np.moveaxis(shown, 2, 0), image if dtype == np.uint8 else np.rint(image * 255))
    assert frame["label"].tolist() == ["cat", "dog"] * 3
    assert frame["origin"].tolist() == points.origin.tolist()
    assert record["classes"] == ["cat", "dog"]


def test_a_float_pixel_is_written_as_the_nearest_of_256_greys() -> None:
    image = np.linspace(0, 1, 1001, dtype=np.float32).reshape(1, 7, 143)
    assert np.abs(np.asarray(to_picture(image)) / 255 - image[0]).max() <= 0.5 / 255 + 1e-6


def test_a_folder_of_written_images_is_a_data_set_again(tmp_path: Path) -> None:
    points = augment(examples(6, channels=3), [0, 1, 2, 3], Flip())
    write_images(points, tmp_path / "augmented", tmp_path / "copies.parquet")
    found = load(str(tmp_path / "augmented"))
    assert found.classes == ("cat", "dog")
    assert {(label, image.tobytes()) for label, image in zip(found.labels.tolist(), found.images, strict=True)} == {
        (label, image.tobytes()) for label, image in zip(points.labels.tolist(), points.images, strict=True)
    }


def test_hostile_names_of_classes_and_points_never_leave_the_folder_or_meet(tmp_path: Path) -> None:
    n = len(HOSTILE)
    images = np.arange(n, dtype=np.uint8)[:, None, None, None].repeat(3, axis=1)
    points = Examples(images, np.arange(n), tuple(HOSTILE), np.array([*HOSTILE[1:], HOSTILE[0]]))
    folder = tmp_path / "home" / "run" / "augmented"
    listing = write_images(points, folder, tmp_path / "home" / "copies.parquet")
    frame, record = read_table(listing, "copies", COLUMNS)
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {listing, *(folder / file for file in written)}
    assert written == set(frame["file"])
    assert len(written) == len({file.split("/")[0].casefold() for file in written}) == n
    for i, file in enumerate(frame["file"]):
        assert set(file) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-/")
        assert [len(part) < 128 and part[0] not in ".-" and part[-1] != "." for part in file.split("/")] == [True, True]
        with Image.open(folder / file) as picture:
            assert picture.getpixel((0, 0)) == (i, i, i)
    assert frame["label"].tolist() == record["classes"] == HOSTILE


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (("cat", "dog"), ["cat", "dog"]),
        (("cat", "Cat"), ["0-cat", "1-Cat"]),
        (("a/b", "a b", "0-a_b"), ["0-a_b", "1-a_b", "2-0-a_b"]),
        (("-rf", "3"), ["rf", "3"]),
    ],
)
def test_classes_have_folders_of_their_own(tmp_path: Path, classes: tuple[str, ...], folders: list[str]) -> None:
    points = Examples(np.zeros((len(classes), 1, 2, 2), np.uint8), np.arange(len(classes)), classes, np.array(classes))
    write_images(points, tmp_path / "out", tmp_path / "copies.parquet")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(folders)


def test_writing_again_into_the_same_folder_gives_the_same_files(tmp_path: Path) -> None:
    for _ in range(2):
        listing = write_images(examples(3), tmp_path, tmp_path / "copies.parquet")
        contents = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert contents == {
        path: path.read_bytes() for path in [listing, *(tmp_path / file for file in read_table(listing, "copies", ())[0]["file"])]
    }


def test_images_of_another_selection_in_the_folder_are_not_mixed_with_the_new_ones(tmp_path: Path) -> None:
    write_images(examples(3), tmp_path / "out", tmp_path / "copies.parquet")
    with pytest.raises(InputError, match=r"out: holds other images, such as cat/000002-2\.png; give a new or empty folder"):
        write_images(examples(2), tmp_path / "out", tmp_path / "copies.parquet")


def test_the_listing_is_written_only_when_all_images_are(tmp_path: Path) -> None:
    (tmp_path / "out" / "dog" / "000001-1.png").mkdir(parents=True)
    with pytest.raises(InputError, match=r"000001-1\.png: cannot be written \(Is a directory\)"):
        write_images(examples(3), tmp_path / "out", tmp_path / "copies.parquet")
    assert not (tmp_path / "copies.parquet").exists()
