"""CIFAR ResNets (He et al., *Deep Residual Learning for Image Recognition*, 2016, section 4.2)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

RGB_MEAN = (0.485, 0.456, 0.406)
RGB_DEVIATION = (0.229, 0.224, 0.225)


class Standardise(nn.Module):
    """Pixels in [0, 1] to what a pretrained RGB network expects: a grey image repeated to three channels, minus mean, over deviation.

    Mean and deviation are part of the architecture: they follow the network to its device and stay out of its saved weights.
    """

    def __init__(self, mean: tuple[float, ...] = RGB_MEAN, deviation: tuple[float, ...] = RGB_DEVIATION) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(-1, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, "points 3 height width"]:
        """Standardised RGB images."""
        return (images.expand(-1, 3, -1, -1) - self.mean) / self.deviation


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input, then a rectifier.

    Where the shape changes, the shortcut (option A) takes every second pixel and pads the channels with zeros, a quarter of the
    outputs on each side; it has no parameters.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.padding = (outputs - inputs) // 2

    def forward(self, x: Float[Tensor, "points channels height width"]) -> Float[Tensor, "points channels_out height_out width_out"]:
        """The block's output."""
        residual = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        shortcut = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return functional.relu(residual + shortcut)


class ResNet(nn.Module):
    """6 n + 2 layers: a convolution, three stages of n blocks with 16, 32 and 64 channels, the mean over all places, `linear`."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(blocks, 16, 16, stride=1)
        self.layer2 = _stage(blocks, 16, 32, stride=2)
        self.layer3 = _stage(blocks, 32, 64, stride=2)
        self.linear = nn.Linear(64, classes)

    def forward(self, images: Float[Tensor, "points channels height width"]) -> Float[Tensor, "points classes"]:
        """Class scores."""
        x = functional.relu(self.bn1(self.conv1(self.standardise(images))))
        x = self.layer3(self.layer2(self.layer1(x)))
        scores: Tensor = self.linear(x.mean(dim=(2, 3)))
        return scores


def resnet20(channels: int, height: int, width: int, classes: int) -> ResNet:  # noqa: ARG001  (fits all sizes; grey is repeated)
    """ResNet-20: three blocks a stage, 0.27 M parameters."""
    return ResNet(3, classes)


def resnet56(channels: int, height: int, width: int, classes: int) -> ResNet:  # noqa: ARG001  (fits all sizes; grey is repeated)
    """ResNet-56: nine blocks a stage, 0.85 M parameters."""
    return ResNet(9, classes)


def _stage(blocks: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))
