"""The numbers of the paper's tables, ours and theirs: areas under the curves (Tables 3 to 20), accuracies at some budgets (Table 1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from augury.report.subsampling import paper
from augury.report.subsampling.markdown import NOTHING
from augury.report.subsampling.paper import POLICIES, SCORES, Policy
from augury.report.subsampling.variant import AT_RANDOM, Variant

OURS = ["mean", "deviation", "n"]
THEIRS = ["mean", "deviation", "rank"]


def area_table(variant: Variant, score: str) -> pd.DataFrame:
    """Areas under the curves by policy of one score, ours and the paper's, our best first.

    Indexed by `Policy`; columns `mean, deviation, n, rank` are ours and `paper_mean, paper_deviation, paper_rank` the paper's (NaN where
    the variant is not comparable). `rank` counts among the paper's policies only. The baseline belongs to every score.
    """
    found = _areas(variant, score)
    index = _index([*POLICIES, *sorted(set(found) - set(POLICIES))])
    ours = pd.DataFrame([found.get(policy, (np.nan, np.nan, 0)) for policy in index], index=index, columns=OURS)
    ours["rank"] = ours["mean"].where(index.isin(POLICIES)).rank(ascending=False, method="min")
    theirs = paper.table(variant.task, score) if variant.comparable else pd.DataFrame(index=index[:0], columns=THEIRS, dtype=float)
    joined = ours.join(theirs[THEIRS].reindex(index).add_prefix("paper_"))
    return joined.sort_values(["mean", "paper_rank"], ascending=[False, True], kind="stable")


def _areas(variant: Variant, score: str) -> dict[Policy, tuple[float, float, int]]:
    """Mean, sample deviation and number of seeds of each policy that was measured by `score`, and of the baseline."""
    chosen = {policy: areas for (by, policy), areas in variant.areas.items() if by == score or (by, policy) == AT_RANDOM}
    return {policy: (float(areas.mean()), deviation(areas), len(areas)) for policy, areas in chosen.items()}


def deviation(values: np.ndarray) -> float:
    """The sample deviation; NaN for a single value."""
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan


def _index(policies: list[Policy]) -> pd.Index:
    return pd.Index(policies, tupleize_cols=False)


class Row(NamedTuple):
    """Accuracies in [0, 1] with 0, 5, 10, 25 and 100 % of the points augmented, at random (`baseline`) and by the best policy."""

    none: float
    baseline: tuple[float, ...]
    best: tuple[float, ...]
    full: float

    def share(self, accuracy: float) -> float:
        """The share of full augmentation's gain that an accuracy stands for; NaN where full augmentation gains nothing."""
        gain = self.full - self.none
        return (accuracy - self.none) / gain if gain > 0 else np.nan


def table_1(variant: Variant) -> tuple[Row, tuple[str, ...]]:
    """Our row of Table 1, with the names of the policies that were best at 5, 10 and 25 %; NaN where a budget was not measured.

    "Best" is, as in the paper, the highest mean observed on the test set among the paper's policies by either score.
    """
    budgets = [round(percentage * variant.points / 100) for percentage in paper.PERCENTS]
    best = [_best(variant, budget) for budget in budgets]
    baseline = tuple(variant.mean(AT_RANDOM, budget) for budget in budgets)
    return Row(variant.none, baseline, tuple(accuracy for accuracy, _ in best), variant.full), tuple(name for _, name in best)


def _best(variant: Variant, budget: int) -> tuple[float, str]:
    tried = [(variant.mean(key, budget), key) for key in variant.policies if key[0] in SCORES and key[1] in POLICIES]
    known = [(accuracy, (score, policy)) for accuracy, (score, policy) in tried if not np.isnan(accuracy)]
    if not known:
        return np.nan, NOTHING
    accuracy, (score, policy) = max(known, key=lambda found: found[0])
    return accuracy, f"{policy.name}, {score}"


def paper_table_1(task: str) -> Row | None:
    """The paper's row of Table 1; it has one for translated images only."""
    data, _, transform = task.partition("-")
    if task not in paper.TASKS or transform != "translate":
        return None
    table = paper.accuracies()
    row = dict(zip(table.columns, table.loc[data].to_numpy(float), strict=True))
    baseline, best = (tuple(row[f"{name}_{percentage}"] for percentage in paper.PERCENTS) for name in ("baseline", "best"))
    return Row(row["none"], baseline, best, row["full"])
