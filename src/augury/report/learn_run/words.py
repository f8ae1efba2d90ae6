"""The result in words, and in the table that a person reads."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from augury.report.learn_run.folder import LEARNED
from augury.report.words import NOTHING

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean with its 95 % interval by Student's t over seeds; both ends NaN where there is one seed."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> Interval:
        """Of some measurements."""
        mean, count = float(values.mean()), len(values)
        if count < 2:
            return cls(mean, math.nan, math.nan)
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * values.std(ddof=1) / math.sqrt(count))
        return cls(mean, mean - reach, mean + reach)


class Row(NamedTuple):
    """An augmentation's networks on the test set; `ahead` is how far the learned augmentation is above them, in accuracy, by seed."""

    name: str
    accuracy: Interval
    deviation: float
    loss: float
    ahead: Interval | None
    networks: int
    train_labels: int
    target_labels: int

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table shows."""
        spread = "" if math.isnan(self.deviation) else f" ± {100 * self.deviation:.2f}"
        ahead = NOTHING if self.ahead is None else f"{100 * self.ahead.mean:+.2f}{_bracket(self.ahead)}"
        accuracy = f"{100 * self.accuracy.mean:.2f} %{spread}"
        return accuracy, f"{self.loss:.4f}", ahead, f"{self.train_labels:,}", f"{self.target_labels:,}", str(self.networks)


def rows(results: pd.DataFrame) -> list[Row]:
    """A row an augmentation: what was learned, then the others, the most accurate first."""
    accuracies = results.pivot_table(index="seed", columns="augmentation", values="accuracy")
    found = []
    for name, part in results.groupby("augmentation"):
        ahead = None if name == LEARNED else Interval.of((accuracies[LEARNED] - accuracies[name]).to_numpy())
        first = part.iloc[0]
        own = part["accuracy"].to_numpy()
        spread = float(own.std(ddof=1)) if len(own) > 1 else math.nan
        labels = int(first["train_labels"]), int(first["target_labels"])
        found.append(Row(str(name), Interval.of(own), spread, float(part["loss"].mean()), ahead, len(own), *labels))
    return sorted(found, key=lambda row: (row.name != LEARNED, -row.accuracy.mean, row.loss))


def headline(results: pd.DataFrame, *, elsewhere: bool = False) -> tuple[str, str]:
    """What is claimed, and what it rests on: the learned augmentation against the best of the others.

    `elsewhere`: the test images are the training data's own, though the target is other data.
    """
    learned, *others = rows(results)
    best = others[0]
    assert best.ahead is not None
    points = f"{abs(100 * best.ahead.mean):.2f} points"
    if math.isnan(best.ahead.low):
        side = f"{points} {'above' if best.ahead.mean > 0 else 'below'}" if best.ahead.mean else "out level with"
        claim = f"The learned augmentation came {side} the best other, {best.name}"
        caution = " A single network was fitted with each, so the spread is unknown."
    else:
        claim = _claim(best, points)
        caution = f" Difference by seed {100 * best.ahead.mean:+.2f} points{_bracket(best.ahead)}, over {best.networks} networks each."
    labels = f"{learned.train_labels + learned.target_labels:,} labels"
    evidence = (
        f"Test accuracy {100 * learned.accuracy.mean:.2f} % against {100 * best.accuracy.mean:.2f} % with {best.name}, "
        f"test loss {learned.loss:.4f} against {best.loss:.4f}, with the same {labels} in every row.{caution} "
        "The best other is chosen after the fact."
    )
    if elsewhere:
        claim = f"On the training data's own test images {claim[0].lower()}{claim[1:]}"
        evidence += " Of images such as the target's this tells nothing: test on labelled ones (--test)."
    return claim, evidence


def check_words(check: pd.DataFrame) -> tuple[float, float]:
    """Pearson's correlation of predicted and measured changes, and the slope of the line by least squares."""
    predicted, measured = check["predicted"].to_numpy(), check["measured"].to_numpy()
    if predicted.std() == 0 or measured.std() == 0:
        return math.nan, math.nan
    return float(np.corrcoef(predicted, measured)[0, 1]), float(np.polyfit(predicted, measured, 1)[0])


def _claim(best: Row, points: str) -> str:
    assert best.ahead is not None
    if best.ahead.low > 0:
        return f"The learned augmentation gained {points} over the best other, {best.name}"
    if best.ahead.high < 0:
        return f"The learned augmentation fell {points} short of the best other, {best.name}"
    return f"The learned augmentation and the best other, {best.name}, differ by no more than networks do"


def _bracket(interval: Interval) -> str:
    return "" if math.isnan(interval.low) else f" [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"
