"""Labelled points in the plane, and the parts of a learned augmentation for them: what the toy problem is made of."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from augury.learned import TauDistribution
from augury.networks import seeded

Row = Literal[1, 2]

POINTS, VALIDATION, TEST = 200, 100, 2000
SURPRISES, PLACE, WIDTH = 20, (0.4, 1.1), 0.2  # row 1: red points among the validation points, where and how far apart
DOWN = 0.6  # row 2: how far validation is moved
BOUND = 1.0  # the longest transition along each axis
HIDDEN = 32


class Points(NamedTuple):
    """Labelled points: red (0) and blue (1)."""

    places: Float32[np.ndarray, "points 2"]
    labels: Int64[np.ndarray, " points"]


class Transition:
    """G: moves a point to the right and up, by tau x `BOUND`. A point is a picture of one pixel and two channels."""

    tau_size = 2

    def __call__(self, images: Float[Tensor, "points 2 1 1"], tau: Float[Tensor, "points 2"]) -> Float[Tensor, "points 2 1 1"]:
        """The points, moved."""
        return images + BOUND * tau[:, :, None, None]

    def __repr__(self) -> str:
        return f"Transition({BOUND})"


class PointNetwork(nn.Module):
    """E for the rule `gradient`: a point to its tau."""

    tau_size = 2

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.body = layers(1, 2, seed)

    def forward(self, images: Float[Tensor, "points 2 1 1"], generator: torch.Generator | None = None) -> Float[Tensor, "points 2"]:
        """The points' taus; nothing is drawn."""
        del generator
        tau: Tensor = self.body(images).tanh()
        return tau


class PointDistribution(TauDistribution):
    """E for the rule `choice`: a point to the distribution of its tau, uniform to begin with."""

    def __init__(self, seed: int) -> None:
        super().__init__(2, 1, 1, tau_size=2, widths=True)
        self.body = layers(1, 4, seed)
        last = self.body[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


def drawn(row: Row, seed: int) -> tuple[Points, Points, Points]:
    """Training and validation points, and fresh ones like the latter: classes in turn, all draws from the seed."""
    rng = np.random.default_rng((row, seed))
    if row == 1:
        return _clouds(rng, POINTS), _with_surprises(rng, VALIDATION), _with_surprises(rng, TEST)
    return _moons(rng, POINTS), _lowered(_moons(rng, VALIDATION)), _lowered(_moons(rng, TEST))


def layers(hidden: int, outputs: int, seed: int) -> nn.Sequential:
    """A point, so many hidden layers, and a linear one."""
    with seeded(seed):
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs in [2, *[HIDDEN] * (hidden - 1)]:
            layers += [nn.Linear(inputs, HIDDEN), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(HIDDEN, outputs))


def pictures(places: Float32[np.ndarray, "points 2"]) -> Float[Tensor, "points 2 1 1"]:
    """The points as a network takes them: each a picture of one pixel and two channels."""
    return torch.from_numpy(places)[:, :, None, None]


def _clouds(rng: np.random.Generator, count: int) -> Points:
    """Red around (-0.8, 0), blue around (0.8, 0)."""
    labels = np.arange(count) % 2
    centres = np.stack([1.6 * labels - 0.8, 0.0 * labels], axis=1)
    return Points((rng.normal(0, 0.4, (count, 2)) + centres).astype(np.float32), labels)


def _with_surprises(rng: np.random.Generator, count: int) -> Points:
    """Clouds, and some red points where training has none, on the blue side."""
    usual, extra = _clouds(rng, count), SURPRISES * count // VALIDATION
    surprises = rng.normal(PLACE, WIDTH, (extra, 2)).astype(np.float32)
    return Points(np.concatenate([usual.places, surprises]), np.concatenate([usual.labels, np.zeros(extra, np.int64)]))


def _moons(rng: np.random.Generator, count: int) -> Points:
    """Red on an arc, blue on an arc upside down that begins in its middle."""
    labels, angles = np.arange(count) % 2, rng.uniform(0, np.pi, count)
    arcs = (1 - 2 * labels)[:, None] * np.stack([np.cos(angles) - 0.5, np.sin(angles) - 0.25], axis=1)
    return Points((arcs + rng.normal(0, 0.12, (count, 2))).astype(np.float32), labels)


def _lowered(points: Points) -> Points:
    return Points(points.places - np.array([0, DOWN], np.float32), points.labels)
