"""One curve of one draw: choose, refit, test, and, where the policy updates, score anew; budget after budget."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from augury.arrays import as_numpy
from augury.augmentation import CopiedFeatures, TrainingSet
from augury.errors import InputError
from augury.evaluation.refits import Refits
from augury.head import SoftmaxHead
from augury.influence import self_influence
from augury.scores import Scores
from augury.selection import Order, Ordering, Preference, rank
from augury.softmax import point_losses

Chosen = npt.NDArray[np.int64]
DOUBT = 1e-4  # relative error, by far, of a product in single precision
UPDATED = ("influence", "loss")  # the scores that can be had again from a refitted head
WITH_FEATURES = ("stratified", "determinantal")  # the orders that look at features, and draw anew for each budget


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
        """The share of the points that the head classifies rightly.

        With two classes in single precision first, and again in double precision for the points too near to the boundary for that.
        """
        if len(head.classes_) > 2:
            return float(np.mean(head.predict(self.X) == self.y))
        X, longest = self._single
        weights, bias = torch.from_numpy(head.coef_[0]), float(head.intercept_[0])
        margins = torch.addmv(torch.full((len(X),), bias, dtype=X.dtype), X, weights.to(X))
        near = torch.nonzero(margins.abs() <= DOUBT * (longest * float(weights.norm()) + abs(bias)))[:, 0]
        second = margins > 0
        second[near] = self.X[near] @ weights + bias > 0
        return float(np.mean(second.numpy() == (self.y == head.classes_[1])))


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
    """A setting in which the network stays as it is, so that all features are known beforehand."""

    train: CopiedFeatures
    test: HeldOut

    @property
    def features(self) -> npt.NDArray[np.floating[Any]]:
        """Those of the originals."""
        return self.train.features

    def __len__(self) -> int:
        return len(self.train)

    def at(self, chosen: Chosen, *, downweight: bool) -> tuple[TrainingSet, HeldOut]:
        """Originals and the chosen points' copies, by their known features; the test set is always the same."""
        return self.train.augmented(chosen, downweight=downweight), self.test


@dataclass(frozen=True)
class Draw:
    """One draw of a policy that an ordering made beforehand cannot express, because it looks again at each budget.

    Parameters
    ----------
    scores
        Before any augmentation.
    preference, order, seed
        As in `augury.rank`. The orders `stratified` and `determinantal` choose anew for each budget, so that budgets do not nest.
    update
        Score the points again with the head of each budget, over the training set of that budget, and draw the points that follow by the
        new scores, leaving out those that are augmented (paper 2, section 4.2).
    penalty
        For the update of `influence`: None: the Hessian of the objective that was minimised, weights and penalty included; a number: paper
        2's code, every point with weight 1 and this L2 penalty instead of the head's.
    """

    scores: Scores
    preference: Preference = "proportional"
    order: Order = "sampled"
    seed: int = 0
    update: bool = False
    penalty: float | None = None

    def __post_init__(self) -> None:
        if self.update:
            check_update(self.scores.method, self.order)

    def __len__(self) -> int:
        return len(self.scores)


def check_update(method: str, order: str) -> None:
    """Refuse an update of scores that are not renewed, or for an order that does not go by them point after point."""
    if method not in UPDATED:
        raise InputError(f"update: the score {method} is not renewed along a curve; expected {' or '.join(UPDATED)}, or no update")
    if order in WITH_FEATURES:
        raise InputError(f"update: the order {order} draws anew for each budget by the first scores; use sampled or ranked, or no update")


