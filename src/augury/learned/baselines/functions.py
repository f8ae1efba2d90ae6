"""The transformation functions of TANDA's code for MNIST and CIFAR-10."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from augury.learned.baselines.pixels import Amounts, Images, brighter, coloured, contrasted, dilated, eroded, hue_turned
from augury.learned.transformation import places
from augury.transforms.border import Real

SWIRLED = 100 * math.log(2) / 5  # pixels, over which a swirl's turn falls by the factor e: scikit-image's, for a radius of 100
SMOOTHING = 1.0  # pixels, of an elastic deformation

Flow = Float[Tensor, "2 height width"]


class Function(NamedTuple):
    """What it does, and how much."""

    kind: str
    amount: Real = 0


def _each(kind: str, *amounts: Real) -> tuple[Function, ...]:
    return tuple(Function(kind, amount) for amount in amounts)


def _both(kind: str, *amounts: Real) -> tuple[Function, ...]:
    return tuple(Function(kind, sign * amount) for amount in amounts for sign in (1, -1))


SETS: dict[str, tuple[Function, ...]] = {
    "mnist": (
        *_both("rotate", 2.5, 5, 10),
        *_each("zoom", 0.9, 1.1),
        *_both("shear", 0.1, 0.2, 0.4),
        *_both("swirl", 0.1, 0.2, 0.4),
        *_each("elastic", 1, 1.25, 1.5),
        Function("erode"),
        Function("dilate"),
    ),
    "cifar10": (
        *_both("rotate", 2.5, 5),
        *_each("zoom", 0.9, 1.1, 0.75, 1.25),
        *_both("shear", 0.1, 0.25),
        *_both("swirl", 0.1, 0.25),
        *_both("hue", 0.1, 0.25),
        *_each("contrast", 0.75, 1.25, 0.5, 1.5),
        *_each("brightness", 0.75, 1.25, 0.5, 1.5),
        *_each("colour", 0.75, 1.25, 0.5, 1.5),
        Function("flip"),
    ),
}

PIXELWISE: dict[str, Callable[[Images, Amounts], Images]] = {
    "erode": lambda images, _: eroded(images),
    "dilate": lambda images, _: dilated(images),
    "flip": lambda images, _: images.flip(3),
    "hue": hue_turned,
    "contrast": contrasted,
    "brightness": brighter,
    "colour": coloured,
}


@lru_cache(maxsize=256)
def flow_of(function: Function, height: int, width: int) -> Flow:
    """How far from each pixel a warp that is always the same fetches its value, in pixels, to the right and down."""
    return WARPS[function.kind](function.amount, places(height, width))


def elastic_flow(amount: Real, height: int, width: int, generator: torch.Generator) -> Flow:
    """Displacements uniform on [-1, 1], smoothed by a Gaussian with nothing beyond the border, times `amount` (Simard et al., 2003)."""
    noise = 2 * torch.rand(2, height, width, generator=generator) - 1
    flow: Tensor = amount * (_smoother(height) @ noise @ _smoother(width).T)
    return flow


@lru_cache(maxsize=8)
def _smoother(size: int) -> Float[Tensor, "size size"]:
    return torch.from_numpy(gaussian_filter1d(np.eye(size, dtype=np.float32), SMOOTHING, axis=0, mode="constant"))


def _rotated(degrees: Real, place: Flow) -> Flow:
    """About the centre; positive turns counter-clockwise."""
    return _turned(torch.tensor(math.radians(degrees)), place) - place


def _zoomed(factor: Real, place: Flow) -> Flow:
    """About the centre; above 1 enlarges."""
    return place / factor - place


def _sheared(radians: Real, place: Flow) -> Flow:
    """About the centre; the code's shears are about a corner, and so shift the picture too."""
    down = place[1]
    return torch.stack([-math.sin(radians) * down, (math.cos(radians) - 1) * down])


def _swirled(strength: Real, place: Flow) -> Flow:
    """About a point half a pixel to the right of the centre and below it, as scikit-image has it."""
    centred = place - 0.5
    return _turned(strength * (-centred.square().sum(dim=0).sqrt() / SWIRLED).exp(), centred) - centred


def _turned(angle: Tensor, place: Flow) -> Flow:
    """Where the pixel at each place comes from, if what is there is turned counter-clockwise."""
    x, y = place
    return torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()])


WARPS: dict[str, Callable[[Real, Flow], Flow]] = {"rotate": _rotated, "zoom": _zoomed, "shear": _sheared, "swirl": _swirled}
