"""What a draw is tried out in: what a head is fitted to once some points are augmented, and what it is tested on."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from augury.augmentation import CopiedFeatures, TrainingSet
from augury.evaluation.refits import Refits
from augury.head import SoftmaxHead

Chosen = npt.NDArray[np.int64]
EPSILON = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class HeldOut:
    """What accuracy is measured on: features and labels, with the copies of the test points among them if invariance is to be measured."""

    X: Float64[Tensor, "points features"]
    y: Int64[np.ndarray, " points"]

    @cached_property
    def _single(self) -> tuple[Tensor, float]:
        """The features in single precision, and the length of the longest."""
        return self.X.to(torch.float32), float(torch.linalg.vector_norm(self.X, dim=1).max())

    @classmethod
    def of(cls, X: npt.NDArray[np.floating[Any]], y: npt.NDArray[np.int64]) -> HeldOut:
        """From arrays; float64 once, for all tests to come."""
        return cls(torch.from_numpy(X.astype(np.float64)), y)

    def accuracy(self, head: SoftmaxHead) -> float:
        """The share of the points that the head classifies rightly."""
        return self.accuracies([head])[0]

    def accuracies(self, heads: Sequence[SoftmaxHead]) -> list[float]:
        """The same for several heads of the same classes, in one pass over the points.

        With two classes in single precision first, and again in double precision for the points too near to the boundary for that.
        """
        if not heads or len(heads[0].classes_) > 2:
            return [float(np.mean(head.predict(self.X) == self.y)) for head in heads]
        X, longest = self._single
        weights = torch.from_numpy(np.concatenate([head.coef_ for head in heads]))
        biases = torch.from_numpy(np.concatenate([head.intercept_ for head in heads]))
        margins = torch.addmm(biases.to(X)[:, None], weights.to(X), X.T)
        doubt = (X.shape[1] + 4) * EPSILON * (longest * weights.norm(dim=1) + biases.abs())  # twice what rounding can do
        second = margins > 0
        for row, unsure in enumerate(margins.abs() <= doubt.to(X)[:, None]):
            near = torch.nonzero(unsure)[:, 0]
            second[row, near] = self.X[near] @ weights[row] + biases[row] > 0
        found: list[float] = (second.numpy() == (self.y == heads[0].classes_[1])).mean(axis=1).tolist()
        return found


@runtime_checkable
class Setting(Protocol):
    """Points whose augmentation is tried out: what a head is fitted to, and tested on, once some of them are augmented."""

    @property
    def features(self) -> npt.NDArray[np.floating[Any]]:
        """(points, features) of the training points, before any augmentation."""

    def __len__(self) -> int:
        """Number of training points."""

    def at(self, chosen: Chosen, *, downweight: bool) -> tuple[TrainingSet, HeldOut]:
        """The training set with the originals first and then all copies of the `chosen` points, and the test set."""


@dataclass(frozen=True)
class FixedFeatures:
    """A setting in which the network stays as it is, so that all features are known beforehand.

    Heads without and with all copies are the same for every draw; they are fitted once.
    """

    train: CopiedFeatures
    test: HeldOut
    _begun: dict[Any, Refits] = field(default_factory=dict, init=False, repr=False, compare=False)
    _full: dict[Any, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def features(self) -> npt.NDArray[np.floating[Any]]:
        """Those of the originals."""
        return self.train.features

    def __len__(self) -> int:
        return len(self.train)

    def at(self, chosen: Chosen, *, downweight: bool) -> tuple[TrainingSet, HeldOut]:
        """Originals and the chosen points' copies, by their known features; the test set is always the same.

        Features that are zero for every point and copy are left out: a penalised head gives them no weight.
        """
        train, test = self._used
        return train.augmented(chosen, downweight=downweight), test

    def begun(self, head: SoftmaxHead, grid: Sequence[float]) -> Refits:
        """Refits of a head that have fitted the originals, from which every draw goes on."""
        key = _key(head, grid)
        if key not in self._begun:
            self._begun[key] = Refits(head, grid)
            self._begun[key].fit(self.at(np.arange(0), downweight=False)[0], np.arange(len(self)))
        return deepcopy(self._begun[key])

    def full(self, head: SoftmaxHead, grid: Sequence[float], *, downweight: bool) -> float:
        """Accuracy after full augmentation, to which every draw comes."""
        key = (*_key(head, grid), downweight)
        if key not in self._full:
            points = np.arange(len(self))
            training, test = self.at(points, downweight=downweight)
            copies = np.repeat(points, self.train.copies.shape[1])
            self._full[key] = test.accuracy(self.begun(head, grid).fit(training, np.concatenate([points, copies])))
        return self._full[key]

    @cached_property
    def _used(self) -> tuple[CopiedFeatures, HeldOut]:
        """Training and test points by the features that are not zero throughout."""
        train, test = self.train, self.test
        used = np.flatnonzero(train.features.any(axis=0) | train.copies.any(axis=(0, 1)))
        if len(used) in (0, train.features.shape[1]):
            return train, test
        features, copies = (np.ascontiguousarray(array[..., used]) for array in (train.features, train.copies))
        return CopiedFeatures(features, copies, train.labels), HeldOut(test.X[:, used].contiguous(), test.y)


def _key(head: SoftmaxHead, grid: Sequence[float]) -> tuple[Any, ...]:
    """What decides how a head is fitted."""
    return (*sorted(head.get_params().items()), *grid)
