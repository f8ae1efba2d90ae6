"""Deployment shifts keep one contract, and each does what its parameters say; labels are drawn balanced and told apart."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter1d, maximum_filter

from augury.data import Examples, from_arrays
from augury.errors import InputError
from augury.experiment.learning import SCARCITIES, SHIFTS, Blurred, Lit, Placed, Shift, Thick, Tinted, draw_labels, shifted

SIZES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
NAMED = [(data, name) for data, shifts in SHIFTS.items() for name in shifts]


def pictures(points: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).random((points, *shape), dtype=np.float32)


@pytest.mark.parametrize(("data", "name"), NAMED)
def test_every_shift_keeps_the_contract(data: str, name: str) -> None:
    shift, images = SHIFTS[data][name], pictures(7, *SIZES[data])
    before = images.copy()
    made = shift.apply(images, 3)
    assert made.shape == images.shape
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    assert_array_equal(images, before)
    assert_array_equal(shift.apply(images, 3), made)  # deterministic
    assert np.abs(shift.apply(images, 4) - made).max() > 0.01
    assert_allclose(shift.apply(images[:3], 3), made[:3], atol=1e-6)  # whatever comes after
    assert_array_equal(shift.apply(images[:0], 3), images[:0])


@pytest.mark.parametrize(("data", "name"), NAMED)
def test_each_image_has_draws_of_its_own(data: str, name: str) -> None:
    made = SHIFTS[data][name].apply(np.repeat(pictures(1, *SIZES[data]), 9, axis=0), 0)
    assert len({image.tobytes() for image in made}) == 9


@pytest.mark.parametrize(("data", "name"), NAMED)
def test_bytes_stay_bytes_and_are_the_same_picture(data: str, name: str) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (5, *SIZES[data]), dtype=np.uint8)
    made = SHIFTS[data][name].apply(levels, 0)
    assert made.dtype == np.uint8
    assert_allclose(made / 255, SHIFTS[data][name].apply(levels.astype(np.float32) / 255, 0), atol=0.51 / 255)


def test_both_data_sets_have_at_least_four_shifts() -> None:
    assert min(map(len, SHIFTS.values())) >= 4


def test_many_images_are_changed_as_few_are() -> None:
    images = np.repeat(pictures(1, 1, 5, 6), 4100, axis=0)
    assert_allclose(Thick((0, 1)).apply(images, 0)[:10], Thick((0, 1)).apply(images[:10], 0), atol=1e-6)
    assert len({image.tobytes() for image in Thick((0, 1)).apply(images, 0)}) > 4000  # the second block goes on with the draws


def test_shifted_points_keep_labels_and_origin() -> None:
    points = from_arrays(pictures(6, 1, 8, 8), np.arange(6) % 2)
    found = shifted(points, Thick((1, 1)), 0)
    assert_array_equal(found.labels, points.labels)
    assert_array_equal(found.origin, points.origin)
    assert_array_equal(found.images, Thick((1, 1)).apply(points.images, 0))


def test_a_full_turn_of_90_degrees_is_counter_clockwise() -> None:
    images = pictures(2, 3, 9, 9)
    assert_allclose(Placed(turn=(90, 90)).apply(images, 0), np.rot90(images, axes=(2, 3)), atol=1e-4)


def test_placed_images_are_read_where_the_parameters_say() -> None:
    rows, columns = (grid.astype(np.float32) for grid in np.mgrid[:21, :31])
    images = np.stack([rows, columns])[None] / 40
    inner = (slice(6, -6), slice(9, -9))

    def source(shift: Shift) -> tuple[np.ndarray, np.ndarray]:
        down, right = 40 * shift.apply(images, 0)[0]
        return down[inner], right[inner]

    down, right = rows[inner] - 10, columns[inner] - 15
    cases: dict[Shift, tuple[np.ndarray, np.ndarray]] = {
        Placed(right=(2, 2), down=(-1, -1)): (down + 1, right - 2),
        Placed(size=(1.25, 1.25)): (down / 1.25, right / 1.25),
        Placed(lean=(0.5, 0.5)): (down, right + 0.5 * down),  # what is further up comes from further left, and is moved to the right
        Placed(turn=(180, 180), right=(1, 1)): (-down, 1 - right),
    }
    for shift, expected in cases.items():
        assert_allclose(source(shift), np.stack(expected) + np.array([10, 15])[:, None, None], atol=1e-3)


def test_draws_are_uniform_in_their_range() -> None:
    images = np.full((2000, 1, 2, 2), 0.5, np.float32)
    made = Lit(contrast=(0.2, 0.6)).apply(images, 0)[:, 0, 0, 0]
    assert_allclose(np.sort(made), np.linspace(0.1, 0.3, 2000), atol=0.01)


def test_light_is_haze_and_contrast_times_a_slope() -> None:
    images = pictures(40, 1, 11, 11)
    made = Lit(contrast=(0.5, 0.5), haze=(0.1, 0.1), slope=(0.4, 0.4)).apply(images, 0)
    light = made / (0.1 + 0.5 * images)
    assert_allclose(light[:, 0, 5, 5], 1, atol=1e-5)
    down, across = light[:, 0, 10, 5] - 1, light[:, 0, 5, 10] - 1
    assert_allclose(np.hypot(down, across), 0.4, atol=1e-4)
    assert_allclose(light[:, 0, 0, 0], 1 - down - across, atol=1e-4)


def test_thick_strokes_are_the_brightest_of_nine_pixels() -> None:
    images = pictures(3, 1, 8, 9)
    assert_allclose(Thick((1, 1)).apply(images, 0), maximum_filter(images, (1, 1, 3, 3), mode="nearest"))
    assert_allclose(Thick((0.5, 0.5)).apply(images, 0), (images + maximum_filter(images, (1, 1, 3, 3), mode="nearest")) / 2, atol=1e-6)


def test_a_blur_is_a_gaussian_that_leaves_an_even_picture_even() -> None:
    images = pictures(2, 3, 40, 40)
    expected = gaussian_filter1d(gaussian_filter1d(images, 1.5, axis=2, truncate=20), 1.5, axis=3, truncate=20)
    assert_allclose(Blurred((1.5, 1.5)).apply(images, 0)[..., 12:-12, 12:-12], expected[..., 12:-12, 12:-12], atol=1e-5)
    even = np.full((1, 1, 9, 9), 0.4, np.float32)
    assert_allclose(Blurred((2, 2)).apply(even, 0), even, atol=1e-6)


def test_a_tint_fades_colours_and_then_colours_the_light() -> None:
    images = pictures(2, 3, 4, 4)
    grey = np.einsum("nchw,c->nhw", images, [0.299, 0.587, 0.114])[:, None]
    faded = (grey + images) / 2
    made = Tinted(saturation=(0.5, 0.5), red=(1, 1), green=(0.8, 0.8), blue=(0.4, 0.4)).apply(images, 0)
    assert_allclose(made, faded * np.array([1, 0.8, 0.4])[:, None, None], atol=1e-6)


def labelled(per_class: int = 30, classes: int = 3) -> Examples:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(classes), per_class))
    return from_arrays(pictures(len(labels), 1, 2, 2), labels)


def test_labels_are_balanced_apart_and_in_the_sets_order() -> None:
    points = labelled()
    labels = draw_labels(points, train=8, target=4, seed=0)
    assert labels.target is not None
    assert_array_equal(np.bincount(labels.train.labels), [8, 8, 8])
    assert_array_equal(np.bincount(labels.target.labels), [4, 4, 4])
    assert not set(labels.train.origin) & set(labels.target.origin)
    for part in (labels.train, labels.target):
        places = [list(points.origin).index(origin) for origin in part.origin]
        assert places == sorted(places)
        assert_array_equal(part.images, points.images[places])
    assert (labels.count, labels.words) == (36, "36 labels: 24 to train on, 12 as target")


def test_the_same_labels_are_divided_otherwise_by_another_target() -> None:
    def drawn(train: int, target: int, seed: int = 0) -> set[str]:
        labels = draw_labels(labelled(), train, target, seed)
        return set(labels.train.origin) | set(() if labels.target is None else labels.target.origin)

    assert drawn(12, 0) == drawn(8, 4) == drawn(1, 11)
    assert drawn(6, 0) < drawn(12, 0)
    assert drawn(12, 0, seed=1) != drawn(12, 0)
    assert draw_labels(labelled(), 12, 0, 0).words == "36 labels, all to train on"


def test_more_labels_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="class '2' has 30 points, and 31 are to be drawn"):
        draw_labels(from_arrays(pictures(92, 1, 2, 2), np.r_[np.repeat([0, 1], 31), np.full(30, 2)]), 30, 1, 0)
    with pytest.raises(InputError, match="0 and 3 points of each class; expected at least 1 to train on"):
        draw_labels(labelled(), 0, 3, 0)
    with pytest.raises(InputError, match="target: 60 of the 60 labels of each class"):
        SCARCITIES["mnist-1"].draw(0, target=60)


@pytest.mark.parametrize(("name", "count", "pool"), [("mnist-1", 600, 60_000), ("mnist-10", 6000, 60_000), ("cifar10-10", 4000, 40_000)])
def test_scarce_labels_are_the_share_of_the_real_sets(name: str, count: int, pool: int) -> None:
    if not os.environ.get("AUGURY_DATA"):
        pytest.skip("AUGURY_DATA is not set: it names the folder that holds MNIST and CIFAR-10")
    try:
        labels = SCARCITIES[name].draw(0, target=20)
    except InputError as error:
        pytest.skip(f"AUGURY_DATA lacks the set: {error}")
    assert labels.target is not None
    assert (labels.count, len(labels.target)) == (count, 200)
    assert max(int(origin.split("/")[2]) for origin in (*labels.train.origin, *labels.target.origin)) < pool
