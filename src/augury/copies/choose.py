"""Greedy rounds: the most helpful copies join, the head follows, and what the rest is worth is computed anew.

A round is taken in a few steps. A step scores every candidate left by its influence on the target under the current head (see
`augury.influence`) and takes the most helpful; then the head moves by the Newton step that they cause, so that two copies of the same worth
to the same end are not both taken for their full worth. At the end of a round the head settles at the minimum over all that has joined, and
the target is read. Rounds grow with the number of copies chosen, so that their number grows with its logarithm, and are taken in fewer
steps as many copies have been chosen, when each matters less. What is left beyond the predicted optimum is ordered, too: the least harmful
first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from augury.arrays import as_numpy
from augury.copies.growing import GrowingFit
from augury.copies.leftout import left_out
from augury.copies.ordering import CopyOrdering, shared_weight
from augury.copies.pool import Candidates, CopyPool
from augury.copies.rounds import GROWTH, STEPS, check, round_size, round_steps, take
from augury.copies.weighing import heaviest
from augury.curvature import FittedHead, Points, PointSet
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.progress import track
from augury.selection import budget_size


def choose_copies(
    head: SoftmaxHead,
    train: Points,
    copies: Candidates,
    target: Points | Literal["self", "folds"] | None = None,
    budget: float | int | str | None = None,  # noqa: PYI041  (checked at run time, where 1 is no float)
    *,
    weight: float | int | Literal["auto"] = "auto",  # noqa: PYI041  (checked at run time, where 1 is no float)
    growth: float | int = GROWTH,  # noqa: PYI041  (checked at run time, where 1 is no float)
    steps: int = STEPS,
) -> CopyOrdering:
    """Order all copies, the one whose addition most lowers the target's mean loss first, each in view of those before it.

    Parameters
    ----------
    head
        A head fitted to `train`.
    train
        (X, y) or (X, y, sample_weight): what the head was fitted to.
    copies
        The candidates: (points, copies, features), a copy having its point's label; or (X, y, point), a list of copies of any kinds with
        labels of their own and the index of the training point that each is a copy of. For pools that do not fit in memory there is
        `augury.choose_from_blocks`.
    target
        Whose weighted mean loss is to fall: (X, y) or (X, y, weight), best with copies among its points where the head will meet such
        images (`class_weighted` and `worst_group` make weights). None or `self`: the training points and all their copies, so that no
        further labels are needed. `folds`: the same, each point and its copies being scored without them (see `augury.copies.leftout`).
    budget
        How many copies to take: a number, a share, or a text such as "10%"; None: all. It changes nothing of the ordering.
    weight
        What a chosen copy may count for at most: with b of m copies chosen, each weighs m / b, but from 1 to this. 1: all weigh 1. `auto`:
        8 where the target's accuracy gains a hundredth or more by full augmentation and its loss falls further with copies of that weight
        (a head held back by its penalty); else 1.
    growth
        A round takes this part of what has been chosen before; less is finer and costs more.
    steps
        In how many steps a round is taken; half as many from 2 % of the copies on, and one from a quarter on. 1: always all at once.

    Returns
    -------
    CopyOrdering
        With the predicted curve at the end of each round. Fit with the weights that it gives (`augury.copies.training_set` does).

    Raises
    ------
    InputError
        If shapes, labels, or settings do not fit together.

    Notes
    -----
    The same input gives the same ordering. With m copies there are about log(250) / log(1 + growth) rounds, 12 with the default, and some
    30 steps, each four passes in single precision over training points, copies and target, and a factor; the Hessian over what has been
    chosen is formed anew some five times. In all that takes less than three cold fits of a head to the fully augmented set (measured in
    `experiments/copies`, with the smallest sets for which it does not). `folds` adds the cost of `augury.copies.leftout` each time the
    number of chosen copies has doubled. Memory: training points, copies and target once more, in single precision, and blocks of work.
    """
    check(growth, steps)
    with torch.inference_mode():
        state = FittedHead.of(head, train, "auto")
        pool = CopyPool.of(copies, state)
        size = None if budget is None else budget_size(budget, len(pool))
        aim = _aim(target, state)
        most = heaviest(state, pool, aim, len(pool)) if weight == "auto" else checked_weight(weight)
        race = _Race(state, pool, aim, most, folds=aim is None and target == "folds")
        for count in track(race.rounds(growth), "choosing copies"):
            race.take(count, steps)
        cause = {"target": "points" if aim else target or "self", "C": float(head.C), "growth": growth, "steps": steps}
        return race.ordering(size, cause)


class _Race:
    """What has been chosen so far, and the head that follows from it."""

    def __init__(self, state: FittedHead, pool: CopyPool, target: PointSet | None, weight: float, *, folds: bool) -> None:
        self.pool, self.weight, self.folds = pool, weight, folds
        self.fit = GrowingFit(state, pool, target)
        self.chosen: list[npt.NDArray[np.int64]] = []
        self.worth: list[npt.NDArray[np.float64]] = []
        self.curve: list[tuple[int, float, float]] = []
        self.renewed: int | None = None

    @property
    def size(self) -> int:
        """How many copies have joined."""
        return sum(len(picked) for picked in self.chosen)

    def read(self) -> tuple[int, float, float]:
        """How many copies have joined, and the target's loss and accuracy under the head.

        Left-out scores are computed anew whenever the number of copies has doubled.
        """
        if self.folds and (not self.renewed or self.size >= 2 * self.renewed or self.size == len(self.pool)):
            self.fit.refresh()
            self.fit.leave_out(left_out(self.fit, self.pool))
            self.renewed = self.size
        return self.size, *self.fit.read()

    def rounds(self, growth: float | int) -> Iterator[int]:  # noqa: PYI041  (checked at run time, where 1 is no float)
        """How many copies the next round may take, until none is left."""
        while count := round_size(self.size, len(self.pool), growth):
            yield count

    def take(self, count: int, steps: int) -> None:
        """One round: choose so many copies in steps, or fewer if no others help any more, and let the head settle."""
        self.curve.append(self.read())
        copies, size = len(self.pool), self.size
        for taken in take(
            self.fit,
            count,
            round_steps(size, copies, steps),
            lambda joined: shared_weight(copies, joined, self.weight),
            last=count == copies - size,
        ):
            self.chosen.append(as_numpy(taken.picked))
            self.worth.append(as_numpy(taken.worth.to(torch.float64)))
        self.fit.settle()

    def ordering(self, budget: int | None, cause: Mapping[str, object]) -> CopyOrdering:
        """Everything that has been chosen, with the curve up to here."""
        chosen = np.concatenate(self.chosen)
        budgets, losses, accuracies = zip(*self.curve, self.read(), strict=True)
        return CopyOrdering(
            candidates=chosen,
            point=self.pool.point[chosen],
            copy=self.pool.copy[chosen],
            influence=np.concatenate(self.worth),
            budgets=np.array(budgets, dtype=np.int64),
            loss=np.array(losses),
            accuracy=np.array(accuracies),
            weight=self.weight,
            budget=budget,
            cause=cause,
        )


def _aim(target: Points | str | None, state: FittedHead) -> PointSet | None:
    """The points whose loss is to fall; None: the training points and all copies."""
    if isinstance(target, tuple):
        return state.read(target, "target")
    if target not in (None, "self", "folds"):
        raise InputError(f"target: got {target!r}; expected (X, y), (X, y, weight), None, 'self' or 'folds'")
    return None


def checked_weight(weight: object) -> float:
    """A weight that is no `auto`."""
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 1 <= weight < np.inf:
        raise InputError(f"weight: got {weight!r}; expected 'auto', 1 (each copy counts as one) or more")
    return float(weight)
