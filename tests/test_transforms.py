"""Copies against independent warps: scipy, scikit-image, numpy, and a loop over OpenCV's published formula."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from math import floor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage import transform as skimage_transform

from augury.errors import InputError
from augury.transforms import Compose, Crop, Custom, Flip, Rotate, Transform, Translate, Union, combinations, moved, parse, warp
from augury.transforms import opencv as kernels
from augury.transforms.transform import check_images, check_pixels

Shape = tuple[int, int, int]

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 28, 28), (1, 32, 20), (3, 20, 32)]
DTYPES = ["float32", "float64", "uint8"]
BORDERS = [("edge", 0.0), ("reflect", 0.0), ("zeros", 0.0), ("fill", 0.25)]
SCIPY_MODES = {"edge": "nearest", "reflect": "mirror", "zeros": "grid-constant", "fill": "grid-constant"}
PAPER_ANGLES = [-30 + 60 * i / 14 for i in range(15) if i != 7]

BUILT_IN = [
    Translate(2),
    Translate(1, "cardinal", "zeros"),
    Translate(3, border="fill", fill=0.25),
    Rotate.up_to(30, 15),
    Rotate.up_to(5, 4, border="reflect"),
    Rotate((10, -20.5, 0), border="fill", fill=0.5),
    Rotate(45),
    Crop((1, 2, 3)),
    Crop(2),
    Crop((3, 1)),
    Flip(),
    Flip("vertical"),
    Compose(Flip(), Rotate.up_to(5, 4)),
    Union(Rotate.up_to(30, 15), Translate(2)),
    Union(Compose(Union(Flip(), Crop(1)), Translate(1), Rotate((3, 4))), Crop(2), Flip("vertical")),
]


def random_images(shape: Shape, dtype: str, points: int = 3, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if dtype == "uint8":
        return generator.integers(0, 256, (points, *shape), dtype=np.uint8)
    return generator.random((points, *shape)).astype(dtype)


def planes(images: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a change of one (height, width) plane to every plane, in float64."""
    return np.stack([[change(plane.astype(np.float64)) for plane in image] for image in images])


def assert_equal_to_reference(copies: np.ndarray, reference: np.ndarray) -> None:
    """Floats to 1e-5; uint8 the reference rounded, where its rounding is not a matter of its last digits."""
    assert copies.shape == reference.shape
    if copies.dtype != np.uint8:
        np.testing.assert_allclose(copies, reference, atol=1e-5, rtol=0)
        return
    plain = np.abs(reference % 1 - 0.5) > 1e-3
    assert plain.mean() > 0.5
    np.testing.assert_array_equal(copies[plain], np.rint(reference[plain]))
    assert np.abs(copies - reference).max() <= 0.501


def grey(fill: float, dtype: str) -> float:
    return 255 * fill if dtype == "uint8" else fill


# Translate


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("border", "fill"), BORDERS)
@pytest.mark.parametrize("directions", ["diagonal", "cardinal"])
def test_a_shift_is_scipys_shift_by_the_pixels_in_its_name(directions: str, border: str, fill: float, shape: Shape, dtype: str) -> None:
    images = random_images(shape, dtype)
    transform = Translate(2, directions, border, fill)
    copies = transform.copies(images)
    for name, copy in zip(transform.names, copies.swapaxes(0, 1), strict=True):
        right, down = map(int, re.match(r"translate\(([-+]\d+),([-+]\d+)", name).groups())
        wanted = {"shift": (down, right), "order": 1, "mode": SCIPY_MODES[border], "cval": grey(fill, dtype)}
        reference = planes(images, partial(ndimage.shift, **wanted))
        if dtype == "uint8":
            np.testing.assert_array_equal(copy, np.rint(reference))
        else:
            np.testing.assert_allclose(copy, reference, atol=1e-7 if dtype == "float32" else 1e-15)


def test_diagonal_shifts_go_both_ways_at_once_and_cardinal_ones_one_way_at_a_time() -> None:
    assert Translate(2).names == ("translate(+2,+2)", "translate(-2,+2)", "translate(+2,-2)", "translate(-2,-2)")
    assert Translate(3, "cardinal").names == ("translate(+3,+0)", "translate(-3,+0)", "translate(+0,+3)", "translate(+0,-3)")


