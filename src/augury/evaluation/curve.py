"""`Curve`: accuracy by policy, budget and seed, between no and full augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import bootstrap

from augury.errors import InputError
from augury.files import read_noun, write_table

COLUMNS = ("policy", "seed", "budget", "accuracy")


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

        `deviation` is the sample deviation over seeds (NaN for one seed); `low` and `high` bound the bootstrap 95 % interval of the mean
        (percentiles; NaN for one seed); `share` is (mean - none) / (full - none), the share of full augmentation's gain (NaN where full
        augmentation gains nothing).
        """
        gain = self.full - self.none
        rows = []
        for (policy, budget), group in self.frame.groupby(["policy", "budget"], sort=False)["accuracy"]:
            low, high = interval(group.to_numpy())
            share = (group.mean() - self.none) / gain if gain > 0 else np.nan
            rows.append((policy, budget, group.mean(), group.std(), low, high, len(group), share))
        return pd.DataFrame(rows, columns=["policy", "budget", "mean", "deviation", "low", "high", "n", "share"])

    def areas(self) -> pd.DataFrame:
        """Area under the curve, one row a policy and seed: `policy, seed, area`.

        The trapezoid of accuracy over budgets [0, ..., points], with `none` at budget 0 and `full` at budget `points`; it lies between 0
        and `points`, so that an area of 970 for 1,000 points is a mean accuracy of 97 % over all budgets.
        """
        rows = []
        for (policy, seed), group in self.frame.groupby(["policy", "seed"], sort=False):
            measured = dict(zip(group["budget"], group["accuracy"], strict=True))
            budgets, accuracies = zip(*sorted(({0: self.none, self.points: self.full} | measured).items()), strict=True)
            rows.append((policy, seed, np.trapezoid(accuracies, budgets)))
        return pd.DataFrame(rows, columns=["policy", "seed", "area"])

    def save(self, path: str | Path) -> Path:
        """Write `frame` as Parquet, atomically; baselines and cause travel in its metadata."""
        record = {"kind": "curve", "none": self.none, "full": self.full, "points": self.points, "cause": dict(self.cause)}
        return write_table(path, self.frame, record)

    @classmethod
    def load(cls, path: str | Path) -> Curve:
        """Read what `save` wrote."""
        return read_noun(path, "curve", COLUMNS, cls._from_frame)

    @classmethod
    def _from_frame(cls, frame: pd.DataFrame, record: Mapping[str, Any]) -> Curve:
        if not all(isinstance(policy, str) for policy in frame["policy"]):
            raise InputError("policy: expected the policies' names")
        plain = frame.astype({"seed": np.int64, "budget": np.int64, "accuracy": np.float64})
        return cls(plain, float(record["none"]), float(record["full"]), int(record["points"]), dict(record["cause"]))


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The bootstrap 95 % interval of the mean, by percentiles; the same values give the same interval."""
    if len(values) < 2:
        return np.nan, np.nan
    found = bootstrap((values,), np.mean, confidence_level=0.95, method="percentile", rng=0).confidence_interval
    return float(found.low), float(found.high)
