"""`CopyOrdering`: all candidates, the copy to add first coming first, with the curve that was predicted before any retraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from augury.augmentation import CopiedFeatures, TrainingSet
from augury.copies.predicted import PredictedCurve
from augury.errors import InputError
from augury.files import read_noun, write_table
from augury.notebook import show
from augury.selection import Ordering, budget_size

COLUMNS = ("rank", "candidate", "point", "copy", "influence", "selected")
KIND = "copies-ordering"
Array = npt.NDArray[Any]


def shared_weight(copies: int, chosen: int, most: float) -> float:
    """What each chosen copy weighs: as many copies as it stands for, copies / chosen, but from 1 to `most`.

    All of them together never weigh more than all copies under full augmentation, where each weighs 1.
    """
    return max(1.0, min(most, copies / max(chosen, 1)))


@dataclass(frozen=True)
class CopyOrdering(PredictedCurve):
    """All candidates in the order in which to take them; a budget, counted in copies, is a prefix.

    Parameters
    ----------
    candidates
        (copies,) rows of the pool, the first to take first; of a pool given as (points, copies, features), i k + j is copy j of point i.
    point, copy
        (copies,) the training point and its copy, in the same order.
    influence
        (copies,) predicted change of the target's mean loss, in nats a unit of weight, when the copy was chosen: negative helps. NaN where
        nothing was predicted.
    budgets, loss, accuracy
        (budgets,) the predicted curve: numbers of copies, from 0; the target's mean loss in nats; the share of the target (by weight) whose
        label has the highest predicted score. Empty where nothing was predicted.
    weight
        What a chosen copy may count for at most; see `weight_at`.
    budget
        How many copies are taken; None: all.
    cause
        What was chosen for and how: anything JSON can hold.
    """

    candidates: Int64[np.ndarray, " copies"]
    point: Int64[np.ndarray, " copies"]
    copy: Int64[np.ndarray, " copies"]
    influence: Float64[np.ndarray, " copies"]
    budgets: Int64[np.ndarray, " budgets"]
    loss: Float64[np.ndarray, " budgets"]
    accuracy: Float64[np.ndarray, " budgets"]
    weight: float = 1.0
    budget: int | None = None
    cause: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not np.array_equal(np.sort(self.candidates), np.arange(len(self.candidates))):
            raise InputError("candidates: expected each copy once, numbered from 0; was a row of the file taken out?")
        if self.budget is not None:
            budget_size(self.budget, len(self))
        if not self.weight >= 1:
            raise InputError(f"weight: got {self.weight}; expected 1 (each copy counts as one) or more")

    def __len__(self) -> int:
        return len(self.candidates)

    def _repr_html_(self) -> str:
        return show(self).html

    @property
    def selected(self) -> Int64[np.ndarray, " selected"]:
        """The candidates within the budget, the first to take first."""
        return self.candidates[: self.budget]

    def within(self, budget: float | int | str) -> CopyOrdering:  # noqa: PYI041  (checked at run time, where 1 is no float)
        """The same ordering with another budget: a number of copies, a share in (0, 1], or a text such as "10%"."""
        return replace(self, budget=budget_size(budget, len(self)))

    def weight_at(self, budget: int) -> float:
        """What each of `budget` chosen copies weighs; see `shared_weight`."""
        return shared_weight(len(self), budget, self.weight)

    def mask(self, shape: tuple[int, int]) -> Bool[np.ndarray, "points copies"]:
        """Which copies are within the budget, as an array of `shape` (points, copies)."""
        if shape[0] * shape[1] != len(self):
            raise InputError(f"shape: {shape} holds {shape[0] * shape[1]} copies, and the ordering {len(self)}")
        found = np.zeros(shape, dtype=np.bool_)
        found[self.point[: self.budget], self.copy[: self.budget]] = True
        return found

    def to_frame(self) -> pd.DataFrame:
        """One row a copy, in rank order: rank (from 1), candidate, point, copy, influence, selected."""
        rank = np.arange(1, len(self) + 1)
        values = {"candidate": self.candidates, "point": self.point, "copy": self.copy, "influence": self.influence}
        return pd.DataFrame({"rank": rank, **values, "selected": rank <= (len(self) if self.budget is None else self.budget)})

    def save(self, path: str | Path) -> Path:
        """Write `to_frame()` as Parquet, atomically; predicted curve, weight, budget and cause travel in its metadata."""
        curve = {name: getattr(self, name).tolist() for name in ("budgets", "loss", "accuracy")}
        record = {"kind": KIND, "curve": curve, "weight": self.weight, "budget": self.budget, "cause": dict(self.cause)}
        return write_table(path, self.to_frame(), record)

    @classmethod
    def load(cls, path: str | Path) -> CopyOrdering:
        """Read what `save` wrote."""
        return read_noun(path, KIND, COLUMNS, cls._from_frame)

    @classmethod
    def _from_frame(cls, frame: pd.DataFrame, record: Mapping[str, Any]) -> CopyOrdering:
        candidates, point, copy = (frame[name].to_numpy(dtype=np.int64) for name in ("candidate", "point", "copy"))
        curve = record["curve"]
        loss, accuracy = (np.array(curve[name], dtype=np.float64) for name in ("loss", "accuracy"))
        influence = frame["influence"].to_numpy(dtype=np.float64)
        budgets = np.array(curve["budgets"], dtype=np.int64)
        weight, budget, cause = (record[name] for name in ("weight", "budget", "cause"))
        return cls(candidates, point, copy, influence, budgets, loss, accuracy, weight, budget, cause)


def by_points(ordering: Ordering, copies: int) -> CopyOrdering:
    """The ordering of copies that takes all `copies` of a point together, the points in the given order: what papers call a policy.

    Nothing is predicted; a budget of b points is one of b x `copies` copies.
    """
    if copies < 1:
        raise InputError(f"copies: got {copies}; expected how many copies each point has, at least 1")
    point = np.repeat(ordering.indices, copies)
    copy = np.tile(np.arange(copies), len(ordering))
    none = np.empty(0)
    budget = None if ordering.budget is None else ordering.budget * copies
    cause = {"preference": ordering.preference, "order": ordering.order, "seed": ordering.seed, "score": ordering.scores.method}
    return CopyOrdering(
        point * copies + copy, point, copy, np.full(len(point), np.nan), none.astype(np.int64), none, none, budget=budget, cause=cause
    )


def training_set(train: CopiedFeatures, ordering: CopyOrdering, budget: int | None = None) -> TrainingSet:
    """What a head is fitted to: every original with weight 1, then the chosen copies, each with the weight that the ordering gives it.

    Parameters
    ----------
    train
        The training points and all their copies, as features.
    ordering
        Made from these copies.
    budget
        How many copies, 0 or more; None: the ordering's own budget.
    """
    points, copies, width = train.copies.shape
    if points * copies != len(ordering):
        raise InputError(f"ordering: of {len(ordering)} copies, and the training points have {points} x {copies}")
    size = len(ordering.selected) if budget is None else budget
    if not 0 <= size <= len(ordering):
        raise InputError(f"budget: {budget} of {len(ordering)} copies; expected a number from 0 to {len(ordering)}")
    chosen = ordering.candidates[:size]
    X = np.concatenate([train.features, train.copies.reshape(-1, width)[chosen]]).astype(np.float64)
    weights = np.concatenate([np.ones(points), np.full(size, ordering.weight_at(size))])
    return TrainingSet(X, np.concatenate([train.labels, train.labels[chosen // copies]]), weights)