def test_a_positive_shift_moves_the_image_right_and_down() -> None:
    image = np.zeros((1, 1, 5, 6), np.uint8)
    image[0, 0, 1, 2] = 9
    copies = Translate(1, "cardinal").copies(image)[0, :, 0]
    assert [tuple(np.argwhere(copy == 9)[0]) for copy in copies] == [(1, 3), (1, 1), (2, 2), (0, 2)]


@given(st.integers(1, 6), st.sampled_from(["edge", "zeros", "reflect"]))
def test_a_shift_undone_by_its_opposite_gives_the_inner_image_back(pixels: int, border: str) -> None:
    images = random_images((2, 9, 13), "float32")
    there = Translate(pixels, border=border).copies(images)[:, 0]
    back = Translate(pixels, border=border).copies(there)[:, 3]
    inner = (..., slice(0, 9 - pixels), slice(0, 13 - pixels))
    np.testing.assert_array_equal(back[inner], images[inner])


# Rotate


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("border", "fill"), BORDERS)
def test_a_rotation_is_scipys_affine_transform_about_the_centre(border: str, fill: float, shape: Shape, dtype: str) -> None:
    images = random_images(shape, dtype)
    angles = (-170.0, -90.0, -30.0, 3.7, 45.0, 90.0)
    centre = (np.array(shape[1:]) - 1) / 2
    copies = Rotate(angles, border, fill).copies(images)
    for angle, copy in zip(angles, copies.swapaxes(0, 1), strict=True):
        turn = np.radians(angle)
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        wanted = {"offset": centre - matrix @ centre, "order": 1, "mode": SCIPY_MODES[border], "cval": grey(fill, dtype)}
        reference = planes(images, partial(ndimage.affine_transform, matrix=matrix, **wanted))
        assert_equal_to_reference(copy, reference)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("border", ["edge", "reflect"])
def test_a_rotation_is_scikit_images_rotation(border: str, shape: Shape) -> None:
    images = random_images(shape, "float64")
    copies = Rotate.up_to(30, 15, border).copies(images)
    for angle, copy in zip(PAPER_ANGLES, copies.swapaxes(0, 1), strict=True):
        reference = planes(images, partial(skimage_transform.rotate, angle=angle, order=1, mode=border, preserve_range=True))
        assert_equal_to_reference(copy, reference)


@given(st.integers(1, 30), st.sampled_from(DTYPES))
@settings(deadline=None)
def test_a_quarter_turn_of_a_square_image_is_numpys_rot90_counter_clockwise(size: int, dtype: str) -> None:
    images = random_images((2, size, size), dtype)
    copies = Rotate((90, 180, -90)).copies(images).astype(np.float64)
    for k, copy in zip((1, 2, 3), copies.swapaxes(0, 1), strict=True):
        np.testing.assert_allclose(copy, np.rot90(images, k, axes=(2, 3)), atol=1e-5)


@pytest.mark.parametrize("border", ["edge", "zeros", "reflect"])
def test_four_quarter_turns_and_a_turn_by_nothing_change_nothing(border: str) -> None:
    images = random_images((1, 11, 11), "float64")
    turned = images
    for _ in range(4):
        turned = Rotate(90, border).copies(turned)[:, 0]
    np.testing.assert_allclose(turned, images, atol=1e-12)
    np.testing.assert_array_equal(Rotate(0, border).copies(images)[:, 0], images)


def test_the_papers_angles_are_evenly_spaced_and_leave_out_zero() -> None:
    np.testing.assert_allclose(Rotate.up_to(30, 15).angles, PAPER_ANGLES, atol=1e-13)
    np.testing.assert_allclose(Rotate.up_to(5, 4).angles, np.linspace(-5, 5, 4), atol=1e-14)
    assert Rotate.up_to(30, 3).names == ("rotate(-30)", "rotate(30)")


@pytest.mark.parametrize("border", ["edge", "zeros", "reflect", "fill"])
def test_an_image_of_one_row_can_be_turned(border: str) -> None:
    row = random_images((1, 1, 5), "float64")
    reference = planes(row, lambda plane: ndimage.affine_transform(plane, -np.eye(2), (0, 4), order=1, mode="nearest"))
    np.testing.assert_allclose(Rotate(180, border).copies(row)[:, 0], reference, atol=1e-12)


# Crop


def opencv_inter_area_axis(inner: int, size: int) -> list[tuple[int, Fraction]]:
    """First source and weight of the second, for every pixel of an enlarged axis, as OpenCV's resize.cpp finds them, without rounding."""
    scale = Fraction(inner, size)
    found = []
    for d in range(size):
        i = floor(d * scale)
        f = (d + 1) - (i + 1) / scale
        f = f - floor(f) if f > 0 else Fraction(0)
        found.append((i, f) if i < inner - 1 else (inner - 1, Fraction(0)))
    return found


