"""Copies chosen from a pool that is never whole in memory: every round reads it once more, block by block.

A round is that of `choose_copies`: all copies are scored by their influence on the target under the head that follows from what has been
chosen, and the most helpful join in a few steps, between which the head moves. Here only the features of a few times as many copies as a
round takes are kept while it lasts. Scores are exact at the beginning of a round; within it, the self-target's gradient changes as that
of a sample does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from augury.arrays import ArrayLike, as_labels, as_numpy
from augury.augmentation import TrainingSet
from augury.copies.choose import checked_weight
from augury.copies.growing import GrowingFit
from augury.copies.ordering import shared_weight
from augury.copies.passes import influences
from augury.copies.pool import CopyPool
from augury.copies.predicted import PredictedCurve
from augury.copies.rounds import GROWTH, STEPS, check, round_size, round_steps, take
from augury.copies.target import Reading, Target
from augury.copies.weighing import heaviest
from augury.curvature import FittedHead, Points, PointSet
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.progress import track
from augury.selection import budget_size

MARGIN = 8  # candidates that a round looks at for each copy that it may take
Block = tuple[ArrayLike, ArrayLike, ArrayLike]


@dataclass(frozen=True, eq=False)
class ChosenCopies(PredictedCurve):
    """Copies within a budget, the first to take first, with their features.

    Parameters
    ----------
    X, y, point
        (chosen, features), (chosen,), (chosen,): features, labels, and the training point that each is a copy of.
    rows
        (chosen,) their places in the pool, counted through all blocks.
    influence
        (chosen,) predicted change of the target's mean loss, in nats a unit of weight, when the copy was chosen: negative helps.
    budgets, loss, accuracy
        (budgets,) the predicted curve, as in `augury.CopyOrdering`.
    weight
        What each chosen copy counts for in a fit.
    copies
        How many the pool has.
    cause
        What was chosen for and how.
    """

    X: Float64[np.ndarray, "chosen features"]
    y: Shaped[np.ndarray, " chosen"]
    point: Int64[np.ndarray, " chosen"]
    rows: Int64[np.ndarray, " chosen"]
    influence: Float64[np.ndarray, " chosen"]
    budgets: Int64[np.ndarray, " budgets"]
    loss: Float64[np.ndarray, " budgets"]
    accuracy: Float64[np.ndarray, " budgets"]
    weight: float
    copies: int
    cause: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def weight_at(self, budget: int) -> float:
        """The same for each, however many are taken."""
        del budget
        return self.weight

    def training_set(self, train: Points) -> TrainingSet:
        """What a head is fitted to: the training points, and the chosen copies with their weight."""
        X, y = (np.concatenate([as_numpy(own), chosen]) for own, chosen in zip(train[:2], (self.X, self.y), strict=True))
        own = train[2] if len(train) == 3 and train[2] is not None else np.ones(len(y) - len(self))
        return TrainingSet(X.astype(np.float64), y, np.concatenate([as_numpy(own), np.full(len(self), self.weight)]))


def choose_from_blocks(
    head: SoftmaxHead,
    train: Points,
    blocks: Iterable[Block],
    target: Points | Literal["self"] | None = None,
    *,
    budget: float | int | str,  # noqa: PYI041  (checked at run time, where 1 is no float)
    weight: float | int | Literal["auto"] = "auto",  # noqa: PYI041  (checked at run time, where 1 is no float)
    growth: float | int = GROWTH,  # noqa: PYI041  (checked at run time, where 1 is no float)
    steps: int = STEPS,
) -> ChosenCopies:
    """Choose copies as `choose_copies` does, from a pool that does not fit in memory.

    Parameters
    ----------
    head, train, weight, growth, steps
        As in `augury.choose_copies`.
    blocks
        (X, y, point) of some copies, one block after the other, `point` being the index of the training point that each is a copy of. They
        are read once before the first round and again in each, for the self-target twice, and must be the same each time: a list, or an
        object whose `__iter__` begins anew, and no generator.
    target
        (X, y) or (X, y, weight) of labelled points; None or `self`: the training points and all copies of the pool.
    budget
        How many copies to choose: a number, a share, or a text such as "10%".

    Raises
    ------
    InputError
        If shapes, labels or settings do not fit together, there is no block, or blocks can be read only once.

    Notes
    -----
    For a budget of b out of m copies there are about log(250 b / m) / log(1 + growth) rounds, 6 for 5 % with the default; each costs a
    pass over the pool, four over a few times as many copies as it takes, and a refit of the head. Memory: a block, the training points, the
    copies chosen and 8 times as many as the last round takes, in double precision, and a byte a copy.
    """
    check(growth, steps)
    if isinstance(blocks, Iterator):
        raise InputError("blocks: can be read only once, and every round reads them; give a list, or an object that begins anew each time")
    if not isinstance(target, tuple) and target not in (None, "self"):
        raise InputError(f"target: got {target!r}; expected (X, y), (X, y, weight), None or 'self' ('folds' needs all copies in memory)")
    with torch.inference_mode():
        choice = _Choice(head, train, blocks, target if isinstance(target, tuple) else None)
        size = budget_size(budget, choice.copies)
        choice.most = choice.heaviest() if weight == "auto" else checked_weight(weight)
        while choice.size < size:
            choice.round(min(size - choice.size, round_size(choice.size, choice.copies, growth)), steps)
        cause = {"target": "points" if isinstance(target, tuple) else "self", "C": float(head.C), "growth": growth, "steps": steps}
        return choice.found(cause)


class _Some(NamedTuple):
    """Some rows of the pool, in its order."""

    keys: Float64[np.ndarray, " some"]
    rows: Int64[np.ndarray, " some"]
    point: Int64[np.ndarray, " some"]
    y: Shaped[np.ndarray, " some"]
    X: Shaped[np.ndarray, "some features"]

    def at(self, chosen: npt.NDArray[np.int64]) -> _Some:
        """Some of them."""
        return _Some(*(column[chosen] for column in self))

    def joined(self, others: _Some) -> _Some:
        """These, and then others."""
        return _Some(*(np.concatenate(pair) for pair in zip(self, others, strict=True)))

    def lowest(self, keep: int) -> _Some:
        """Those with the lowest keys."""
        return self if len(self.keys) <= keep else self.at(np.sort(np.argpartition(self.keys, keep - 1)[:keep]))

    def pool(self, state: FittedHead) -> CopyPool:
        """These as candidates."""
        return CopyPool.of((self.X, self.y, self.point), state)


class _Choice:
    """What has been chosen so far, and the head that follows from it; `most`: what a copy may weigh."""

    def __init__(self, head: SoftmaxHead, train: Points, blocks: Iterable[Block], target: Points | None) -> None:
        self.state = FittedHead.of(head, train, "auto")
        self._head, self._blocks, self._target = deepcopy(head).set_params(warm_start=True), blocks, target
        weights = as_numpy(self.state.points.weights)
        self._train = (as_numpy(self.state.points.features), as_labels(train[1], len(weights), "train"), weights)
        self.copies, draws = 0, np.random.default_rng(0)
        self._sample = self._kept(len(weights), lambda pool, _: draws.random(len(pool)))
        self._taken = np.zeros(self.copies, dtype=np.bool_)
        self._chosen = self._sample.at(np.empty(0, dtype=np.int64))
        self._curve: list[tuple[int, float, float]] = []
        self.most = 1.0

    @property
    def size(self) -> int:
        """How many copies have been chosen."""
        return len(self._chosen.rows)

    @property
    def weight(self) -> float:
        """What each of them weighs."""
        return shared_weight(self.copies, self.size, self.most)

    def heaviest(self) -> float:
        """What `auto` lets a copy weigh; before any is chosen."""
        aim = None if self._target is None else self._aim()
        return heaviest(self.state, self._sample.pool(self.state), aim, self.copies)

    def round(self, count: int, steps: int) -> None:
        """Choose so many copies, or fewer if no others help any more, and refit the head."""
        reading, aim = self._read_target(), self._aim()
        s = self.state.curvature.solve(reading.gradient.reshape(1, -1)).reshape(self.state.V.shape)
        near = self._kept(min(MARGIN * count, self.copies - self.size), lambda pool, rows: self._worth(pool, rows, s))
        missing = None if self._target else reading.gradient - Target((aim,)).read(self.state.V).gradient
        fit = GrowingFit(self.state, near.pool(self.state), aim, missing=missing)
        before, share = self.size, round_steps(self.size, self.copies, steps)
        last = before + count == self.copies
        for taken in take(fit, count, share, lambda joined: shared_weight(self.copies, before + joined, self.most), last=last):
            picked = near.at(as_numpy(taken.picked))
            self._chosen = self._chosen.joined(picked._replace(keys=as_numpy(taken.worth.to(torch.float64))))
        self._taken[self._chosen.rows] = True
        added = (self._chosen.X, self._chosen.y, np.full(self.size, self.weight))
        X, y, weights = (np.concatenate(pair) for pair in zip(self._train, added, strict=True))
        self.state = FittedHead.of(self._head.fit(X, y, weights), (X, y, weights), "auto")

    def found(self, cause: Mapping[str, object]) -> ChosenCopies:
        """Everything that has been chosen, with the curve up to here."""
        self._read_target()
        worth, rows, point, y, X = self._chosen
        budgets, losses, accuracies = (np.array(column) for column in zip(*self._curve, strict=True))
        return ChosenCopies(X, y, point, rows, worth, budgets, losses, accuracies, self.weight, self.copies, cause)

    def _pools(self) -> Iterator[tuple[CopyPool, Block]]:
        """All blocks once, checked."""
        for block in track(self._blocks, "reading blocks of copies"):
            yield CopyPool.of(block, self.state), block

    def _kept(self, keep: int, keyed: Callable[[CopyPool, npt.NDArray[np.int64]], npt.NDArray[np.float64]]) -> _Some:
        """The copies of the pool with the lowest keys."""
        found, first = None, 0
        for pool, block in self._pools():
            rows = np.arange(first, first + len(pool))
            first += len(pool)
            if self.copies and first > self.copies:
                break
            labels = as_labels(block[1], len(pool), "blocks")
            some = _Some(keyed(pool, rows), rows, pool.point, labels, as_numpy(pool.points.features)).lowest(keep)
            found = (found.joined(some) if found else some).lowest(keep)
        if found is None:
            raise InputError("blocks: there is none; give (X, y, point) of some copies in each")
        if self.copies and first != self.copies:
            raise InputError(f"blocks: {self.copies} copies in all when first read, and others later; every round must read the same")
        self.copies = first
        return found

    def _worth(self, pool: CopyPool, rows: npt.NDArray[np.int64], s: Float[Tensor, "directions params"]) -> Float64[np.ndarray, " some"]:
        """The influence of some copies on the target; infinity for those that have been chosen."""
        worth: npt.NDArray[np.float64] = as_numpy(influences(pool.points, self.state.V, s, self.state.problem.basis))
        return np.where(self._taken[rows], np.inf, worth)

    def _read_target(self) -> Reading:
        """The target's loss, accuracy and gradient under the head, noted as the curve's next point."""
        aim: Iterable[PointSet] = (self._aim(),)
        if self._target is None:
            aim = chain((self.state.read(self._train, "train"),), (pool.points for pool, _ in self._pools()))
        reading = Target(aim).read(self.state.V)
        self._curve.append((self.size, reading.loss, reading.accuracy))
        return reading

    def _aim(self) -> PointSet:
        """The target; of the self-target the training points, and copies that stand for all."""
        if self._target is not None:
            return self.state.read(self._target, "target")
        own, some = self.state.read(self._train, "train"), self._sample.pool(self.state).points
        weights = torch.cat([own.weights, some.weights * (self.copies / len(some.weights))])
        return PointSet(torch.cat([own.features, some.features]), torch.cat([own.labels, some.labels]), weights, own.shift)
