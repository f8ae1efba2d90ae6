"""Image folders and image files: which are read, how their pixels come out, and what is refused."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image

from augury.data import available_splits, load
from augury.errors import InputError

Array = npt.NDArray[Any]

RNG = np.random.default_rng(0)


def grey(height: int = 6, width: int = 7) -> Array:
    return RNG.integers(0, 256, (height, width), dtype=np.uint8)


def colour(height: int = 6, width: int = 7) -> Array:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, pixels: Array | Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)
    return path


def read_one(folder: Path, pixels: Array | Image.Image, name: str = "a/1.png", **options: object) -> Array:
    """What becomes of one picture, beside a black one of the same size and kind in another class."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    write(folder / name, image, **options)
    write(folder / "z/black.png", Image.new("L" if image.mode in ("1", "L", "LA", "I;16", "F") else "RGB", image.size))
    return load(folder).images[0]


def test_sub_folders_sorted_are_the_classes_and_nested_files_belong_to_them(tmp_path: Path) -> None:
    pixels = {name: grey() for name in ["owl/b.png", "auk/2.png", "auk/10.png", "auk/deep/er/1.png", "owl/A.PNG"]}
    for name, values in pixels.items():
        write(tmp_path / name, values, format="png")
    for noise in [".hidden.png", ".git/x.png", "auk/.DS_Store", "auk/notes.txt", "owl/._b.png", "owl/.cache/c.png"]:
        (tmp_path / noise).parent.mkdir(exist_ok=True)
        (tmp_path / noise).write_text("no image")
    examples = load(str(tmp_path))
    assert available_splits(tmp_path) == ("train",)
    assert examples.classes == ("auk", "owl")
    assert list(examples.origin) == ["auk/10.png", "auk/2.png", "auk/deep/er/1.png", "owl/A.PNG", "owl/b.png"]
    assert_array_equal(examples.labels, [0, 0, 0, 1, 1])
    assert_array_equal(examples.images[:, 0], [pixels[name] for name in examples.origin])


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "test"], ("train", "test")),
        (["test", "Val", "Train"], ("train", "validation", "test")),
        (["training", "validation"], ("train", "validation")),
        (["test"], ("test",)),
    ],
)
def test_folders_that_are_all_splits_are_read_as_such(tmp_path: Path, names: Sequence[str], splits: tuple[str, ...]) -> None:
    for name in names:
        for label in ("auk", "owl"):
            write(tmp_path / name / label / "1.png", grey())
    assert available_splits(tmp_path) == splits
    for name in names:
        examples = load(tmp_path, split=name)
        assert list(examples.origin) == [f"{name}/auk/1.png", f"{name}/owl/1.png"]
        assert examples.classes == ("auk", "owl")
    with pytest.raises(InputError, match=re.escape(f"has no split 'extra'; it has {', '.join(splits)}")):
        load(tmp_path, split="extra")


