"""Convolutions of stride 2 without pooling: the small classifiers of *Learning to Augment Influential Data* and its repetitions."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class StandardiseEach(nn.Module):
    """Each image minus its own mean, over its own standard deviation.

    The deviation counts as at least 1 / sqrt(n), with n numbers in an image, so that an even picture becomes zero (TensorFlow's
    `per_image_standardization`).
    """

    def forward(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, "points channels height width"]:
        """Images of mean 0 and deviation 1."""
        deviation = images.std(dim=(1, 2, 3), correction=0, keepdim=True)
        return (images - images.mean(dim=(1, 2, 3), keepdim=True)) / deviation.clamp(min=1 / math.sqrt(images[0].numel()))


class HalvingConv(nn.Conv2d):
    """A 5 x 5 convolution of stride 2 that gives ceil(side / 2) pixels: TensorFlow's "SAME" padding.

    Of the 3 pixels that an even side needs, 2 are to the right and below; of the 4 that an odd one needs, 2 on each side.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 5, stride=2)

    def forward(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, "points channels_out height_out width_out"]:
        """The convolved images."""
        left, above = (1 + side % 2 for side in (images.shape[3], images.shape[2]))
        return super().forward(functional.pad(images, (left, 2, above, 2)))


def allconv(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Four 5x5 convolutions of stride 2 with 64 to 512 channels and leaky rectifiers, batch norm on the last three; 512 per place left.

    Each image is standardised by itself first. All kernels come from N(0, 0.02), cut off at two deviations; biases are zero.
    """
    layers: list[nn.Module] = [StandardiseEach(), HalvingConv(channels, 64), nn.LeakyReLU(0.2)]
    for inputs, outputs in itertools.pairwise((64, 128, 256, 512)):
        layers += [HalvingConv(inputs, outputs), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    network = _classified(nn.Sequential(*layers, nn.Flatten()), 512 * math.ceil(height / 16) * math.ceil(width / 16), classes)
    network.apply(_initialise_truncated)
    return network


def strided(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Three padded convolutions of stride 2, 5x5, 5x5 and 3x3, with 32, 64 and 96 channels, batch norm and rectifiers; dropout 0.3."""
    layers: list[nn.Module] = []
    for inputs, outputs, kernel in ((channels, 32, 5), (32, 64, 5), (64, 96, 3)):
        layers += [nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU()]
    body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3))
    return _classified(body, 96 * math.ceil(height / 8) * math.ceil(width / 8), classes)


def _classified(body: nn.Sequential, features: int, classes: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(body=body, linear=nn.Linear(features, classes)))


def _initialise_truncated(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
