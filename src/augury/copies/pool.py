"""The candidates: every copy of every point, whatever transformation made it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64

from augury.arrays import ArrayLike, as_labels, as_numpy, as_tensor
from augury.curvature import FittedHead, PointSet
from augury.errors import InputError

Candidates = ArrayLike | tuple[ArrayLike, ArrayLike, ArrayLike]


@dataclass(frozen=True)
class CopyPool:
    """Candidates as one list, a row a copy.

    Parameters
    ----------
    points
        Features and labels of the copies.
    point
        (copies,) the index of the training point that each is a copy of.
    copy
        (copies,) which of its point's copies it is, from 0.
    sources
        How many training points there are.
    """

    points: PointSet
    point: Int64[np.ndarray, " copies"]
    copy: Int64[np.ndarray, " copies"]
    sources: int

    def __len__(self) -> int:
        return len(self.point)

    @classmethod
    def of(cls, candidates: Candidates, state: FittedHead) -> CopyPool:
        """Check what the caller gave as `copies`: (points, copies, features), or (X, y, point) of a mixed list."""
        return cls._listed(candidates, state) if isinstance(candidates, tuple) else cls._grid(candidates, state)

    @classmethod
    def _grid(cls, copies: ArrayLike, state: FittedHead) -> CopyPool:
        features = as_tensor(copies, "copies")
        n = len(state.points.labels)
        if features.ndim != 3 or len(features) != n or features.shape[1] == 0:
            raise InputError(
                f"copies: shape {tuple(features.shape)}; expected (points, copies, features) with the {n} training points in their order, "
                "or a tuple (X, y, point)"
            )
        k = features.shape[1]
        labels = state.head.classes_[state.points.labels.cpu().numpy().repeat(k)]
        points = state.read((features.reshape(n * k, -1), labels), "copies")
        return cls(points, np.repeat(np.arange(n), k), np.tile(np.arange(k), n), n)

    @classmethod
    def _listed(cls, candidates: tuple[ArrayLike, ArrayLike, ArrayLike], state: FittedHead) -> CopyPool:
        if len(candidates) != 3:
            raise InputError(f"copies: a tuple of {len(candidates)}; expected (X, y, point), the last naming each copy's training point")
        points = state.read(candidates[:2], "copies")
        n = len(state.points.labels)
        point = as_labels(candidates[2], len(points.labels), "copies[2]")
        if not np.issubdtype(point.dtype, np.integer) or not 0 <= point.min() <= point.max() < n:
            raise InputError(f"copies[2]: expected the index of each copy's training point, whole numbers from 0 to {n - 1}")
        return cls(points, point.astype(np.int64), _number_within(point), n)

    def groups(self) -> list[Int64[np.ndarray, "points rows"]]:
        """Each training point's rows in the list of all training points and then all candidates; points with as many copies together."""
        order = np.argsort(self.point, kind="stable") + self.sources
        counts = np.bincount(self.point, minlength=self.sources)
        starts = np.cumsum(counts) - counts
        found = []
        for count in np.unique(counts):
            members = np.flatnonzero(counts == count)
            own = order[starts[members, None] + np.arange(count)] if count else np.empty((len(members), 0), dtype=np.int64)
            found.append(np.column_stack([members, own]).astype(np.int64))
        return found

    def take(self, chosen: torch.Tensor) -> PointSet:
        """Some of the candidates, in the given order."""
        features = self.points.features[chosen]
        shifted = features if self.points.shift is None else features - self.points.shift
        return PointSet(shifted, self.points.labels[chosen], self.points.weights[chosen])


def _number_within(point: Int64[np.ndarray, " copies"]) -> Int64[np.ndarray, " copies"]:
    """For each copy how many of its point's copies stand before it."""
    order = np.argsort(point, kind="stable")
    counts = np.bincount(point)
    numbers = np.empty(len(point), dtype=np.int64)
    numbers[order] = np.arange(len(point)) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers


def as_groups(groups: ArrayLike, points: int) -> Int64[np.ndarray, " points"]:
    """Groups of any kind, as numbers from 0."""
    return np.unique(as_labels(as_numpy(groups), points, "groups"), return_inverse=True)[1].astype(np.int64)
