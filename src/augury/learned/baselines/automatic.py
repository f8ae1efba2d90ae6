"""RandAugment and TrivialAugment: published policies without anything to learn, on kornia's operations.

Cubuk et al., *RandAugment* (2020); Müller and Hutter, *TrivialAugment* (2021). kornia's own classes draw one operation for a whole batch,
and bound some operations otherwise (a shear of 0.3 becomes 54 degrees, brightness is added); here each image has its own operation, and
the bounds are those of the second paper's space "RA".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from kornia import enhance
from kornia.geometry import transform
from torch import Tensor

from augury.errors import InputError
from augury.learned.baselines.pixels import Images
from augury.training.augment import Moment

Strengths = Float[Tensor, " points"]

LEVELS = 30  # the strongest; 0 is the weakest
ROTATION, SHEAR, SHIFT, ENHANCEMENT, BITS = 30.0, 0.3, 10 / 32, 0.9, 4  # at the strongest


@dataclass(frozen=True)
class RandAugment:
    """Each image through `n` operations, drawn uniformly and with replacement, all of one strength and with random signs.

    Parameters
    ----------
    n
        How many operations; 0: none.
    m
        Their strength, from 0 to 30.
    """

    n: int = 2
    m: int = 9

    def __post_init__(self) -> None:
        if self.n < 0:
            raise InputError(f"n: {self.n}; expected how many operations follow each other, at least 0, such as 2")
        if not 0 <= self.m <= LEVELS:
            raise InputError(f"m: {self.m}; expected a strength from 0 to {LEVELS}, such as 9")

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, each changed by operations of its own."""
        del labels
        for _ in range(self.n):
            images = _applied(images, torch.full((len(images),), self.m), moment.generator)
        return images


@dataclass(frozen=True)
class TrivialAugment:
    """Each image through one operation, with a strength and a sign of its own, all uniformly drawn."""

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The images, each changed by an operation of its own."""
        del labels
        return _applied(images, torch.randint(LEVELS + 1, (len(images),), generator=moment.generator), moment.generator)


def _applied(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """One operation an image, those of a kind together."""
    chosen = torch.randint(len(OPERATIONS), (len(images),), generator=generator)
    signs = 2 * torch.randint(2, (len(images),), generator=generator) - 1
    strengths = (signs * levels / LEVELS).to(images)
    result = torch.empty_like(images)
    for number, operation in enumerate(OPERATIONS.values()):
        points = (chosen == number).nonzero()[:, 0].to(images.device)
        if len(points):
            result[points] = operation(images[points], strengths[points])
    return result


def _autocontrast(images: Images, _: Strengths) -> Images:
    """Each channel stretched to the whole range; one that is all alike stays."""
    alike = images.amax(dim=(2, 3), keepdim=True) == images.amin(dim=(2, 3), keepdim=True)
    return torch.where(alike, images, enhance.normalize_min_max(images))


def _posterized(images: Images, strengths: Strengths) -> Images:
    """With 8 to 4 bits a channel. A quarter of a grey level keeps 8-bit pixels from falling below their own level."""
    bits = 8 - (BITS * strengths.abs()).round().long()
    return enhance.posterize((images + 0.25 / 255).clamp(0, 1), bits)


def _solarized(images: Images, strengths: Strengths) -> Images:
    """Inverted from a threshold on: from beyond white down to black."""
    return enhance.solarize(images, (1 - strengths.abs()) * 256 / 255)


def _shifted(images: Images, strengths: Strengths, axis: int) -> Images:
    pixels = torch.zeros(len(images), 2).to(images)
    pixels[:, axis] = strengths * SHIFT * images.shape[3 - axis]
    return transform.translate(images, pixels)


def _sheared(images: Images, strengths: Strengths, axis: int) -> Images:
    factors = torch.zeros(len(images), 2).to(images)
    factors[:, axis] = strengths * SHEAR
    return transform.shear(images, factors)


OPERATIONS: dict[str, Callable[[Images, Strengths], Images]] = {
    "identity": lambda images, _: images,
    "autocontrast": _autocontrast,
    "equalize": lambda images, _: enhance.equalize(images),
    "rotate": lambda images, strengths: transform.rotate(images, ROTATION * strengths),
    "solarize": _solarized,
    "color": lambda images, strengths: enhance.adjust_saturation_with_gray_subtraction(images, 1 + ENHANCEMENT * strengths),
    "posterize": _posterized,
    "contrast": lambda images, strengths: enhance.adjust_contrast_with_mean_subtraction(images, 1 + ENHANCEMENT * strengths),
    "brightness": lambda images, strengths: enhance.adjust_brightness_accumulative(images, 1 + ENHANCEMENT * strengths),
    "sharpness": lambda images, strengths: enhance.sharpness(images, 1 + ENHANCEMENT * strengths),
    "shear-x": lambda images, strengths: _sheared(images, strengths, 0),
    "shear-y": lambda images, strengths: _sheared(images, strengths, 1),
    "translate-x": lambda images, strengths: _shifted(images, strengths, 0),
    "translate-y": lambda images, strengths: _shifted(images, strengths, 1),
}
