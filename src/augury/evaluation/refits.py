"""Refits along a curve: each starts from the solution before, and C is fixed or chosen anew by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from augury.augmentation import TrainingSet
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.softmax import SoftmaxProblem

C_GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
FOLDS = 4


@dataclass
class Refits:
    """A head that is fitted again and again to growing training sets.

    Parameters
    ----------
    head
        What to fit; a clone of it is.
    grid
        Values of C among which each fit chooses the one with the best mean (weighted) accuracy over `folds` stratified folds, the smallest
        of the best. The copies of a point are in its fold, so that no fold is tested on copies of points that it was fitted to. Empty: the
        head's own C.
    folds
        How many.
    """

    head: SoftmaxHead
    grid: Sequence[float] = ()
    folds: int = FOLDS
    _kept: dict[tuple[int, float], SoftmaxHead] = field(default_factory=dict, init=False)
    _shift: Tensor | None = field(default=None, init=False)
    _factor: Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.head = clone(self.head).set_params(warm_start=True)

    def fit(self, training: TrainingSet, points: Int64[np.ndarray, " rows"]) -> SoftmaxHead:
        """Fit to a training set, of which row i is the point `points[i]` or a copy of it; the next fit changes the head that this gives."""
        if self.grid:
            self.head.set_params(C=self._best(training, points))
        self._factor = self.head.fit_problem(self._problem(self.head, *training), self._factor).factor
        return self.head

    def _best(self, training: TrainingSet, points: npt.NDArray[np.int64]) -> float:
        parts = _folds(training.y[: points.max() + 1], self.folds)[points]
        accuracies = [np.mean([self._tested(training, parts, fold, C) for fold in range(self.folds)]) for C in sorted(self.grid)]
        return sorted(self.grid)[int(np.argmax(np.round(accuracies, 12)))]  # rounding must not decide between equals

    def _tested(self, training: TrainingSet, parts: npt.NDArray[np.int64], fold: int, C: float) -> float:
        """Accuracy on a fold, copies included and by their weights, of a head fitted to the others."""
        machine = self._kept.setdefault((fold, C), clone(self.head).set_params(C=C, warm_start=True))
        machine.fit_problem(self._problem(machine, *(part[parts != fold] for part in training)))
        held_out = parts == fold
        right = machine.predict(torch.from_numpy(training.X[held_out])) == training.y[held_out]
        return float(np.average(right, weights=training.weights[held_out]))

    def _problem(
        self, head: SoftmaxHead, X: npt.NDArray[np.float64], y: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
    ) -> SoftmaxProblem:
        """The first time with all checks, then, since the training sets of a curve have the same origin, without."""
        features = torch.from_numpy(X)
        if not hasattr(head, "classes_"):
            problem = head.problem(features, y, weights)
            self._shift = problem.shift
            return problem
        codes = torch.from_numpy(np.searchsorted(head.classes_, y))
        return SoftmaxProblem(features, codes, torch.from_numpy(weights), len(head.classes_), 1 / head.C, self._shift)


def _folds(labels: npt.NDArray[np.int64], folds: int) -> npt.NDArray[np.int64]:
    """The fold of each point, stratified, in the points' order."""
    rarest = np.unique(labels, return_counts=True)[1].min()
    if rarest < folds:
        raise InputError(f"C: a class has {rarest} points; cross-validation over {folds} folds needs {folds} of each: give a number for C")
    parts = np.empty(len(labels), np.int64)
    for fold, (_, held_out) in enumerate(StratifiedKFold(folds).split(labels, labels)):
        parts[held_out] = fold
    return parts
