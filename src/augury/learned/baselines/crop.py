"""Random crops and mirror images: what nearly every training of an image classifier does anyway."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from augury.errors import InputError
from augury.training.augment import Moment
from augury.transforms.border import Border, Real


@dataclass(frozen=True)
class RandomCrop:
    """Each image shifted by whole pixels, and perhaps mirrored: padded on all sides, then a random window of the old size.

    Parameters
    ----------
    pixels
        The largest shift in each direction; every one up to it is equally likely. 0: none.
    flip
        Whether left and right change places with probability 1/2.
    border, fill
        What comes in from beyond the image: `edge`, `zeros`, `reflect`, or `fill` with a grey level from 0 to 1; see `Border`.
    """

    pixels: int
    flip: bool = False
    border: str = "edge"
    fill: Real = 0.0

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise InputError(f"pixels: {self.pixels}; expected a whole number, at least 0, such as 2 for MNIST and 4 for CIFAR-10")
        Border(self.border, self.fill)

    def __call__(
        self, images: Float[Tensor, "points channels height width"], labels: Int64[Tensor, " points"], moment: Moment
    ) -> Float[Tensor, "points channels height width"]:
        """The windows, each at a place of its own."""
        del labels
        points, _, height, width = images.shape
        if self.pixels >= min(height, width):
            raise InputError(f"pixels: {self.pixels} is too far for images of {height} x {width}; expected less than the shorter side")
        places = torch.randint(2 * self.pixels + 1, (2, points), generator=moment.generator).to(images.device)
        border = Border(self.border, self.fill)
        padded = border.extend(border.extend(images, 3, self.pixels), 2, self.pixels)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        shifted = windows[torch.arange(points, device=images.device), :, places[0], places[1]]
        return self._flipped(shifted, moment.generator) if self.flip else shifted

    def _flipped(self, images: Tensor, generator: torch.Generator) -> Tensor:
        mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
        return torch.where(mirrored[:, None, None, None], images.flip(3), images)
