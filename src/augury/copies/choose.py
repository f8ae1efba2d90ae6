"""Greedy rounds: the most helpful copies join, the head follows, and what the rest is worth is computed anew.

A round scores every candidate left by its influence on the target under the current head (see `augury.influence`), keeps a short list of
the most helpful, and takes them from it in a few steps; after each step the head moves by the Newton step that those copies cause, so that
two copies of the same worth to the same end are not both taken for their full worth. Then the head is refitted to all that have joined,
by a Newton step or two from where it stands. Rounds grow with the number of copies chosen, so that their number grows with its logarithm.
What is left beyond the predicted optimum is ordered, too: the least harmful first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from augury.arrays import as_numpy
from augury.copies.growing import GrowingFit, extended
from augury.copies.leftout import left_out
from augury.copies.ordering import CopyOrdering, shared_weight
from augury.copies.passes import influences, pull
from augury.copies.pool import Candidates, CopyPool
from augury.copies.target import Reading, Target
from augury.copies.weighing import heaviest
from augury.curvature import FittedHead, Points, PointSet
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.progress import track
from augury.selection import budget_size

GROWTH = 0.5  # a round takes this part of what has been chosen before,
FIRST = 0.001  # and at least this part of all copies
LEAST = 2  # or so many,
STEPS = 4  # in which a round is taken, with a Newton step of the head after each
SHORTLIST = 4  # how many times a round's size is looked at in these steps


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
        labels of their own and the index of the training point that each is a copy of.
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
        In how many steps a round is taken; 1: all at once, by their influence alone.

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
    The same input gives the same ordering. With m copies there are about log(500) / log(1 + growth) rounds, each a pass over the pool,
    `steps` passes over the target, and a Hessian with its factor over what has been chosen: in all less than three cold refits on the
    fully augmented set. `folds` adds the cost of `augury.copies.leftout` each time the number of chosen copies has doubled. Memory: the
    pool in float64, once more as it is chosen, and blocks of work.
    """
    _check(growth, steps)
    state = FittedHead.of(head, train, "auto")
    pool = CopyPool.of(copies, state)
    size = None if budget is None else budget_size(budget, len(pool))
    aim = _aim(target, state, pool)
    given = isinstance(target, tuple)
    most = heaviest(state, pool, aim if given else None) if weight == "auto" else _checked_weight(weight)
    race = _Race(state, pool, aim, most, folds=not given and target == "folds")
    for count in track(race.rounds(growth), "choosing copies"):
        race.take(count, steps)
    cause = {"target": "points" if given else target or "self", "C": float(head.C), "growth": growth, "steps": steps}
    return race.ordering(size, cause)