def opencv_crop(plane: np.ndarray, cut: int) -> np.ndarray:
    height, width = plane.shape
    inside = plane[cut : height - cut, cut : width - cut]
    rows, columns = opencv_inter_area_axis(height - 2 * cut, height), opencv_inter_area_axis(width - 2 * cut, width)
    wide = np.empty((len(inside), width))
    for x, (j, f) in enumerate(columns):
        wide[:, x] = float(1 - f) * inside[:, j] + (float(f) * inside[:, j + 1] if f else 0)
    out = np.empty((height, width))
    for y, (i, f) in enumerate(rows):
        out[y] = float(1 - f) * wide[i] + (float(f) * wide[i + 1] if f else 0)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "cuts"), [((1, 8, 8), (1, 2, 3)), ((3, 28, 28), range(1, 7)), ((1, 32, 20), (1, 2, 9)), ((1, 96, 96), (2,))]
)
def test_a_crop_is_opencvs_area_enlargement_of_what_is_left(shape: Shape, cuts: Sequence[int], dtype: str) -> None:
    images = random_images(shape, dtype, points=2)
    copies = Crop(cuts).copies(images)
    for cut, copy in zip(cuts, copies.swapaxes(0, 1), strict=True):
        assert_equal_to_reference(copy, planes(images, partial(opencv_crop, cut=cut)))


def test_a_crop_is_neither_bilinear_nor_blind_to_its_axes() -> None:
    ramp = np.arange(8.0).reshape(1, 1, 1, 8).repeat(8, axis=2)
    row = Crop(2).copies(ramp)[0, 0, 0]
    np.testing.assert_allclose(row, np.broadcast_to([2, 2, 3, 3, 4, 4, 5, 5], (8, 8)))
    row = Crop(1).copies(ramp)[0, 0, 0, 0]
    np.testing.assert_allclose(row, [1, 1 + 2 / 3, 2 + 1 / 3, 3, 4, 4 + 2 / 3, 5 + 1 / 3, 6], atol=1e-6)


