"""Plain convolutional networks: a `body` that ends in flat features, and the classifier `linear` on them."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def lenet(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """LeNet with rectifiers and valid padding: conv 6 5x5, pool, conv 16 5x5, pool, 120, 84 features."""
    rows, columns = (((side - 4) // 2 - 4) // 2 for side in (height, width))
    body = nn.Sequential(
        *(nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(16 * rows * columns, 120), nn.ReLU()),
        *(nn.Linear(120, 84), nn.ReLU()),
    )
    return _classified(body, 84, classes)


def cnn128(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Conv 32, conv 64, both 3x3 and valid, pool, dropout 1/4, 128 features, dropout 1/2."""
    rows, columns = ((side - 4) // 2 for side in (height, width))
    body = nn.Sequential(
        *(nn.Conv2d(channels, 32, 3), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten()),
        *(nn.Linear(64 * rows * columns, 128), nn.ReLU(), nn.Dropout(0.5)),
    )
    return _classified(body, 128, classes)


def cnn512(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Twice conv padded, conv valid, pool, dropout 1/4, with 32 and 64 channels; 512 features, dropout 1/2."""
    rows, columns = (((side - 2) // 2 - 2) // 2 for side in (height, width))
    body = nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        nn.Flatten(),
        *(nn.Linear(64 * rows * columns, 512), nn.ReLU(), nn.Dropout(0.5)),
    )
    return _classified(body, 512, classes)


def tiny(channels: int, height: int, width: int, classes: int) -> nn.Sequential:
    """Three padded 3x3 convolutions and two pools, then 64 features: for images from 8 x 8 up."""
    body = nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(64 * (height // 4) * (width // 4), 64), nn.ReLU()),
    )
    return _classified(body, 64, classes)


def norbnet(channels: int, height: int, width: int, classes: int, places: int = 1) -> nn.Sequential:  # noqa: ARG001  (pooling takes any size)
    """Four convolutions of stride 2 with batch norm, 16 to 128 channels, then means over `places` x `places` parts, 128 features each."""
    widths = (channels, 16, 32, 64, 128)
    kernels = (5, 3, 3, 3)
    layers: list[nn.Module] = []
    for inputs, outputs, kernel in zip(widths, widths[1:], kernels, strict=False):
        layers += [nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(places), nn.Flatten())
    return _classified(body, 128 * places**2, classes)


def _classified(body: nn.Sequential, features: int, classes: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(body=body, linear=nn.Linear(features, classes)))
