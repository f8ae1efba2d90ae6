"""What a selection is worth, measured: accuracy by policy, budget and seed, between no and full augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from joblib import Parallel, delayed
from scipy.stats import bootstrap
from sklearn.base import clone

from augury.augmentation import CopiedFeatures
from augury.errors import InputError
from augury.files import read_table, write_table
from augury.head import SoftmaxHead
from augury.progress import track
from augury.selection import Ordering, budget_size

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
            low, high = _interval(group.to_numpy())
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
        frame, record = read_table(path, "curve", COLUMNS)
        return cls(frame, record["none"], record["full"], record["points"], record["cause"])


def measure(
    train: CopiedFeatures,
    test: tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.int64]],
    policies: Mapping[str, Sequence[Ordering]],
    budgets: Sequence[int],
    *,
    head: SoftmaxHead | None = None,
    downweight: bool = False,
    jobs: int = 1,
    cause: Mapping[str, Any] | None = None,
) -> Curve:
    """Retrain the head at each budget of each ordering, and measure its accuracy on the test set.

    Parameters
    ----------
    train
        Training points and all their copies, as features.
    test
        Features and labels; with the copies of the test points among them, if invariance is to be measured ("augmented test").
    policies
        Orderings of the training points by policy, one for each seed.
    budgets
        Numbers of points augmented, each from 1 to all; none is measured twice.
    head
        The head to be cloned and fitted; None: C = 1.
    downweight
        Whether a point and its copies share the point's weight.
    jobs
        Processes; the results do not depend on their number.
    cause
        What should travel with the curve into files.

    Raises
    ------
    InputError
        If a budget is out of range, an ordering is of another number of points, or a policy has two orderings of one seed.

    Notes
    -----
    Each ordering's refits start from the solution at the budget before. One refit costs some Newton steps on the augmented set; each
    process computes with one thread.
    """
    plain = SoftmaxHead() if head is None else head
    sizes = sorted({budget_size(budget, len(train)) for budget in budgets})
    cells = [(policy, ordering) for policy, orderings in policies.items() for ordering in orderings]
    _check_cells(cells, len(train))
    extremes = [np.arange(0), np.arange(len(train))]
    tasks = [delayed(_accuracies)(train, test, [chosen], plain, downweight) for chosen in extremes]
    tasks += [delayed(_accuracies)(train, test, [o.indices[:b] for b in sizes], plain, downweight) for _, o in cells]
    found = list(track(Parallel(n_jobs=jobs, return_as="generator")(tasks), "measuring the curve", total=len(tasks)))
    (none,), (full,) = found[:2]
    rows = [
        (policy, ordering.seed, budget, accuracy)
        for (policy, ordering), accuracies in zip(cells, found[2:], strict=True)
        for budget, accuracy in zip(sizes, accuracies, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return Curve(frame, none, full, len(train), dict(cause or {}))


def _check_cells(cells: Sequence[tuple[str, Ordering]], points: int) -> None:
    for policy, ordering in cells:
        if len(ordering) != points:
            raise InputError(f"policies: an ordering of {policy!r} has {len(ordering)} points, and the training set {points}")
    if len({(policy, ordering.seed) for policy, ordering in cells}) < len(cells):
        raise InputError("policies: two orderings of a policy have the same seed; expected one ordering for each seed")


def _accuracies(
    train: CopiedFeatures,
    test: tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.int64]],
    choices: Sequence[npt.NDArray[np.int64]],
    head: SoftmaxHead,
    downweight: bool,  # noqa: FBT001  (called with joblib's `delayed`, all by position)
) -> list[float]:
    """Test accuracy with each of `choices` augmented; alone with one thread, so that processes do not fight for the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fitted = clone(head).set_params(warm_start=True)
        return [float(fitted.fit(*train.augmented(chosen, downweight=downweight)).score(*test)) for chosen in choices]
    finally:
        torch.set_num_threads(threads)


def _interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The bootstrap 95 % interval of the mean, by percentiles; the same values give the same interval."""
    if len(values) < 2:
        return np.nan, np.nan
    found = bootstrap((values,), np.mean, confidence_level=0.95, method="percentile", rng=0).confidence_interval
    return float(found.low), float(found.high)