@given(st.floats(0, 1, width=32), st.integers(3, 20), st.integers(3, 20), st.data())
@settings(deadline=None)
def test_a_crop_of_a_constant_image_is_that_constant(level: float, height: int, width: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, (min(height, width) - 1) // 2))
    copies = Crop(cut).copies(np.full((1, 1, height, width), level, np.float32))
    np.testing.assert_allclose(copies, np.float32(level), rtol=5e-7, atol=1e-40)


# Flip


@pytest.fixture(params=["with OpenCV", "without OpenCV"])
def opencv(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether OpenCV can be imported."""
    wanted: bool = request.param == "with OpenCV"
    if wanted:
        pytest.importorskip("cv2", reason="OpenCV is not installed")
    else:
        monkeypatch.setitem(sys.modules, "cv2", None)
    kernels._opencv.cache_clear()
    yield wanted
    kernels._opencv.cache_clear()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_flip_is_numpys(shape: Shape, dtype: str, opencv: bool) -> None:  # noqa: FBT001  (a fixture)
    images = random_images(shape, dtype)
    np.testing.assert_array_equal(Flip().copies(images)[:, 0], images[..., ::-1])
    np.testing.assert_array_equal(Flip("vertical").copies(images)[:, 0], images[..., ::-1, :])
    among_others = Union(Flip("vertical"), Flip(), Translate(1)).copies(images[:, :, ::2])
    np.testing.assert_array_equal(among_others[:, 1], images[:, :, ::2, ::-1])
    assert Flip().copies(images[:0]).shape == (0, 1, *shape)
    assert (kernels._opencv() is not None) == opencv


@pytest.mark.usefixtures("opencv")
def test_derivatives_run_through_a_flip() -> None:
    images = torch.from_numpy(random_images((1, 4, 5), "float64")).requires_grad_()
    weights = torch.rand(3, 1, 1, 4, 5, dtype=torch.float64)
    (Flip().copies(images) * weights).sum().backward()
    assert torch.equal(images.grad, weights[:, 0].flip(3))


# Every transform


@pytest.mark.parametrize("transform", BUILT_IN, ids=lambda transform: transform.spec)
@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_are_of_the_images_kind_and_dtype_with_one_name_each(transform: Transform, dtype: str) -> None:
    images = random_images((3, 9, 12), dtype)
    before = images.copy()
    copies = transform.copies(images)
    assert isinstance(transform, Transform)
    assert copies.shape == (3, len(transform), 3, 9, 12)
    assert copies.dtype == images.dtype
    assert len(transform.names) == len(set(transform.names)) == len(transform)
    tensors = transform.copies(torch.from_numpy(images))
    assert tensors.dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(tensors, copies)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("transform", BUILT_IN, ids=lambda transform: transform.spec)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_images_copies_have_the_same_bits_in_every_batch_and_block(
    transform: Transform, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_images((2, 7, 10), dtype, points=67)
    copies = transform.copies(images)
    for part in (slice(0, 1), slice(1, 3), slice(5, 22), slice(30, 67), slice(66, 67), slice(3, 60, 7)):
        np.testing.assert_array_equal(transform.copies(images[part]), copies[part])
    monkeypatch.setattr(warp, "PLANES", 3)
    monkeypatch.setattr(warp, "CACHED", 1000)
    monkeypatch.setattr(moved, "CACHED", 2000)
    monkeypatch.setattr(combinations, "CHUNK", 3000)
    np.testing.assert_array_equal(transform.copies(images), copies)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_width_of_a_block_changes_a_bit(dtype: str) -> None:
    images = random_images((1, 6, 6), dtype, points=60)
    copies = Rotate.up_to(30, 3).copies(images)
    for points in range(1, 60):
        np.testing.assert_array_equal(Rotate.up_to(30, 3).copies(images[:points]), copies[:points])


@given(
    st.sampled_from(BUILT_IN),
    arrays(np.float32, (2, 1, 8, 9), elements=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1, width=32))),
)
@settings(deadline=None)
def test_pixels_from_0_to_1_give_copies_from_0_to_1_to_the_bit(transform: Transform, images: np.ndarray) -> None:
    copies = transform.copies(images)
    assert copies.min() >= 0
    assert copies.max() <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_white_image_stays_white_to_the_bit_and_uint8_does_not_wrap(dtype: str) -> None:
    for transform in (Rotate(range(-180, 180, 7)), Crop(range(1, 14)), Translate(5), Flip()):
        assert (transform.copies(np.ones((1, 1, 29, 31), dtype)) == 1).all()
        assert (transform.copies(np.full((1, 1, 29, 31), 255, np.uint8)) == 255).all()


@given(st.sampled_from([Rotate.up_to(30, 15), Crop(2), Translate(2), Flip()]), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
@settings(deadline=None)
def test_copies_stay_within_the_range_of_the_image(transform: Transform, a: float, b: float, seed: int) -> None:
    low, high = sorted((a, b))
    images = low + (high - low) * random_images((1, 8, 8), "float64", seed=seed)
    copies = transform.copies(images)
    assert copies.min() >= images.min() - 1e-15
    assert copies.max() <= images.max() + 1e-15


@pytest.mark.usefixtures("opencv")
def test_bytes_are_summed_and_rounded_to_the_same_by_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    if warp.BYTES_SUMMED is None:
        pytest.skip("this torch has no sums of quantised tables")
    images = random_images((3, 20, 32), "uint8", points=50)
    transform = Union(Rotate.up_to(30, 15, "fill", 0.3), Rotate(13, "zeros"), Crop((1, 5)), Rotate(45, "reflect"))
    copies = transform.copies(images)
    monkeypatch.setattr(warp, "BYTES_SUMMED", None)
    monkeypatch.setattr(warp, "opencv_for", lambda images: None)
    np.testing.assert_array_equal(transform.copies(images), copies)


@pytest.mark.parametrize("transform", [Rotate.up_to(30, 15), Crop((1, 2))], ids=lambda transform: transform.spec)
def test_uint8_copies_are_the_rounded_float_copies(transform: Transform) -> None:
    images = random_images((3, 14, 9), "uint8")
    np.testing.assert_array_equal(transform.copies(images), np.rint(transform.copies(images.astype(np.float32))))


@pytest.mark.parametrize("transform", BUILT_IN, ids=lambda transform: transform.spec)
def test_arrays_that_are_read_only_reversed_or_strided_serve_as_well(transform: Transform) -> None:
    images = random_images((3, 9, 12), "float32", points=4)
    copies = transform.copies(images)
    locked = images.copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(transform.copies(locked), copies)
    np.testing.assert_array_equal(transform.copies(images[::-1])[::-1], copies)
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(transform.copies(channels_last.transpose(0, 3, 1, 2)), copies)
    np.testing.assert_array_equal(transform.copies(torch.from_numpy(channels_last).permute(0, 3, 1, 2)), copies)


@pytest.mark.parametrize("transform", BUILT_IN, ids=lambda transform: transform.spec)
def test_no_points_have_no_copies(transform: Transform) -> None:
    assert transform.copies(np.zeros((0, 1, 9, 9), np.float32)).shape == (0, len(transform), 1, 9, 9)


@pytest.mark.parametrize("transform", BUILT_IN, ids=lambda transform: transform.spec)
def test_the_gradient_of_the_copies_reaches_the_images(transform: Transform) -> None:
    image = torch.from_numpy(random_images((1, 8, 7), "float64", points=1)).requires_grad_()
    assert torch.autograd.gradcheck(transform.copies, image, fast_mode=True)


@pytest.mark.parametrize("transform", BUILT_IN, ids=lambda transform: transform.spec)
def test_a_transform_equals_its_spec_read_back_and_its_pickle(transform: Transform) -> None:
    assert parse(transform.spec, (28, 32)) == transform
    assert hash(parse(transform.spec, 28)) == hash(transform)
    assert pickle.loads(pickle.dumps(transform)) == transform


@given(st.integers(1, 4), st.integers(1, 70), st.integers(1, 70), st.sampled_from(DTYPES))
@settings(deadline=None)
def test_a_matrix_is_transposed_in_memory(batch: int, rows: int, columns: int, dtype: str) -> None:
    matrices = torch.from_numpy(random_images((1, rows, columns), dtype, points=batch)[:, 0])
    made = warp.transposed(matrices)
    assert made.is_contiguous()
    assert torch.equal(made, matrices.mT)
    assert torch.equal(warp.transposed(matrices.mT), matrices)


def test_taps_found_in_inference_mode_serve_a_later_gradient() -> None:
    turn = Rotate(12.34)
    with torch.inference_mode():
        turn.copies(torch.zeros(1, 1, 5, 6))
    image = torch.ones(1, 1, 5, 6, requires_grad=True)
    turn.copies(image).sum().backward()
    assert image.grad is not None
    assert image.grad.sum() == pytest.approx(30)


def test_arrays_and_ranges_serve_as_settings() -> None:
    assert Rotate(np.linspace(-5, 5, 4)).angles == tuple(np.linspace(-5, 5, 4))
    assert Crop(range(1, 3)) == Crop([1, 2])


# The strategies give recipes, not transforms: the run-time type checks of a constructor draw random numbers, which a strategy may not.
Recipe = Callable[[], Transform]
borders = st.one_of(st.tuples(st.sampled_from(["edge", "zeros", "reflect"]), st.just(0.0)), st.tuples(st.just("fill"), st.floats(0, 1)))
angles = st.lists(st.floats(-360, 360), min_size=1, max_size=4, unique_by=lambda angle: f"{angle:g}")
leaves = st.one_of(
    st.tuples(st.integers(1, 9), st.sampled_from(list(moved.GRIDS)), borders).map(lambda given: partial(Translate, *given[:2], *given[2])),
    st.tuples(angles, borders).map(lambda given: partial(Rotate, given[0], *given[1])),
    st.tuples(st.floats(0.01, 360), st.integers(2, 20), borders).map(lambda given: partial(Rotate.up_to, *given[:2], *given[2])),
    st.lists(st.integers(1, 9), min_size=1, max_size=6, unique=True).map(lambda cuts: partial(Crop, cuts)),
    st.sampled_from(["horizontal", "vertical"]).map(lambda direction: partial(Flip, direction)),
)


def combined(kind: Callable[..., Transform], first: Recipe, second: Recipe) -> Transform:
    return kind(first(), second())


def union_if_possible(first: Transform, second: Transform) -> Transform:
    return first if set(first.names) & set(second.names) else Union(first, second)


def combinations_of(recipes: st.SearchStrategy[Recipe]) -> st.SearchStrategy[Recipe]:
    return st.tuples(st.sampled_from([Compose, union_if_possible]), recipes, recipes).map(lambda given: partial(combined, *given))


@given(st.recursive(leaves, combinations_of, max_leaves=5))
@settings(deadline=None)
def test_any_transforms_spec_reads_back_as_an_equal_transform(recipe: Recipe) -> None:
    transform = recipe()
    assert parse(transform.spec, 28) == transform


def test_transforms_differ_where_a_setting_differs() -> None:
    assert Translate(2) != Translate(2, border="zeros")
    assert Rotate(30) != Rotate(30, border="reflect")
    assert Crop(2) == Crop([2])
    assert Compose(Flip(), Crop(2)) != Union(Flip(), Crop(2))
    assert Translate(2, border="zeros").names[0] == "translate(+2,+2,zeros)"
    assert Rotate(30, border="fill", fill=0.5).names == ("rotate(30,fill=0.5)",)


# Combinations


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_composition_applies_one_transform_to_the_others_copies(dtype: str) -> None:
    images = random_images((3, 9, 12), dtype)
    first, second, third = Rotate((10, 20, 30)), Translate(1), Flip()
    both, all_three = Compose(first, second), Compose(first, second, third)
    assert len(both) == len(all_three) == 12
    assert both.names[:5] == (*(f"rotate(10)+{name}" for name in second.names), "rotate(20)+translate(+1,+1)")
    for i in range(3):
        after_first = np.ascontiguousarray(first.copies(images)[:, i])
        for j in range(4):
            after_second = np.ascontiguousarray(second.copies(after_first)[:, j])
            np.testing.assert_array_equal(both.copies(images)[:, 4 * i + j], after_second)
            np.testing.assert_array_equal(all_three.copies(images)[:, 4 * i + j], third.copies(after_second)[:, 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_union_puts_copies_side_by_side_in_order(dtype: str) -> None:
    images = random_images((3, 9, 12), dtype)
    parts = Crop((1, 2)), Flip(), Translate(1, "cardinal")
    pool = Union(*parts)
    np.testing.assert_array_equal(pool.copies(images), np.concatenate([part.copies(images) for part in parts], axis=1))
    assert pool.names == ("crop(1)", "crop(2)", "flip", *parts[2].names)


def test_combinations_of_the_same_kind_are_laid_out_flat() -> None:
    a, b, c = Flip(), Crop(1), Rotate(5)
    assert Compose(Compose(a, b), c) == Compose(a, Compose(b, c)) == Compose(a, b, c)
    assert Union(Union(a, b), c) == Union(a, b, c)
    assert Compose(Union(a, b), c).spec == "(flip,crop:1)+rotate:angles=5"


# Custom


def brighter(images: np.ndarray) -> np.ndarray:
    return images[:, None] / 2 + 0.5


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_users_function_makes_copies_of_the_kind_it_is_given(kind: Callable[[np.ndarray], Any]) -> None:
    images = kind(random_images((1, 4, 5), "float32"))
    seen = []

    def two(given_images: Any) -> Any:  # noqa: ANN401  (numpy or torch)
        seen.append(type(given_images))
        stack = np.stack if isinstance(given_images, np.ndarray) else torch.stack
        return stack([given_images, 1 - given_images], 1)

    custom = Custom(two, names=("same", "negative"))
    np.testing.assert_array_equal(custom.copies(images)[:, 1], 1 - images)
    mixed = Union(Compose(Flip(), custom), custom, Crop(1))
    assert mixed.names == ("flip+same", "flip+negative", "same", "negative", "crop(1)")
    np.testing.assert_array_equal(mixed.copies(images)[:, 1], 1 - Flip().copies(images)[:, 0])
    assert set(seen) == {type(images)}


def test_a_function_without_names_makes_one_copy_with_its_own_name() -> None:
    assert Custom(brighter).names == ("brighter",)
    assert Custom(brighter) == Custom(brighter)
    np.testing.assert_array_equal(Custom(brighter).copies(np.zeros((2, 1, 3, 3), np.float32)), np.full((2, 1, 1, 3, 3), 0.5))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda images: images, r"gave the shape \(2, 1, 3, 3\); expected \(2, 1, 1, 3, 3\); name each copy in names="),
        (lambda images: np.stack([images, images], 1), r"gave the shape \(2, 2, 1, 3, 3\); expected \(2, 1, 1, 3, 3\)"),
        (lambda images: images[:, None].astype(np.float64), "gave the dtype float64; expected float32"),
        (lambda images: images[:, None] * 255, "gave pixels from 0 to 255; expected finite floats in \\[0, 1\\]; clip them"),
        (lambda images: images[:, None] - 0.5, "gave pixels from -0.5 to 0.5"),
        (lambda images: images[:, None] * np.float32("nan"), "gave pixels from nan to nan; expected finite"),
        (lambda images: images[:, None].tolist(), "gave list; expected ndarray"),
        (lambda images: torch.from_numpy(images[:, None]), "gave Tensor; expected ndarray"),
    ],
)
def test_a_function_that_gives_something_else_is_an_error(function: Callable[[np.ndarray], Any], message: str) -> None:
    images = np.stack([np.zeros((1, 3, 3), np.float32), np.ones((1, 3, 3), np.float32)])
    with pytest.raises(InputError, match=message):
        Custom(function).copies(images)


# The language


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("translate", 28, Translate(2)),
        ("translate", 32, Translate(2)),
        ("translate", 96, Translate(6)),
        ("translate", 8, Translate(1)),
        ("translate", (40, 28), Translate(2)),
        ("translate:3", 28, Translate(3)),
        ("translate:2:cardinal", 28, Translate(2, "cardinal")),
        ("translate:cardinal:border=reflect", 28, Translate(2, "cardinal", "reflect")),
        ("rotate", 28, Rotate.up_to(30, 15)),
        ("rotate:20", 28, Rotate.up_to(20, 15)),
        ("rotate:5:4", 28, Rotate.up_to(5, 4)),
        ("rotate:7.5:3:border=fill:fill=.5", 28, Rotate((-7.5, 7.5), "fill", 0.5)),
        ("rotate:angles=-1/2.5", 28, Rotate((-1, 2.5))),
        ("rotate:border=zeros", 28, Rotate.up_to(30, 15, "zeros")),
        ("crop", 28, Crop(range(1, 7))),
        ("crop", 224, Crop(range(1, 7))),
        ("crop", 16, Crop((1, 2, 3))),
        ("crop", 8, Crop(1)),
        ("crop:2", 28, Crop(2)),
        ("crop:1-6", 28, Crop(range(1, 7))),
        ("crop:1/4", 28, Crop((1, 4))),
        ("flip", 28, Flip()),
        ("flip:vertical", 28, Flip("vertical")),
        (" rotate:30 , translate + flip ", 28, Union(Rotate.up_to(30, 15), Compose(Translate(2), Flip()))),
        ("(rotate,crop:2)+flip", 28, Compose(Union(Rotate.up_to(30, 15), Crop(2)), Flip())),
        ("(flip)", 28, Flip()),
    ],
)
def test_a_text_names_a_transform(text: str, size: int | tuple[int, int], expected: Transform) -> None:
    assert parse(text, size) == expected


def test_a_text_with_defaults_makes_as_many_copies_as_the_papers_sets() -> None:
    assert [len(parse(text, 28)) for text in ("translate", "rotate", "crop", "flip", "rotate:5:4", "rotate,translate")] == [
        *(4, 14, 6, 1, 4, 18)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shear", "transform 'shear': 'shear' is no transform; expected translate, rotate, crop, flip, for example 'rotate:30,translate"),
        ("", "'' is no transform; expected translate"),
        ("flip,", "'' is no transform; expected translate"),
        ("flip++crop", r"'\+' is no transform"),
        ("flip)", r"'\)' is out of place"),
        ("(flip", "a parenthesis is not closed"),
        ("flip(crop)", r"'\(' is out of place"),
        ("translate:two", r"'translate:two' cannot be read; expected translate\[:PIXELS\]\[:diagonal\|cardinal\]"),
        ("translate:1.5", "'translate:1.5' cannot be read"),
        ("translate:-1", "'translate:-1' cannot be read"),
        ("translate:2:border=mirror", r"cannot be read; expected .*border=edge\|zeros\|reflect\|fill"),
        ("rotate:a", r"'rotate:a' cannot be read; expected rotate\[:MAXIMUM\[:COUNT\]\] or rotate:angles=A/B"),
        ("crop:1-", "'crop:1-' cannot be read; expected crop.*1-6 or 1/3/5"),
        ("flip:sideways", r"'flip:sideways' cannot be read; expected flip\[:horizontal\|vertical\]"),
        ("crop:3-1", "copies: none is made"),
        ("flip,flip", "copies: two are called 'flip'; leave one of them out"),
        ("rotate:30:1", "rotate: 1 angles up to 30; expected at least 2"),
        ("rotate:400", "rotate: 15 angles up to 400; expected .* at most 360 degrees"),
        ("translate:0", "translate: 0 pixels; expected a whole number, at least 1"),
        ("translate:8", "translate: 8 pixels is too far for images of 8 x 9; expected 1 to 7"),
        ("crop:4", "crop: 4 pixels off each side is too much for images of 8 x 9; expected 1 to 3"),
        ("flip+crop:4", "crop: 4 pixels"),
        ("custom:brighter", r"names a function, which a text cannot hold; give augury.Custom\(function\) from Python"),
    ],
)
def test_a_text_that_makes_no_sense_is_an_error_that_says_what_is_possible(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text, (8, 9))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Translate(0), "translate: 0 pixels; expected a whole number, at least 1"),
        (lambda: Translate(2, "up"), "translate: the directions 'up' are unknown; expected one of diagonal, cardinal"),
        (lambda: Translate(2, border="wrap"), "border: 'wrap' is unknown; expected one of edge, zeros, reflect, fill"),
        (lambda: Rotate(5, border="wrap"), "border: 'wrap' is unknown"),
        (lambda: Translate(2, border="fill", fill=255.0), r"fill: 255; expected a number from 0 \(black\) to 1 \(white\)"),
        (lambda: Rotate(5, fill=0.5), "fill: 0.5 has no effect with border='edge'; give border='fill' as well"),
        (lambda: Rotate(float("nan")), "rotate: an angle of nan; expected degrees from -360 to 360"),
        (lambda: Rotate(361), "rotate: an angle of 361"),
        (lambda: Rotate(()), "copies: none is made; expected at least one"),
        (lambda: Rotate((5, 5)), r"copies: two are called 'rotate\(5\)'"),
        (lambda: Rotate.up_to(0, 4), "rotate: 4 angles up to 0; expected at least 2, up to a maximum above 0"),
        (lambda: Crop(0), "crop: 0 pixels; expected a whole number, at least 1"),
        (lambda: check_pixels("crop", 2.5), "crop: 2.5 pixels; expected a whole number"),
        (lambda: Crop((2, -1)), "crop: -1 pixels"),
        (lambda: Crop(()), "copies: none is made"),
        (lambda: Flip("diagonal"), "flip: the direction 'diagonal' is unknown; expected horizontal or vertical"),
        (lambda: Compose(Flip()), "Compose: 1 transforms; expected two or more"),
        (lambda: Union(Flip(), Flip()), "copies: two are called 'flip'"),
        (lambda: Custom(brighter, names=()), "copies: none is made"),
        (lambda: Custom(brighter, names=("a", "a")), "copies: two are called 'a'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_an_error(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[0.5]], "images: got list; expected a numpy array or a torch tensor"),
        (np.zeros((28, 28), np.float32), r"images: shape \(28, 28\); expected \(points, channels, height, width\); give one image as"),
        (np.zeros((2, 1, 0, 5), np.float32), r"images: shape \(2, 1, 0, 5\)"),
        (np.zeros((2, 1, 5, 5), np.int64), "images: dtype int64; expected uint8, float32 or float64; convert the images first"),
        (torch.zeros((2, 1, 5, 5), dtype=torch.float16), "images: dtype float16"),
    ],
)
def test_what_is_no_batch_of_images_is_an_error(images: list[list[float]] | np.ndarray | torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_images(images)
    if not isinstance(images, list):
        for transform in (Flip(), Compose(Flip(), Crop(1)), Custom(brighter)):
            with pytest.raises(InputError, match=message):
                transform.copies(images)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (Translate(5), "translate: 5 pixels is too far for images of 9 x 5; expected 1 to 4"),
        (Crop((1, 3)), "crop: 3 pixels off each side is too much for images of 9 x 5; expected 1 to 2"),
        (Compose(Flip(), Translate(5)), "translate: 5 pixels is too far"),
        (Union(Flip(), Crop(3)), "crop: 3 pixels"),
    ],
)
def test_images_too_small_for_a_transform_are_an_error(transform: Transform, message: str) -> None:
    with pytest.raises(InputError, match=message):
        transform.copies(np.zeros((0, 1, 9, 5), np.uint8))


def test_a_single_pixel_can_be_neither_shifted_nor_cropped() -> None:
    for transform in (Translate(1), Crop(1)):
        with pytest.raises(InputError, match="images of 1 x 1; expected larger images"):
            transform.copies(np.zeros((1, 1, 1, 1), np.uint8))
