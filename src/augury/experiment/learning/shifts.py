"""Deployment as it differs from the data at hand: every image changed, each by draws of its own from given ranges.

The changes are computed apart from every augmentation of the package, so that none of them shares the world's own formulas.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from augury.data import Examples
from augury.data.examples import Images
from augury.transforms.border import Real

Pixels = Float[Tensor, "points channels height width"]
Uniform = Float[Tensor, "points draws"]
Range = tuple[Real, Real]

BLOCK = 4096  # images worked on at a time
BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue


@dataclass(frozen=True)
class Shift(ABC):
    """A change of all images that their labels survive.

    An image's draws are a function of the seed and of its place in the array, whatever else is in it.
    """

    @property
    @abstractmethod
    def draws(self) -> int:
        """How many random numbers each image needs."""

    @abstractmethod
    def change(self, images: Pixels, u: Uniform) -> Pixels:
        """The images as deployed, before they are cut off at black and white; `u` are numbers from [0, 1)."""

    def apply(self, images: Images, seed: int) -> Images:
        """The images as deployed, of the same type: uint8, rounded, or float32 in [0, 1]."""
        u = torch.from_numpy(np.random.default_rng(seed).random((len(images), self.draws), dtype=np.float32))
        blocks = [self._applied(images[start : start + BLOCK], u[start : start + BLOCK]) for start in range(0, len(images), BLOCK)]
        return np.concatenate(blocks) if blocks else images

    def _applied(self, images: Images, u: Tensor) -> Images:
        white = 255 if images.dtype == np.uint8 else 1
        changed = white * self.change(torch.tensor(images).float() / white, u).clamp(0, 1)
        return (changed.round().to(torch.uint8) if white == 255 else changed).numpy()


def shifted(points: Examples, shift: Shift, seed: int) -> Examples:
    """The same labelled points with their images as deployed."""
    return replace(points, images=shift.apply(points.images, seed))


@dataclass(frozen=True)
class Placed(Shift):
    """Seen from elsewhere: turned, slanted, shrunk and off centre.

    Parameters
    ----------
    turn
        Degrees, counter-clockwise.
    lean
        Pixels to the right for each pixel further up.
    size
        Times the old one.
    right, down
        Pixels.
    border
        What lies around: `zeros` (black), `border` (the edge repeated) or `reflection`, as torch's `grid_sample` has them.
    """

    turn: Range = (0, 0)
    lean: Range = (0, 0)
    size: Range = (1, 1)
    right: Range = (0, 0)
    down: Range = (0, 0)
    border: str = "zeros"

    @property
    def draws(self) -> int:
        """One for each of the five."""
        return 5

    def change(self, images: Pixels, u: Uniform) -> Pixels:
        """First leaned, then turned, sized and moved."""
        ranges = (self.turn, self.lean, self.size, self.right, self.down)
        turn, lean, size, right, down = (_between(column, limits) for column, limits in zip(u.unbind(1), ranges, strict=True))
        cos, sin = turn.deg2rad().cos(), turn.deg2rad().sin()
        height, width = images.shape[2:]
        # Rows of the inverse map, from where a pixel is shown to where it was: x - right and y - down are turned back, then leaned back.
        back = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1) / size[:, None, None]
        back[:, 0] += lean[:, None] * back[:, 1]
        moved = -(back @ torch.stack([right, down], 1)[:, :, None])
        halves = torch.tensor([width / 2, height / 2])
        theta = torch.cat([back * halves / halves[:, None], moved / halves[:, None]], dim=2)
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, padding_mode=self.border, align_corners=False)


@dataclass(frozen=True)
class Lit(Shift):
    """In another light: paler, hazy, and brighter towards one side.

    Parameters
    ----------
    contrast
        What is left of it.
    haze
        Added to every pixel.
    slope
        How much brighter one side is than the middle, and darker the other, as a share; the direction is drawn too.
    """

    contrast: Range
    haze: Range = (0, 0)
    slope: Range = (0, 0)

    @property
    def draws(self) -> int:
        """Contrast, haze, slope and its direction."""
        return 4

    def change(self, images: Pixels, u: Uniform) -> Pixels:
        """The light times pixel and haze."""
        ranges = (self.contrast, self.haze, self.slope, (0, 2 * math.pi))
        contrast, haze, slope, direction = (_between(u[:, i], limits)[:, None, None] for i, limits in enumerate(ranges))
        down, across = (torch.linspace(-1, 1, side) for side in images.shape[2:])
        light = 1 + slope * (direction.cos() * across + direction.sin() * down[:, None])
        return light[:, None] * (contrast[:, None] * images + haze[:, None])


@dataclass(frozen=True)
class Thick(Shift):
    """Written with a thicker pen: towards the brightest of the 3 x 3 pixels around, by a share."""

    share: Range

    @property
    def draws(self) -> int:
        """The share."""
        return 1

    def change(self, images: Pixels, u: Uniform) -> Pixels:
        """Thicker strokes."""
        return images.lerp(functional.max_pool2d(images, 3, stride=1, padding=1), _between(u[:, 0], self.share)[:, None, None, None])


@dataclass(frozen=True)
class Blurred(Shift):
    """Out of focus: a Gaussian of so many pixels' deviation; at the border, what lies within the picture counts."""

    deviation: Range

    @property
    def draws(self) -> int:
        """The deviation."""
        return 1

    def change(self, images: Pixels, u: Uniform) -> Pixels:
        """Smoothed images."""
        deviation = _between(u[:, 0], self.deviation)[:, None, None]
        rows, columns = (_weights(side, deviation)[:, None] for side in images.shape[2:])
        smooth: Tensor = rows @ images @ columns.transpose(2, 3)
        return smooth


