"""One curve of one draw: choose, refit, test, and, where the policy updates, score anew; budget after budget."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from augury.augmentation import TrainingSet
from augury.curvature import FittedHead, PointSet
from augury.errors import InputError
from augury.evaluation.refits import Refits
from augury.evaluation.setting import Chosen, FixedFeatures, Setting
from augury.head import SoftmaxHead
from augury.influence.head import own_influence
from augury.scores import Scores
from augury.selection import Order, Ordering, Preference, rank
from augury.softmax import contrast, local, offset, project

UPDATED = ("influence", "loss")  # the scores that can be had again from a refitted head
WITH_FEATURES = ("stratified", "determinantal")  # the orders that look at features, and draw anew for each budget


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
    known = setting if isinstance(setting, FixedFeatures) else None
    chooser, refits = _chooser(setting, draw), known.begun(head, grid) if known else Refits(head, grid)
    accuracies: list[float] = []
    fitted: list[SoftmaxHead] = []  # with fixed features, to be tested together
    for budget in budgets:
        chosen = chooser.take(budget)
        if known and len(chosen) == len(known):
            accuracies.append(known.full(head, grid, downweight=downweight))
            continue
        training, test = setting.at(chosen, downweight=downweight)
        fitted.append(copy(refits.fit(training, _points(len(setting), chosen, len(training.y)))))
        chooser.look(fitted[-1], training)
        if not known:
            accuracies.append(test.accuracy(fitted.pop()))
    return [*(test.accuracies(fitted) if fitted else []), *accuracies]


def rescored(scores: Scores, head: SoftmaxHead, training: TrainingSet, penalty: float | None = None) -> Scores:
    """The same score of the original points, the first rows of `training`, under a head that was fitted to `training`; see `Draw`."""
    n, X = len(scores), torch.from_numpy(training.X)
    codes = torch.from_numpy(np.searchsorted(head.classes_, training.y))
    weights = torch.from_numpy(training.weights) if penalty is None else X.new_ones(len(X))
    points = PointSet(X, codes, weights, offset(X[:n]))
    V = head.directions(X)
    losses: npt.NDArray[np.float64] = local(project(X[:n], V), codes[:n], contrast(len(head.classes_), V)).losses.numpy()
    values = losses
    if scores.method == "influence":
        state = FittedHead.trusted(head, points, penalty)
        values = -own_influence(state, state.points[:n]).numpy()
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
    seen: tuple[SoftmaxHead, TrainingSet] | None = None

    def __post_init__(self) -> None:
        self.scores = self.draw.scores

    def take(self, budget: int) -> Chosen:
        draw = self.draw
        if self.seen:
            self.scores = rescored(self.scores, *self.seen, draw.penalty)
        seed = draw.seed if self.looks == 0 else int(np.random.SeedSequence([draw.seed, self.looks]).generate_state(1)[0])
        order = rank(self.scores, draw.preference, draw.order, seed).indices
        left = order[~np.isin(order, self.chosen)]
        self.chosen = np.concatenate([self.chosen, left[: budget - len(self.chosen)]])
        return self.chosen

    def look(self, head: SoftmaxHead, training: TrainingSet) -> None:
        self.seen = head, training  # scored when the next budget asks for it
        self.looks += 1


def _points(n: int, chosen: Chosen, rows: int) -> npt.NDArray[np.int64]:
    """Of which point each row of a training set is: the originals, then the copies of the chosen points."""
    return np.concatenate([np.arange(n), np.repeat(chosen, (rows - n) // max(1, len(chosen)))])
