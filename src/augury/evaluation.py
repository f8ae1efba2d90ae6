"""What a selection is worth, measured: accuracy by policy, budget and seed, between no and full augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from augury.files import read_table, write_table


@dataclass(frozen=True)
class Curve:
    """Accuracy on the test set after retraining with a growing part of the training points augmented.

    Parameters
    ----------
    frame
        One row a retraining: `policy` (name), `seed`, `budget` (points augmented, at least 1), `accuracy` (in [0, 1]).
    none, full
        Accuracy with no point and with every point augmented: the two baselines, the same for every policy.
    points
        Number of training points: the budget of full augmentation.
    cause
        What was measured (policies, transforms, test set and its size, head): anything JSON can hold.
    """

    frame: pd.DataFrame
    none: float
    full: float
    points: int
    cause: Mapping[str, Any] = field(default_factory=dict)

    @property
    def policies(self) -> list[str]:
        """The policies' names, in the order in which they were measured."""
        return list(dict.fromkeys(self.frame["policy"]))

    def summary(self) -> pd.DataFrame:
        """One row a policy and budget: `policy, budget, mean, deviation, low, high, n, share`.

        `deviation` is the sample deviation over seeds (NaN for one seed); `low` and `high` bound the bootstrap 95 % interval of the mean;
        `share` is (mean - none) / (full - none), the share of full augmentation's gain (NaN where full augmentation gains nothing).
        """
        raise NotImplementedError

    def areas(self) -> pd.DataFrame:
        """Area under the curve, one row a policy and seed: `policy, seed, area`.

        The trapezoid of accuracy over budgets [0, ..., points], with `none` at budget 0 and `full` at budget `points`; it lies between 0
        and `points`, so that an area of 970 for 1,000 points is a mean accuracy of 97 % over all budgets.
        """
        raise NotImplementedError

    def save(self, path: str | Path) -> Path:
        """Write `frame` as Parquet, atomically; baselines and cause travel in its metadata."""
        record = {"kind": "curve", "none": self.none, "full": self.full, "points": self.points, "cause": dict(self.cause)}
        return write_table(path, self.frame, record)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote."""
        frame, record = read_table(path, "curve")
        return cls(frame, record["none"], record["full"], record["points"], record["cause"])
