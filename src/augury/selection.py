"""From scores to an ordering of the candidates; a budget is a prefix of it.

A policy is a product of two small choices: the *preference* turns scores into odds of being taken, the *order* turns odds into a full
ordering. Budgets nest, so one draw serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Int64

from augury.errors import InputError
from augury.files import read_table, write_table
from augury.scores import COLUMNS, Scores

Preference = Literal["proportional", "inverse", "uniform", "softmax", "inverse_softmax"]
Order = Literal["sampled", "ranked"]
Values = npt.NDArray[np.float64]
SMALLEST_ODDS = 1e-20  # stands in for a score of zero, unless a positive score is smaller still (paper 2's code)


@dataclass(frozen=True)
class Ordering:
    """All candidates, the first to take first; with a budget, a selection.

    Parameters
    ----------
    indices
        (points,) a permutation of the candidates' indices.
    scores
        What the ordering was made from.
    preference, order, seed
        The policy (see `rank`) and its draw.
    budget
        How many candidates are taken; None: all.
    """

    indices: Int64[np.ndarray, " points"]
    scores: Scores
    preference: str
    order: str
    seed: int
    budget: int | None = None

    def __post_init__(self) -> None:
        if not np.array_equal(np.sort(self.indices), np.arange(len(self.scores))):
            raise InputError(f"indices: expected each of the {len(self.scores)} candidates once, from 0; was a row of the file taken out?")
        if self.budget is not None:
            budget_size(self.budget, len(self))

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def selected(self) -> Int64[np.ndarray, " selected"]:
        """The indices within the budget, the first to take first."""
        return self.indices[: self.budget]

    def within(self, budget: float | int | str) -> Ordering:  # noqa: PYI041  (checked at run time, where 1 is no float)
        """The same ordering with another budget: a number of points, a share in (0, 1], or a text such as "10%"; see `budget_size`."""
        return replace(self, budget=budget_size(budget, len(self)))

    def to_frame(self) -> pd.DataFrame:
        """One row a candidate, in rank order: rank (from 1), index, origin, label, score, loss, probability, selected."""
        frame = self.scores.to_frame().iloc[self.indices].reset_index(drop=True)
        frame.insert(0, "rank", np.arange(1, len(self) + 1))
        return frame.assign(selected=frame["rank"] <= (len(self) if self.budget is None else self.budget))

    def save(self, path: str | Path) -> Path:
        """Write `to_frame()` as Parquet, atomically; the policy and the scores' cause travel in its metadata."""
        policy = {"preference": self.preference, "order": self.order, "seed": self.seed, "budget": self.budget}
        return write_table(path, self.to_frame(), {"kind": "selection", "policy": policy, "scores": self.scores.record()})

    @classmethod
    def load(cls, path: str | Path) -> Ordering:
        """Read what `save` wrote."""
        frame, record = read_table(path, "selection", ("rank", *COLUMNS, "selected"))
        scores = Scores.from_frame(frame.sort_values("index", ignore_index=True), record["scores"])
        return cls(frame["index"].to_numpy(), scores, **record["policy"])


def rank(scores: Scores, preference: Preference = "proportional", order: Order = "sampled", seed: int = 0) -> Ordering:
    """Order all candidates, the one to augment first coming first.

    Parameters
    ----------
    scores
        What each candidate is worth; scores below zero count as zero in draws.
    preference
        The odds of a candidate with score s: `proportional` s; `inverse` 1 / s; `uniform` 1; `softmax` exp(s); `inverse_softmax`
        exp(1 / s). A score of zero counts as the smallest positive one, at most 1e-20 (paper 2's code).
    order
        `sampled`: drawn one after another without replacement, each time with probability proportional to the odds of those that remain;
        `ranked`: by falling odds, ties in the candidates' order.
    seed
        Of the draw, 0 or more; the same scores and seed give the same ordering on every machine.

    Notes
    -----
    The draw adds Gumbel noise to the logarithms of the odds and sorts (Plackett 1975, Luce 1959; Yellott 1977), one pass, n log n, and it
    does not underflow where odds differ by hundreds of orders of magnitude.
    """
    if preference not in _LOG_ODDS:
        raise InputError(f"preference: got {preference!r}; expected one of {', '.join(get_args(Preference))}")
    if order not in get_args(Order):
        raise InputError(f"order: got {order!r}; expected one of {', '.join(get_args(Order))}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed: got {seed!r}; expected a whole number, 0 or more")
    odds = _LOG_ODDS[preference](scores.values)
    noise = np.random.default_rng(seed).gumbel(size=len(odds)) if order == "sampled" else np.zeros(len(odds))
    # Where the sum hides the noise (odds of exp(1e20)), equal odds must still be drawn, hence the second and third key. Scores below zero
    # share the odds of zero; the fourth key ranks them, too, by score. What is equal in all stays in the candidates' order.
    ties = _DIRECTION[preference] * scores.values
    indices = np.lexsort((-ties, -noise, -odds, -(odds + noise)))
    return Ordering(indices.astype(np.int64), scores, preference, order, int(seed))


def budget_size(budget: float | int | str, candidates: int) -> int:  # noqa: PYI041  (checked at run time, where 1 is no float)
    """How many of `candidates` a budget takes: a count (50, "50"), or a share ("10%", 0.1), rounded, at least one.

    An integer is a count and a float is a share, so that 1 is one candidate and 1.0 is all of them.
    """
    amount = _parsed(budget) if isinstance(budget, str) else budget
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise InputError(f"budget: got {budget!r}; expected a number of points such as 50, or a share such as 10%")
    if isinstance(amount, Integral):
        if not 1 <= amount <= candidates:
            raise InputError(f"budget: {budget} of {candidates} points; expected a number from 1 to {candidates}, or a share such as 10%")
        return int(amount)
    if not 0 < amount <= 1:
        raise InputError(f"budget: a share of {amount:g}; expected more than 0 and at most 1 (100%), or a whole number of points")
    return max(1, round(amount * candidates))


def _parsed(budget: str) -> int | float:
    budget = budget.strip()
    try:
        if budget.endswith("%"):
            return float(budget[:-1]) / 100
        return float(budget) if "." in budget else int(budget)
    except ValueError:
        raise InputError(f"budget: got {budget!r}; expected a number of points such as 50, or a share such as 10%") from None


def _positive(values: Values) -> Values:
    """The scores with zero, and what lies below, replaced by the smallest positive score, at most 1e-20."""
    positive = values[values > 0]
    smallest = min(positive.min(), SMALLEST_ODDS) if len(positive) else 1.0
    return np.where(values > 0, values, smallest)


_LOG_ODDS: dict[str, Callable[[Values], Values]] = {
    "proportional": lambda values: np.log(_positive(values)),
    "inverse": lambda values: -np.log(_positive(values)),
    "uniform": np.zeros_like,
    "softmax": lambda values: values,
    "inverse_softmax": lambda values: 1 / np.maximum(_positive(values), np.finfo(np.float64).tiny),
}
_DIRECTION = {"proportional": 1, "inverse": -1, "uniform": 0, "softmax": 1, "inverse_softmax": -1}
