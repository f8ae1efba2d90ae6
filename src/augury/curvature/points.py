"""Labelled points for a head: features, labels and weights, checked once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augury.arrays import ArrayLike, as_features, as_labels, as_weights, encode
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.softmax import blocks_of

Points = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None]


@dataclass(frozen=True)
class PointSet:
    """Points as checked tensors; labels as indices into the head's classes."""

    features: Float[Tensor, "points features"]
    labels: Int[Tensor, " points"]
    weights: Float[Tensor, " points"]
    shift: Float[Tensor, " features"] | None = None

    @classmethod
    def of(cls, points: Points, head: SoftmaxHead, name: str, shift: Tensor | None = None) -> PointSet:
        """Check what the caller gave as the argument `name`; `shift` will be subtracted from the features of each part taken."""
        if not isinstance(points, tuple) or len(points) not in (2, 3):
            raise InputError(f"{name}: expected a tuple (X, y) or (X, y, weight)")
        features = as_features(points[0], f"{name}[0]")
        if features.shape[1] != head.n_features_in_:
            raise InputError(f"{name}: {features.shape[1]} features; the head was fitted to {head.n_features_in_}")
        codes = encode(as_labels(points[1], len(features), name), head.classes_, name)
        weights = as_weights(points[2] if len(points) == 3 else None, features, f"{name}[2]")
        return cls(features, torch.as_tensor(codes, device=features.device), weights, shift)

    def __getitem__(self, part: slice) -> PointSet:
        features = self.features[part] if self.shift is None else self.features[part] - self.shift
        return PointSet(features, self.labels[part], self.weights[part])

    def at(self, rows: Int[Tensor, " rows"]) -> PointSet:
        """The points of these rows, shifted."""
        features = self.features[rows] if self.shift is None else self.features[rows] - self.shift
        return PointSet(features, self.labels[rows], self.weights[rows])

    def blocks(self, width: int) -> Iterator[PointSet]:
        """Consecutive parts, in blocks for work that needs `width` numbers a point."""
        return (self[part] for part in blocks_of(len(self.features), width))