class _Race:
    """What has been chosen so far, and the head that follows from it."""

    def __init__(self, state: FittedHead, pool: CopyPool, target: Target, weight: float, *, folds: bool) -> None:
        self.state, self.pool, self.target, self.weight, self.folds = state, pool, target, weight, folds
        self.fit = GrowingFit(state, len(pool))
        self.open = torch.ones(len(pool), dtype=torch.bool, device=self.fit.V.device)
        self.chosen: list[npt.NDArray[np.int64]] = []
        self.worth: list[npt.NDArray[np.float64]] = []
        self.curve: list[tuple[int, Reading]] = []
        self.moved: Tensor | None = None
        self.renewed: int | None = None

    @property
    def size(self) -> int:
        """How many copies have joined."""
        return self.fit.size - self.fit.originals

    def heavy(self, size: int) -> float:
        """What a copy weighs among `size` chosen ones."""
        return shared_weight(len(self.pool), size, self.weight)

    def read(self) -> Reading:
        """The target under the current head; left-out scores are computed anew whenever the number of copies has doubled."""
        if self.folds and (not self.renewed or self.size >= 2 * self.renewed or self.size == len(self.pool)):
            joined = (~self.open).to(self.fit.V) * self.heavy(self.size)
            self.moved, self.renewed = left_out(self.fit, self.state.points, self.pool, joined), self.size
        return self.target.read(self.fit.V, self.moved)

    def rounds(self, growth: float | int) -> Iterator[int]:  # noqa: PYI041  (checked at run time, where 1 is no float)
        """How many copies the next round may take, until none is left."""
        least = max(LEAST, round(FIRST * len(self.pool)))
        while left := len(self.pool) - self.size:
            yield min(left, max(least, round(growth * self.size)))

    def take(self, count: int, steps: int) -> None:
        """One round: choose so many copies, or fewer if no others of those listed help any more; let them join, and refit."""
        reading = self.read()
        self.curve.append((self.size, reading))
        s = self.fit.curvature.solve(reading.gradient.reshape(1, -1)).reshape(self.fit.V.shape)
        worth = influences(self.pool.points, self.fit.V, s, self.fit.basis).masked_fill(~self.open, torch.inf)
        if steps == 1 or count == int(self.open.sum()) or float(worth.min()) >= 0:
            picked = torch.argsort(worth, stable=True)[:count]
            values = worth[picked]
        else:
            listed = min(SHORTLIST * count, int(self.open.sum()))
            picked, values = self._in_steps(torch.topk(worth, listed, largest=False).indices.sort().values, s, count, steps)
        self.open[picked] = False
        self.chosen.append(as_numpy(picked))
        self.worth.append(as_numpy(values))
        self.fit.add(self.pool.take(picked), self.heavy(self.size + len(picked)))
        self.fit.refit()

    def _in_steps(
        self, listed: Int[Tensor, " listed"], s: Float[Tensor, "directions params"], count: int, steps: int
    ) -> tuple[Int[Tensor, " picked"], Float[Tensor, " picked"]]:
        """Take up to `count` of the listed candidates in steps, the head moving by a Newton step after each, while they still help."""
        V, curvature, points = self.fit.V, self.fit.curvature, self.pool.take(listed)
        taken = torch.zeros_like(listed, dtype=torch.bool)
        order: list[Tensor] = []
        values: list[Tensor] = []
        for number in _shares(count, steps):
            if order:
                best = order[-1]
                block = PointSet(points.features[best], points.labels[best], points.weights[best] * self.heavy(self.size + count))
                curvature = extended(curvature, self.fit.problem(block), V)
                V = V - curvature.solve(pull(block, V, self.fit.basis)[1].reshape(1, -1)).reshape(V.shape)
                s = curvature.solve(self.target.gradient(V, self.moved).reshape(1, -1)).reshape(V.shape)
            worth = influences(points, V, s, self.fit.basis).masked_fill(taken, torch.inf)
            best = torch.argsort(worth, stable=True)[:number]
            if order:
                best = best[worth[best] < 0]
            if not len(best):
                break
            taken[best] = True
            order.append(best)
            values.append(worth[best])
        return listed[torch.cat(order)], torch.cat(values)

    def ordering(self, budget: int | None, cause: Mapping[str, object]) -> CopyOrdering:
        """Everything that has been chosen, with the curve up to here."""
        chosen = np.concatenate(self.chosen)
        budgets, readings = zip(*self.curve, (self.size, self.read()), strict=True)
        return CopyOrdering(
            candidates=chosen,
            point=self.pool.point[chosen],
            copy=self.pool.copy[chosen],
            influence=np.concatenate(self.worth),
            budgets=np.array(budgets, dtype=np.int64),
            loss=np.array([reading.loss for reading in readings]),
            accuracy=np.array([reading.accuracy for reading in readings]),
            weight=self.weight,
            budget=budget,
            cause=cause,
        )


def _aim(target: Points | str | None, state: FittedHead, pool: CopyPool) -> Target:
    """The points whose loss is to fall."""
    if isinstance(target, tuple):
        return Target((state.read(target, "target"),))
    if target not in (None, "self", "folds"):
        raise InputError(f"target: got {target!r}; expected (X, y), (X, y, weight), None, 'self' or 'folds'")
    return Target((state.points, pool.points))


def _shares(count: int, steps: int) -> list[int]:
    """`count` in `steps` parts, as equal as they can be, the larger first; fewer parts where there is not one for each."""
    parts = min(count, steps)
    return [count // parts + (i < count % parts) for i in range(parts)]


def _checked_weight(weight: object) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 1 <= weight < np.inf:
        raise InputError(f"weight: got {weight!r}; expected 'auto', 1 (each copy counts as one) or more")
    return float(weight)


def _check(growth: float | int, steps: int) -> None:  # noqa: PYI041  (checked at run time, where 1 is no float)
    if not 0 < growth < np.inf:
        raise InputError(f"growth: got {growth}; expected a positive number, such as {GROWTH}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps: got {steps!r}; expected a whole number, at least 1")
