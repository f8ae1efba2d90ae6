"""A curve read at the chosen budget: the numbers that the headline, the tables and the charts share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from augury.copies import CopyOrdering
from augury.errors import InputError
from augury.evaluation import Curve
from augury.selection import Ordering

Selection = Ordering | CopyOrdering


@dataclass(frozen=True)
class Outcome:
    """What was measured (`curve`) and what was selected (`ordering`), looked up together."""

    curve: Curve
    ordering: Selection

    @cached_property
    def summary(self) -> pd.DataFrame:
        """`curve.summary()`, computed once."""
        return self.curve.summary()

    @property
    def unit(self) -> str:
        """What is chosen and what budgets count: points or copies."""
        return "copies" if isinstance(self.ordering, CopyOrdering) else "points"

    @property
    def budget(self) -> int:
        """How many points or copies the selection holds."""
        return len(self.ordering.selected)

    @property
    def gained(self) -> bool:
        """Whether full augmentation beats no augmentation, so that a share of its gain has a meaning."""
        return self.curve.full > self.curve.none

    @property
    def is_within_spread(self) -> bool:
        """Whether full augmentation's gain is no larger than draws of a policy differ (one deviation), so that shares of it say little."""
        deviations = [self.chosen(policy)["deviation"] for policy in self.policies]
        return self.gained and any(self.curve.full - self.curve.none <= deviation for deviation in deviations)

    @property
    def is_full(self) -> bool:
        """Whether all of them were selected."""
        return self.budget == self.curve.points

    @property
    def policy(self) -> str:
        """The name of the policy that made the selection."""
        policy, measured = self.curve.cause.get("policy"), self.curve.policies
        if policy not in measured:
            raise InputError(f"curve: its cause names the policy {policy!r}; expected one that was measured: {', '.join(measured)}")
        return str(policy)

    @property
    def baseline(self) -> str | None:
        """The name of the random baseline; None where none was measured, or where it is the chosen policy itself."""
        baseline = self.curve.cause.get("baseline")
        return baseline if baseline in self.curve.policies and baseline != self.policy else None

    @property
    def at_random(self) -> str:
        """What the random baseline adds, in words."""
        return "random points" if self.unit == "points" else str(self.baseline)

    @property
    def policies(self) -> list[str]:
        """The measured policies: the chosen one, the random baseline, then the others as they were measured."""
        first = [policy for policy in (self.policy, self.baseline) if policy is not None]
        return first + [policy for policy in self.curve.policies if policy not in first]

    def measurements(self, policy: str) -> pd.DataFrame:
        """The rows of `summary` that measured `policy`, by growing budget."""
        return self.summary[self.summary["policy"] == policy].sort_values("budget", ignore_index=True)

    def chosen(self, policy: str) -> pd.Series:
        """The row of `summary` that measured `policy` at the chosen budget."""
        found = self.summary[(self.summary["policy"] == policy) & (self.summary["budget"] == self.budget)]
        if found.empty:
            raise InputError(
                f"curve: no accuracy of the policy {policy!r} at the selection's budget of {self.budget:,}; measure it there too"
            )
        return found.iloc[0]

    @property
    def decimals(self) -> int:
        """Decimals of an accuracy in per cent that tell the two baselines apart: one, or two where they are close."""
        return 1 if abs(self.curve.full - self.curve.none) >= 0.005 else 2

    def percent(self, accuracy: float) -> str:
        """An accuracy in per cent: "93.1 %"."""
        return f"{100 * accuracy:.{self.decimals}f} %"
