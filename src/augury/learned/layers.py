"""The stacks of 4 x 4 convolutions of *Learning to Augment Influential Data*, appendix A, for images of any size.

The paper's sizes (28 -> 28 -> 14 -> 7, and 32 -> 32 -> 16 -> 8 -> 4) need TensorFlow's "SAME" padding: a stride of s divides a side by s,
rounded up, and where an odd number of pixels has to be padded, the odd one goes to the right and to the bottom.
"""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from augury.errors import InputError

KERNEL = 4
COARSEST = 8  # sides are halved until the shorter one is below this, as in both of the paper's networks
FIRST, MOST = 16, 128  # channels at full size, doubled at each halving, and their limit


class SameConv(nn.Conv2d):
    """A 4 x 4 convolution that gives ceil(side / stride) pixels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, KERNEL, stride, padding=1)

    def forward(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, "points channels_out height_out width_out"]:
        """The convolved images."""
        right, below = (0 if self.stride[0] == 2 and side % 2 == 0 else 1 for side in (images.shape[3], images.shape[2]))
        return super().forward(functional.pad(images, (0, right, 0, below)))


class SameConvTranspose(nn.ConvTranspose2d):
    """The adjoint of `SameConv`: it gives images of `size`, from which `SameConv` would make the input's size."""

    def __init__(self, inputs: int, outputs: int, stride: int, size: tuple[int, int]) -> None:
        super().__init__(inputs, outputs, KERNEL, stride, padding=1)
        self.size = size

    def forward(
        self, images: Float[Tensor, "points channels height width"], output_size: list[int] | None = None
    ) -> Float[Tensor, "points channels_out height_out width_out"]:
        """The enlarged images."""
        laid_out = images.contiguous(memory_format=torch.channels_last)  # on CPUs three times as fast
        return super().forward(laid_out, output_size)[:, :, : self.size[0], : self.size[1]]


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes of a stack's images: the full one, then halved ones until the shorter side is below 8 pixels."""
    found = [(height, width)]
    while min(found[-1]) >= COARSEST:
        found.append((math.ceil(found[-1][0] / 2), math.ceil(found[-1][1] / 2)))
    return found


def widths(height: int, width: int) -> list[int]:
    """How many channels each of these sizes has: 16, 32, 64, at most 128."""
    return [min(FIRST * 2**level, MOST) for level in range(len(sizes(height, width)))]


def features(height: int, width: int) -> int:
    """How many numbers the coarsest images hold: 3136 for 28 x 28, 2048 for 32 x 32."""
    return math.prod(sizes(height, width)[-1]) * widths(height, width)[-1]


def reader(channels: int, height: int, width: int, slope: float, outputs: int) -> nn.Sequential:
    """Images to `outputs` numbers: the paper's E (slope 0, a rectifier) and D (slope 0.2), without their last activation."""
    found = [channels, *widths(height, width)]
    layers: list[nn.Module] = []
    for level, (before, after) in enumerate(itertools.pairwise(found)):
        layers += [SameConv(before, after, 2 if level else 1), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features(height, width), outputs))


def writer(inputs: int, channels: int, height: int, width: int) -> nn.Sequential:
    """`inputs` numbers to images of so many channels: the paper's G, symmetric to E."""
    levels, found = sizes(height, width), widths(height, width)
    layers: list[nn.Module] = [nn.Linear(inputs, features(height, width)), nn.Unflatten(1, (found[-1], *levels[-1]))]
    for level in range(len(levels) - 1, 0, -1):
        layers += [SameConvTranspose(found[level], found[level - 1], 2, levels[level - 1]), nn.ReLU()]
    return nn.Sequential(*layers, SameConvTranspose(found[0], channels, 1, (height, width)))


def check_shape(channels: int, height: int, width: int) -> None:
    """Raise an `InputError` unless images can have this shape."""
    if channels < 1 or min(height, width) < 2:
        raise InputError(f"images: {channels} channels of {height} x {width} pixels; expected at least 1 channel of 2 x 2 pixels")
