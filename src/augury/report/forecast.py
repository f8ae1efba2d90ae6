"""What a choice of copies predicted before any retraining, beside what was measured after it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from augury.copies import CopyOrdering
from augury.report.outcome import Outcome

Quantity = Literal["loss", "accuracy"]


@dataclass(frozen=True)
class Forecast:
    """The prediction of `ordering`, on its target, and the measurements of `outcome`, on the test set."""

    ordering: CopyOrdering
    outcome: Outcome

    @property
    def recommended(self) -> int:
        """The recommended number of copies: perhaps 0."""
        return int(self.ordering.cause["recommended"])

    @property
    def weight(self) -> float:
        """What each of the chosen copies weighs."""
        return self.ordering.weight_at(self.outcome.budget)

    @cached_property
    def predicted(self) -> pd.DataFrame:
        """The predicted curve where it was evaluated: budget, loss, accuracy, weight."""
        return self.ordering.predicted()

    @cached_property
    def measured(self) -> pd.DataFrame:
        """Accuracy and loss of the choice on the test set, from no copy to all: budget, loss, accuracy."""
        curve, copies = self.outcome.curve, len(self.ordering)
        frame = curve.frame[curve.frame["policy"] == self.outcome.policy]
        means = frame.groupby("budget")[["loss", "accuracy"]].mean()
        means.loc[0] = [curve.cause["none_loss"], curve.none]
        means.loc[copies] = [curve.cause["full_loss"], curve.full]
        return means.sort_index().rename_axis("budget").reset_index()

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Both at the measured budgets: budget, loss, accuracy, and predicted_loss, predicted_accuracy."""
        told = self.ordering.predicted(self.measured["budget"].to_numpy())
        return self.measured.assign(**{f"predicted_{name}": told[name] for name in ("loss", "accuracy")})

    def correlation(self, of: Quantity) -> float:
        """Spearman's rank correlation of prediction and measurement over the measured budgets; NaN where one of them never changes."""
        ranked = self.compared[[of, f"predicted_{of}"]].corr(method="spearman")
        return float(ranked.to_numpy()[0, 1])

    @cached_property
    def at_recommended(self) -> tuple[float, float]:
        """Loss and accuracy that are predicted for the recommended budget."""
        row = self.ordering.predicted(np.array([self.recommended])).iloc[0]
        return float(row["loss"]), float(row["accuracy"])