def test_classes_size_and_channels_are_those_of_all_splits_together(tmp_path: Path) -> None:
    for name in ("train/auk/1.png", "train/owl/1.png"):
        write(tmp_path / name, grey(10, 10))
    for name in ("test/bat/1.png", "test/owl/1.png"):
        write(tmp_path / name, colour(20, 20))
    train, test = load(tmp_path), load(tmp_path, split="test")
    assert train.classes == test.classes == ("auk", "bat", "owl")
    assert_array_equal(train.labels, [0, 2])
    assert_array_equal(test.labels, [1, 2])
    assert train.shape == test.shape == (3, 15, 15)


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    for label in ("bus", "train"):
        write(tmp_path / label / "1.png", grey())
    assert load(tmp_path).classes == ("bus", "train")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("1.png", {}),
        ("1.bmp", {}),
        ("1.tif", {}),
        ("1.tiff", {}),
        ("1.ppm", {}),
        ("1.webp", {"lossless": True}),
        ("1.GIF", {"format": "gif"}),
        ("1.jpg", {}),
    ],
)
def test_every_kind_of_file_is_read(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    pixels = np.full((8, 8, 3), (200, 100, 50), dtype=np.uint8)
    read = read_one(tmp_path, pixels, f"a/{name}", **options)
    assert np.abs(read.astype(int) - pixels.transpose(2, 0, 1)).max() <= (2 if name == "1.jpg" else 0)


def test_the_first_frame_of_a_moving_picture_is_read(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)) for value in (10, 200)]
    read = read_one(tmp_path, frames[0], "a/1.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert_array_equal(read, np.full((3, 8, 8), 10))


def test_images_stay_grey_only_if_all_are(tmp_path: Path) -> None:
    values = grey()
    write(tmp_path / "a/1.png", values)
    write(tmp_path / "a/2.pgm", values)
    write(tmp_path / "b/1.png", Image.fromarray(values).convert("1"))
    assert load(tmp_path).shape == (1, 6, 7)
    write(tmp_path / "b/2.png", colour())
    examples = load(tmp_path)
    assert examples.shape == (3, 6, 7)
    assert_array_equal(examples.images[0], [values] * 3)


def test_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    pixels = np.dstack([colour(), np.full((6, 7), 255, np.uint8)])
    pixels[0, :, 3], pixels[1, :, 3] = 0, 128
    layer = pixels[..., 3:] / 255
    truth = pixels[..., :3] * layer + 255 * (1 - layer)
    np.testing.assert_allclose(read_one(tmp_path / "rgba", pixels), truth.transpose(2, 0, 1), atol=1)
    np.testing.assert_allclose(read_one(tmp_path / "la", pixels[..., 2:])[0], truth[..., 2], atol=1)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8))
    palette.putpalette([9, 8, 7, 1, 2, 3])
    assert_array_equal(read_one(tmp_path / "palette", palette, transparency=1)[:, 0], [[9, 255], [8, 255], [7, 255]])