@dataclass(frozen=True)
class Tinted(Shift):
    """RGB images with faded colours under coloured light.

    Parameters
    ----------
    saturation
        What is left of the differences from grey.
    red, green, blue
        The light's strength in each.
    """

    saturation: Range
    red: Range
    green: Range
    blue: Range

    @property
    def draws(self) -> int:
        """One for each of the four."""
        return 4

    def change(self, images: Pixels, u: Uniform) -> Pixels:
        """First faded, then tinted."""
        saturation = _between(u[:, 0], self.saturation)[:, None, None, None]
        light = torch.stack([_between(u[:, 1 + i], limits) for i, limits in enumerate((self.red, self.green, self.blue))], 1)
        grey = (images * torch.tensor(BRIGHTNESS)[:, None, None]).sum(1, keepdim=True)
        return (grey + saturation * (images - grey)) * light[:, :, None, None]


SHIFTS: dict[str, dict[str, Shift]] = {
    "mnist": {
        "turned": Placed(turn=(20, 50), size=(0.8, 0.8)),
        "slanted": Placed(lean=(0.4, 0.7), right=(1, 3), down=(1, 3)),
        "lit": Lit(contrast=(0.2, 0.45), haze=(0.15, 0.4), slope=(0.3, 0.8)),
        "thick": Thick((0.7, 1)),
        "blurred": Blurred((1, 1.8)),
    },
    "cifar10": {
        "turned": Placed(turn=(20, 50), size=(0.8, 0.8), border="reflection"),
        "lit": Lit(contrast=(0.15, 0.35), haze=(0.05, 0.25), slope=(0.3, 0.8)),
        "tinted": Tinted(saturation=(0, 0.4), red=(0.8, 1), green=(0.5, 0.75), blue=(0.15, 0.4)),
        "far": Placed(size=(0.7, 0.7), right=(-3, 3), down=(-3, 3), border="reflection"),
        "blurred": Blurred((0.8, 1.2)),
    },
}


def _between(u: Tensor, limits: Range) -> Tensor:
    low, high = limits
    return low + (high - low) * u


def _weights(size: int, deviation: Tensor) -> Tensor:
    """How much each pixel of an axis counts for each other one, for every image."""
    places = torch.arange(float(size))
    weights = (-((places - places[:, None]) / deviation).square() / 2).exp()
    return weights / weights.sum(dim=2, keepdim=True)
