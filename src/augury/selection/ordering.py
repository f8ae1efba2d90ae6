"""`Ordering`: the candidates in the order in which they are taken, and the budget that says how many are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from augury.errors import InputError
from augury.files import read_noun, write_table
from augury.notebook import show
from augury.scores import COLUMNS, Scores


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
    settings
        What else made the ordering, if its order needs more than odds: see `stratify` and `diversify`. Anything JSON can hold.
    """

    indices: Int64[np.ndarray, " points"]
    scores: Scores
    preference: str
    order: str
    seed: int
    budget: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not np.array_equal(np.sort(self.indices), np.arange(len(self.scores))):
            raise InputError(f"indices: expected each of the {len(self.scores)} candidates once, from 0; was a row of the file taken out?")
        if self.budget is not None and budget_size(self.budget, len(self)) != self.budget:
            raise InputError(f"budget: got {self.budget!r}; expected how many candidates are taken: within(...) takes shares, too")
        checked_seed(self.seed)

    def __len__(self) -> int:
        return len(self.indices)

    def _repr_html_(self) -> str:
        return show(self).html

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
        if self.settings:
            policy["settings"] = dict(self.settings)
        return write_table(path, self.to_frame(), {"kind": "selection", "policy": policy, "scores": self.scores.record()})

    @classmethod
    def load(cls, path: str | Path) -> Ordering:
        """Read what `save` wrote."""
        return read_noun(path, "selection", ("rank", *COLUMNS, "selected"), cls._from_frame)

    @classmethod
    def _from_frame(cls, frame: pd.DataFrame, record: Mapping[str, Any]) -> Ordering:
        scores = Scores.from_frame(frame.sort_values("index", ignore_index=True), record["scores"])
        return cls(frame["index"].to_numpy(dtype=np.int64), scores, **record["policy"])


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


def checked_seed(seed: object) -> int:
    """The seed as an int, or an `InputError` that tells what a seed is."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed: got {seed!r}; expected a whole number, 0 or more")
    return int(seed)


def checked_count(count: object, most: int, name: str) -> int:
    """A number of things from 1 to `most` as an int, or an `InputError` that names the argument."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 1 <= count <= most:
        raise InputError(f"{name}: got {count!r}; expected a whole number from 1 to {most}, the number of points")
    return int(count)


def _parsed(budget: str) -> int | float:
    budget = budget.strip()
    try:
        if budget.endswith("%"):
            return float(budget[:-1]) / 100
        return float(budget) if "." in budget else int(budget)
    except ValueError:
        raise InputError(f"budget: got {budget!r}; expected a number of points such as 50, or a share such as 10%") from None
