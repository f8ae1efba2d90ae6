"""Labelled inputs of a network: any tensor whose first axis are the points, with labels and weights, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from augury.arrays import ArrayLike, as_weights
from augury.curvature.points import Points
from augury.errors import InputError

PointLosses = Callable[[Any, Tensor], Tensor]
"""From what the network gives for some points, and their labels, to one loss a point: (points,)."""


def cross_entropy(scores: Float[Tensor, "points classes"], labels: Shaped[Tensor, " points"]) -> Float[Tensor, " points"]:
    """-log p[y] of each point, in nats; summed in float64, so that the losses of points that are nearly certain keep their digits."""
    return functional.cross_entropy(scores.double(), labels, reduction="none")


@dataclass(frozen=True)
class LabelledSet:
    """Points as tensors: inputs (points, ...), labels (points, ...) and weights (points,), which lie where the caller had them."""

    inputs: Shaped[Tensor, "points ..."]
    labels: Shaped[Tensor, "points ..."]
    weights: Float[Tensor, " points"]

    @classmethod
    def of(cls, points: Points, name: str) -> LabelledSet:
        """Check what the caller gave as the argument `name`."""
        if not isinstance(points, tuple) or len(points) not in (2, 3):
            raise InputError(f"{name}: expected a tuple (X, y) or (X, y, weight)")
        inputs, labels = _tensor(points[0], f"{name}[0]"), _tensor(points[1], f"{name}[1]")
        if inputs.ndim == 0 or len(inputs) == 0:
            raise InputError(f"{name}: inputs of shape {tuple(inputs.shape)}; expected (points, ...) with at least one point")
        if labels.ndim == 0 or len(labels) != len(inputs):
            raise InputError(f"{name}: labels of shape {tuple(labels.shape)} for {len(inputs)} points; expected one label for each point")
        weights = as_weights(points[2] if len(points) == 3 else None, inputs.new_zeros(len(inputs), 1, dtype=torch.float64), f"{name}[2]")
        return cls(inputs, labels, weights)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, chosen: slice | Tensor) -> LabelledSet:
        return LabelledSet(self.inputs[chosen], self.labels[chosen], self.weights[chosen])

    def batches(self, size: int) -> Iterator[LabelledSet]:
        """Consecutive parts of at most so many points."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def placed(self, device: torch.device, dtype: torch.dtype) -> LabelledSet:
        """On `device`; inputs as a network takes them: uint8 scaled to [0, 1], other whole numbers as they are, the rest as `dtype`."""
        inputs = self.inputs.to(device)
        scaled = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
        return LabelledSet(scaled.to(dtype) if scaled.is_floating_point() else scaled, self.labels.to(device), self.weights.to(device))


def _tensor(values: ArrayLike, name: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: expected numbers in an array or a tensor; got {array.dtype} (encode labels as integers from 0)")
    return torch.from_numpy(array if array.flags.writeable else array.copy())
