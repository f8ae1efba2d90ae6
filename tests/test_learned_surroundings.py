from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from augury.learned import BoundedTransformation
from augury.learned.surroundings import REACH, SOFTNESS, focused, lit, thickened

IMAGES = torch.rand(4, 3, 12, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NOTHING, ALL = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)


def test_an_amount_of_zero_changes_nothing_to_the_last_bit() -> None:
    for changed in (focused(IMAGES, NOTHING, 1.5), thickened(IMAGES, NOTHING), lit(IMAGES, NOTHING, NOTHING)):
        assert_array_equal(changed, IMAGES)


@pytest.mark.parametrize("deviation", [0.5, 1.75, 6.0])
def test_a_whole_blur_is_scipys_gaussian(deviation: float) -> None:
    reach = math.ceil(REACH * deviation) / deviation
    theirs = ndimage.gaussian_filter(IMAGES.numpy(), deviation, mode="nearest", truncate=reach, axes=(2, 3))
    assert_allclose(focused(IMAGES, ALL, deviation), theirs, atol=1e-12)


def test_sharpening_undoes_to_first_order_what_blurring_does() -> None:
    little = ALL * 1e-4
    assert_allclose(focused(focused(IMAGES, little, 1.0), -little, 1.0), IMAGES, atol=2e-8)


def test_strokes_grow_towards_the_largest_of_nine_and_shrink_towards_the_smallest() -> None:
    within = math.log(9) / SOFTNESS
    for amount, ranked in ((ALL, ndimage.maximum_filter), (-ALL, ndimage.minimum_filter)):
        theirs = ranked(IMAGES.numpy(), size=(1, 1, 3, 3), mode="nearest")
        assert np.abs(thickened(IMAGES, amount).numpy() - theirs).max() <= within


def test_even_pictures_keep_their_grey_in_any_focus_and_stroke() -> None:
    even = torch.full((4, 1, 8, 8), 0.3, dtype=torch.float64)
    assert_allclose(focused(thickened(even, ALL), -ALL, 0.5), even, atol=1e-12)


def test_light_rises_linearly_to_the_sides() -> None:
    found = lit(torch.ones(1, 1, 3, 5), torch.tensor([0.4]), torch.tensor([-0.1]))[0, 0]
    assert_allclose(found[1], [0.6, 0.8, 1, 1.2, 1.4], rtol=1e-6)
    assert_allclose(found[:, 2], [1.1, 1, 0.9], rtol=1e-6)


def test_every_amount_has_the_derivative_of_its_finite_differences() -> None:
    small = IMAGES[:, :1, :5, :5].clone().requires_grad_()
    amounts = torch.tensor([0.3, -0.4, 0.7, -0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, a: focused(x, a, 1.0), (small, amounts))
    assert torch.autograd.gradcheck(thickened, (small, amounts))
    assert torch.autograd.gradcheck(lit, (small, amounts, -amounts.detach()))


def test_each_component_of_tau_drives_its_own_change() -> None:
    G = BoundedTransformation(1, 16, 16, blur=0.8, stroke=0.5, light=0.4, clamp=False).double()
    images = IMAGES[:1, :1].repeat(1, 1, 2, 2)[..., :16, :16]
    amount = torch.tensor([0.5], dtype=torch.float64)
    nothing = torch.zeros_like(amount)
    expected = {
        "blur": focused(images, 0.8 * amount, 1.0),
        "stroke": thickened(images, 0.5 * amount),
        "light_x": lit(images, 0.4 * amount, nothing),
        "light_y": lit(images, nothing, 0.4 * amount),
    }
    for name, changed in expected.items():
        tau = torch.zeros(1, G.tau_size, dtype=torch.float64)
        tau[0, G.names.index(name)] = 0.5
        assert_allclose(G(images, tau), changed, atol=1e-12)


def test_light_falls_on_what_brightness_added_and_contrast_left() -> None:
    G = BoundedTransformation.only(1, 8, 8, light=0.5, brightness=0.2, contrast=0.6, clamp=False)
    dark, tau = torch.zeros(1, 1, 8, 8), torch.zeros(1, G.tau_size)
    for name, value in {"light_x": 1.0, "brightness": 0.5, "contrast": -1.0}.items():
        tau[0, G.names.index(name)] = value
    haze = 0.1 + 0.6 / 2
    assert_allclose(G(dark, tau)[0, 0], (haze * (1 + 0.5 * torch.linspace(-1, 1, 8))).expand(8, 8), rtol=1e-6)
    parts = G.parts(dark, tau)
    assert_allclose(parts.warped + parts.change, parts.images, atol=1e-7)