def trial(
    setting: Setting,
    draw: Ordering | Draw | Chosen,
    budgets: Sequence[int],
    head: SoftmaxHead,
    *,
    grid: Sequence[float] = (),
    downweight: bool = False,
) -> list[float]:
    """Test accuracy after retraining at each of the rising `budgets`, each refit starting from the one before.

    `draw`: a policy's draw, or simply the points in the order in which to augment them.
    `grid`: values of C to choose from by cross-validation at every refit, the copies of a point staying in its fold; empty: the head's C.
    """
    chooser = _chooser(setting, draw)
    refits = Refits(head, grid)
    accuracies = []
    for budget in budgets:
        chosen = chooser.take(budget)
        training, test = setting.at(chosen, downweight=downweight)
        fitted = refits.fit(training, _points(len(setting), chosen, len(training.y)))
        accuracies.append(test.accuracy(fitted))
        chooser.look(fitted, training)
    return accuracies


def rescored(scores: Scores, head: SoftmaxHead, training: TrainingSet, penalty: float | None = None) -> Scores:
    """The same score of the original points, the first rows of `training`, under a head that was fitted to `training`; see `Draw`."""
    n = len(scores)
    X, y = torch.from_numpy(training.X), training.y
    losses = as_numpy(point_losses(head.scores(X[:n]), torch.from_numpy(np.searchsorted(head.classes_, y[:n]))))
    values = losses
    if scores.method == "influence":
        weights = training.weights if penalty is None else None
        with warnings.catch_warnings():
            if penalty is not None:  # by design the head was then fitted to other weights than the Hessian has
                warnings.simplefilter("ignore", UserWarning)
            values = np.abs(as_numpy(self_influence(head, (X, y, weights), penalty=penalty))[:n])
    return replace(scores, values=values, losses=losses, probabilities=np.exp(-losses))


@runtime_checkable
class _Chooser(Protocol):
    def take(self, budget: int) -> Chosen:
        """The points to augment within a budget."""

    def look(self, head: SoftmaxHead, training: TrainingSet) -> None:
        """Take note of the head fitted with what `take` gave last."""


def _chooser(setting: Setting, draw: Ordering | Draw | Chosen) -> _Chooser:
    if isinstance(draw, Ordering):
        return _Prefix(draw.indices)
    if not isinstance(draw, Draw):
        return _Prefix(draw)
    return _Updated(draw) if draw.update else _Anew(draw, setting)


@dataclass
class _Prefix:
    order: Chosen

    def take(self, budget: int) -> Chosen:
        return self.order[:budget]

    def look(self, head: SoftmaxHead, training: TrainingSet) -> None:
        """Nothing that is seen changes the ordering."""


@dataclass
class _Anew:
    draw: Draw
    setting: Setting

    def take(self, budget: int) -> Chosen:
        draw, features = self.draw, self.setting.features if self.draw.order in WITH_FEATURES else None
        ordering = rank(draw.scores, draw.preference, draw.order, draw.seed, features=features, budget=budget)
        return ordering.indices[:budget]

    def look(self, head: SoftmaxHead, training: TrainingSet) -> None:
        """Each budget is drawn by the first scores."""


@dataclass
class _Updated:
    draw: Draw
    chosen: Chosen = field(default_factory=lambda: np.arange(0))
    looks: int = 0

    def __post_init__(self) -> None:
        self.scores = self.draw.scores

    def take(self, budget: int) -> Chosen:
        draw = self.draw
        seed = draw.seed if self.looks == 0 else int(np.random.SeedSequence([draw.seed, self.looks]).generate_state(1)[0])
        order = rank(self.scores, draw.preference, draw.order, seed).indices
        left = order[~np.isin(order, self.chosen)]
        self.chosen = np.concatenate([self.chosen, left[: budget - len(self.chosen)]])
        return self.chosen

    def look(self, head: SoftmaxHead, training: TrainingSet) -> None:
        self.scores = rescored(self.scores, head, training, self.draw.penalty)
        self.looks += 1


def _points(n: int, chosen: Chosen, rows: int) -> npt.NDArray[np.int64]:
    """Of which point each row of a training set is: the originals, then the copies of the chosen points."""
    return np.concatenate([np.arange(n), np.repeat(chosen, (rows - n) // max(1, len(chosen)))])
