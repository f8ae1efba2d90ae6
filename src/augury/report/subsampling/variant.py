"""One way in which a task was measured: its curves by policy, and the numbers that tables and figures take from them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from augury.evaluation import interval
from augury.report.subsampling.paper import BASELINE, GRID, POINTS, TASKS, Policy

POLICY = ("score", "policy", "update", "downweight")
Key = tuple[str, Policy]  # a score and a policy
AT_RANDOM: Key = ("uniform", BASELINE)


def regularised(C: str) -> str:
    """How the head was regularised, in words: "C = 1", or "C by cross-validation"."""
    return "C by cross-validation" if C == "cv" else f"C = {C}"


@dataclass(frozen=True, eq=False)
class Variant:
    """One way in which a task was measured: preset, features and the head's C.

    Parameters
    ----------
    task, preset, features, C
        What it is.
    setting
        Its row of settings: sizes, and accuracies with no and with full augmentation.
    curves
        Its measurements: `score, policy, update, downweight, seed, budget, accuracy`.
    scores
        Its points' scores before and after full augmentation: `method, point, label, initial, final`.
    """

    task: str
    preset: str
    features: str
    C: str
    setting: pd.Series
    curves: pd.DataFrame
    scores: pd.DataFrame

    @property
    def name(self) -> str:
        """The variant in words: "preset code, features lenet, C = 1"."""
        return f"preset {self.preset}, features {self.features}, {regularised(self.C)}"

    @property
    def note(self) -> str:
        """What every number of it must say, such as how its pixels were stored; empty if nothing."""
        note = self.setting["note"]
        return note if isinstance(note, str) else ""

    @property
    def points(self) -> int:
        """Number of training points: the budget of full augmentation."""
        return int(self.setting["train_points"])

    @property
    def none(self) -> float:
        """Accuracy on the augmented test set with no point augmented."""
        return float(self.setting["none"])

    @property
    def full(self) -> float:
        """Accuracy on the augmented test set with every point augmented, each copy at weight one."""
        return float(self.setting["full"])

    @functools.cached_property
    def measured(self) -> pd.DataFrame:
        """Accuracies, a row a curve (`score, policy, update, downweight, seed`), a column a budget; NaN where nothing was measured."""
        return self.curves.pivot_table(index=[*POLICY, "seed"], columns="budget", values="accuracy")

    @property
    def budgets(self) -> tuple[int, ...]:
        """All budgets at which something was measured, growing."""
        return tuple(int(str(budget)) for budget in self.measured.columns)

    @functools.cached_property
    def policies(self) -> dict[Key, pd.DataFrame]:
        """Accuracies by score and policy: a row a seed, a column a budget; NaN where nothing was measured."""
        groups = self.measured.groupby(level=list(POLICY))
        return {_key(*map(str, key)): rows.droplevel(list(POLICY)) for key, rows in groups}

    @functools.cached_property
    def grid(self) -> tuple[int, ...]:
        """The budgets over which areas are taken: the paper's, else those common to all curves that reach full augmentation."""
        budgets = self.budgets
        if self.points == POINTS and set(GRID) <= set(budgets):
            return GRID
        if self.points not in budgets:
            return ()
        whole = self.measured.dropna(subset=[self.points])
        return tuple(budget for budget in budgets if whole[budget].notna().all())

    @property
    def comparable(self) -> bool:
        """Whether the paper has this task, with as many training points, measured at the same budgets."""
        return self.task in TASKS and self.grid == GRID

    @functools.cached_property
    def areas(self) -> dict[Key, Float64[np.ndarray, " _seeds"]]:
        """Areas under the curve of accuracy over `grid`, with `none` at budget 0: by score and policy, one a seed.

        An area is a trapezoid and lies between 0 and `points`. A curve that was not measured at every budget of `grid` has none, and
        policies without an area are absent.
        """
        return {key: areas for key, rows in self.policies.items() if len(areas := self._areas(rows))}

    def _areas(self, rows: pd.DataFrame) -> Float64[np.ndarray, " _seeds"]:
        whole = rows.reindex(columns=list(self.grid)).dropna() if self.grid else rows[:0]
        heights = np.column_stack([np.full(len(whole), self.none), whole.to_numpy()])
        return np.trapezoid(heights, [0, *self.grid], axis=1) if len(whole) else np.empty(0)

    def accuracies(self, key: Key, budget: int) -> Float64[np.ndarray, " _seeds"]:
        """Accuracies of a score and policy at a budget, one a seed; empty where nothing was measured."""
        rows = self.policies.get(key)
        return np.empty(0) if rows is None or budget not in rows else rows[budget].dropna().to_numpy()

    def mean(self, key: Key, budget: int) -> float:
        """The mean of `accuracies`; NaN where nothing was measured."""
        found = self.accuracies(key, budget)
        return float(found.mean()) if len(found) else np.nan

    def curve(self, key: Key) -> pd.DataFrame:
        """The curve of a score and policy, a row a budget: `budget, mean, low, high, n`; without rows where it was not measured.

        `low` and `high` bound the bootstrap 95 % interval of the mean over seeds (NaN for one seed).
        """
        measured = {budget: self.accuracies(key, budget) for budget in self.budgets}
        found = [(budget, a.mean(), *interval(a), len(a)) for budget, a in measured.items() if len(a)]
        return pd.DataFrame(found, columns=["budget", "mean", "low", "high", "n"])


def _key(score: str, policy: str, update: str, downweight: str) -> Key:
    return score, Policy(policy, update == "True", downweight == "True")


def notes(variants: Iterable[Variant]) -> str:
    """What the numbers of some variants must say, each with its tasks: "norb-rotate, norb-crop: JPEG-compressed pixels"."""
    found: dict[str, dict[str, None]] = {}
    for variant in variants:
        if variant.note:
            found.setdefault(variant.note, {})[variant.task] = None
    return "; ".join(f"{', '.join(tasks)}: {note}" for note, tasks in found.items())
