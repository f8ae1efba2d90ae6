"""From scores to an ordering of the candidates; a budget is a prefix of it.

A policy is a product of two small choices: the *preference* turns scores into odds of being taken, the *order* turns odds into a full
ordering. Budgets nest, so one draw serves all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from jaxtyping import Int64

from augury.files import read_table, write_table
from augury.scores import Scores


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

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def selected(self) -> Int64[np.ndarray, " selected"]:
        """The indices within the budget, the first to take first."""
        return self.indices[: self.budget]

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
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote."""
        frame, record = read_table(path, "selection")
        scores = Scores.from_frame(frame.sort_values("index", ignore_index=True), record["scores"])
        return cls(frame["index"].to_numpy(), scores, **record["policy"])