def test_deep_grey_is_reduced_to_8_bits(tmp_path: Path) -> None:
    values = np.array([[0, 257, 256 * 257 // 2, 65535]], dtype=np.uint16)
    for name in ("a/1.png", "a/1.tif", "a/1.pgm"):
        assert_array_equal(read_one(tmp_path / name[-3:], values, name), [[[0, 1, 128, 255]]])
    assert_array_equal(read_one(tmp_path / "float", values.astype(np.float32) / 65535, "a/1.tif"), [[[0, 1, 128, 255]]])
    with pytest.raises(InputError, match=r"1\.tif: not a readable image \(pixels from 0 to 131070, expected 0 to 1\)"):
        read_one(tmp_path / "wild", values.astype(np.float32) * 2, "a/1.tif")


UPRIGHT = {
    1: lambda seen: seen,
    2: np.fliplr,
    3: lambda seen: np.rot90(seen, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda seen: np.rot90(seen, -1),
    7: lambda seen: np.rot90(seen, 2).T,
    8: np.rot90,
    9: lambda seen: seen,  # unknown to EXIF
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("name", ["a/1.png", "a/1.tif", "a/1.webp"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, name: str) -> None:
    stored = grey()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name.endswith("webp") else {}
    truth = UPRIGHT[orientation](stored)
    write(tmp_path / name, stored, exif=exif, **options)
    write(tmp_path / "z/black.png", np.zeros_like(truth))
    assert_array_equal(load(tmp_path).images[0, 0], truth)


@pytest.mark.parametrize("record", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03\xff\xff\xff\xff"])
def test_a_broken_exif_record_does_not_break_the_picture(tmp_path: Path, record: bytes) -> None:
    values = grey()
    assert_array_equal(read_one(tmp_path, values, exif=record)[0], values)


def test_a_given_size_is_the_shorter_side_and_the_centre_is_kept(tmp_path: Path) -> None:
    wide = colour(32, 64)
    write(tmp_path / "a/1.png", wide)
    write(tmp_path / "b/1.png", wide.transpose(1, 0, 2).copy())
    examples = load(tmp_path, size=16)
    planes = torch.as_tensor(wide.transpose(2, 0, 1)[np.newaxis]).double()
    truth = torch.nn.functional.interpolate(planes, size=(16, 32), mode="bilinear", antialias=True)[0, :, :, 8:24]
    np.testing.assert_allclose(examples.images[0], truth, atol=1)
    np.testing.assert_allclose(examples.images[1], truth.transpose(1, 2), atol=1)


@pytest.mark.parametrize(
    ("sizes", "shape", "told"),
    [
        ([(20, 30), (20, 30)], (20, 30), None),
        ([(64, 90), (64, 90)], (64, 90), None),
        ([(20, 30), (40, 24), (50, 60)], (24, 24), "images of 30 x 20 to 60 x 50 pixels; resized and centre-cropped to 24 x 24"),
        ([(65, 65), (65, 65)], (64, 64), "images of 65 x 65 pixels; resized and centre-cropped to 64 x 64"),
        ([(300, 200), (100, 400)], (64, 64), "centre-cropped to 64 x 64"),
    ],
)
def test_without_a_size_equal_small_images_stay_and_others_are_resized_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sizes: list[tuple[int, int]], shape: tuple[int, int], told: str | None
) -> None:
    for i, size in enumerate(sizes):
        write(tmp_path / f"{'ab'[i % 2]}/{i}.png", grey(*size))
    assert load(tmp_path).shape[1:] == shape
    said = " ".join(capsys.readouterr().err.split())
    assert (told in said) if told else not said


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(folder)
    return str(caught.value)


def test_images_in_no_class_folder_lack_labels(tmp_path: Path) -> None:
    write(tmp_path / "1.png", grey())
    assert f"{tmp_path}: labels are missing" in refused(tmp_path)
    write(tmp_path / "split/train/1.png", grey())
    assert "train: labels are missing" in refused(tmp_path / "split")


def test_images_beside_the_class_folders_are_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/1.png", "b/1.png", "preview.png"):
        write(tmp_path / name, grey())
    assert list(load(tmp_path).origin) == ["a/1.png", "b/1.png"]
    assert "(images: 1), such as preview.png" in " ".join(capsys.readouterr().err.split())


def test_folders_without_images_or_with_one_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    assert "no images; expected one sub-folder a class" in refused(tmp_path / "void")
    (tmp_path / "set/empty").mkdir(parents=True)
    assert "no images" in refused(tmp_path / "set")
    write(tmp_path / "set/full/1.png", grey())
    assert f"{tmp_path / 'set' / 'empty'}: a class without images" in refused(tmp_path / "set")
    write(tmp_path / "lone/owl/1.png", grey())
    assert "single class 'owl'" in refused(tmp_path / "lone")


def test_folders_that_may_be_splits_or_classes_are_refused(tmp_path: Path) -> None:
    for name in ("train", "test", "unlabelled"):
        write(tmp_path / "mixed" / name / "owl/1.png", grey())
    assert "beside the splits test, train lies a folder 'unlabelled'" in refused(tmp_path / "mixed")
    for name in ("val", "validation"):
        write(tmp_path / "twice" / name / "owl/1.png", grey())
    assert "two parts are the validation split" in refused(tmp_path / "twice")


@pytest.mark.parametrize(
    "damage", [lambda whole: b"", lambda whole: b"no image", lambda whole: whole[: len(whole) // 2], lambda whole: whole[:20]]
)
@pytest.mark.parametrize("name", ["1.png", "1.jpg", "1.webp", "1.tif"])
def test_a_corrupt_image_is_named_with_its_path(tmp_path: Path, damage: Callable[[bytes], bytes], name: str) -> None:
    write(tmp_path / "b/fine.png", colour(32, 32))
    path = write(tmp_path / "a" / name, colour(32, 32))
    path.write_bytes(damage(path.read_bytes()))
    assert f"{path}: not a readable image" in refused(tmp_path)


def test_other_formats_under_an_images_name_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path / "b/fine.png", colour())
    write(tmp_path / "a/1.png", colour(), format="EPS")  # Pillow would start Ghostscript for it
    assert "1.png: not a readable image" in refused(tmp_path)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("side", "found"), [(8000, "64 million"), (10_000, "100 million"), (30_000, "hundreds of millions of")])
def test_huge_images_are_refused_before_they_are_decoded(tmp_path: Path, side: int, found: str) -> None:
    write(tmp_path / "b/fine.png", colour())
    (tmp_path / "a").mkdir()
    (tmp_path / "a/bomb.png").write_bytes(png_header(side, side))
    assert f"bomb.png: {found} pixels; expected at most 50 million" in refused(tmp_path)
