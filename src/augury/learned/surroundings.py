"""Changes of appearance by a pixel's surroundings or place, each by an amount for each image; an amount of 0 changes nothing, exactly."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Pixels = Float[Tensor, "points channels height width"]
Amounts = Float[Tensor, " points"]

SOFTNESS = 16.0  # of the largest of nine values: it lies at most log(9) / 16 below
REACH = 4  # how many deviations a Gaussian counts for


def focused(images: Pixels, amount: Amounts, deviation: float) -> Pixels:
    """Each pixel moved by a share towards the mean of its surroundings, weighed by a Gaussian of so many pixels: blurred, or sharpened.

    Beyond the border the edge is repeated. An amount of 1 is the blurred image; a negative one sharpens (an unsharp mask).
    """
    return images + _each(amount) * (_smoothed(images, deviation) - images)


def thickened(images: Pixels, amount: Amounts) -> Pixels:
    """Each pixel moved by a share towards the lightest of the 3 x 3 around it; for a negative amount, towards the darkest.

    Light strokes on dark ground grow thicker, or thinner. The largest value is the smooth one, log mean exp(s x) / s, so that derivatives
    reach all nine pixels.
    """
    share = _each(amount)
    lightest, darkest = (_softly_largest(images, sign * SOFTNESS) for sign in (1, -1))
    return images + share.clamp(min=0) * (lightest - images) - share.clamp(max=0) * (darkest - images)


def lit(images: Pixels, across: Amounts, down: Amounts) -> Pixels:
    """Each pixel in a light that rises across and down the image: times 1 at its centre, 1 + amount at the right, or the lower, end."""
    rows, columns = (torch.linspace(-1, 1, side, dtype=images.dtype, device=images.device) for side in images.shape[2:])
    return images * (1 + _each(across) * columns + _each(down) * rows[:, None])


def tinted(images: Pixels, amounts: Float[Tensor, "points channels"]) -> Pixels:
    """Each channel in a light that is stronger by a share of its own: times 1 + amount."""
    return images * (1 + amounts[:, :, None, None])


def _each(amount: Amounts) -> Tensor:
    return amount[:, None, None, None]


def _smoothed(images: Pixels, deviation: float) -> Pixels:
    reach = math.ceil(REACH * deviation)
    distance = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device) / deviation
    weights = (-distance.square() / 2).exp()
    weights = (weights / weights.sum()).expand(images.shape[1], 1, 1, -1)
    padded = functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(padded, weights.transpose(2, 3), groups=images.shape[1])
    return functional.conv2d(rows, weights, groups=images.shape[1])


def _softly_largest(images: Pixels, softness: float) -> Pixels:
    padded = functional.pad((images * softness).exp(), (1, 1, 1, 1), mode="replicate")
    return functional.avg_pool2d(padded, 3, stride=1).log() / softness
