"""What a folder of measured choices holds, read and checked, and one row a curve with what is judged of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from augury.cells import Cells
from augury.errors import InputError
from augury.report.subsampling.fidelity import spearman
from augury.report.subsampling.paper import TASKS

VARIANT = ["task", "preset", "features", "C"]
CURVE = [*VARIANT, "seed", "pool", "way", "weighting"]
SIZES = ["train_points", "validation_points", "copies_per_point", "copies", "test_images", "width"]
BASELINES = [*VARIANT, "seed", *SIZES, "none", "full", "none_loss", "full_loss", "weight_validation", "weight_self", "note"]
CURVES = [*CURVE, "budget", "accuracy", "loss", "predicted_loss", "predicted_accuracy", "weight", "recommended"]
CHOICES = [*CURVE, "transformation", "label", "chosen", "available"]
COSTS = [*CURVE, "choose_seconds", "refit_seconds"]
KINDS = {"baselines": BASELINES, "curves": CURVES, "choices": CHOICES, "costs": COSTS}

PERCENTS = (1, 5, 10, 25, 50)  # of all copies
WORTHWHILE = 0.01  # gain in accuracy by full augmentation from which its share is judged
FROM = 0.05  # the share of the copies from which a curve may not fall short of full augmentation
POLICY_POOL = "train"
CONTROL_POOL = "halves"  # half of the test set is the target
RANDOM = "baseline"


def is_policy(way: object) -> bool:
    """Whether a way chooses points, as paper 2 does, and not copies."""
    return not str(way).startswith("copies.")


@dataclass(frozen=True, eq=False)
class Results:
    """All that was measured.

    Parameters
    ----------
    baselines
        A row a task and seed: sizes, and accuracy with no and with full augmentation.
    curves
        A row a curve and budget: accuracy and loss on the augmented test set, and what was predicted.
    choices
        A row a curve, transformation and class: how many of its copies are among the first tenth.
    costs
        A row a choice of copies: seconds of processor time, and those of a cold refit on the fully augmented set.
    """

    baselines: pd.DataFrame
    curves: pd.DataFrame
    choices: pd.DataFrame
    costs: pd.DataFrame

    @classmethod
    def load(cls, folder: str | Path) -> Results:
        """Read a folder's cells; a damaged one, or none at all, is an `InputError` that names it."""
        found = {name: _read(Path(folder) / name, name, columns) for name, columns in KINDS.items()}
        if found["baselines"].empty or found["curves"].empty:
            raise InputError(f"{folder}: no curves in it, so there is nothing to report; expected a folder of `augury reproduce copies`")
        measured = found["curves"][[*VARIANT, "seed"]].drop_duplicates()
        return cls(**found | {"baselines": found["baselines"].merge(measured, on=[*VARIANT, "seed"])})

    @functools.cached_property
    def variants(self) -> list[tuple[str, ...]]:
        """Task, preset, features and C of what was measured: the paper's tasks first, in its order."""
        found = self.curves[VARIANT].drop_duplicates().itertuples(index=False, name=None)
        known = {task: place for place, task in enumerate(TASKS)}
        return sorted(found, key=lambda variant: (variant[1], known.get(variant[0], len(known)), variant))

    def of(self, frame: pd.DataFrame, variant: Sequence[str]) -> pd.DataFrame:
        """The rows of one variant."""
        return frame[(frame[VARIANT] == list(variant)).all(axis=1)]

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """A row a curve, with what is judged of it.

        Columns: those of `CURVE`; `weight`; `none`, `full`, `gain`; `at_P` and `share_P`: accuracy with P % of all copies, and the share of
        full augmentation's gain that it is (NaN where that gain is below a point); `area`: see `area`; `shortfall`: how far accuracy lies
        at worst below full augmentation's from 5 % of the copies on; `rank_loss`, `rank_accuracy`: Spearman's correlation over budgets
        between prediction and what retraining brought; `stop`, `at_stop`: the recommended share of the copies, and accuracy there;
        `cost`: the seconds of choosing over those of a refit.
        """
        joined = self.curves.merge(self.baselines[[*VARIANT, "seed", "copies", "none", "full"]], on=[*VARIANT, "seed"])
        rows = [dict(zip(CURVE, key, strict=True)) | _judged(curve) for key, curve in joined.groupby(CURVE, sort=False)]
        costs = self.costs.assign(cost=self.costs["choose_seconds"] / self.costs["refit_seconds"])[[*CURVE, "cost"]]
        return pd.DataFrame(rows).merge(costs, on=CURVE, how="left")


def _read(folder: Path, name: str, columns: list[str]) -> pd.DataFrame:
    frame = Cells(folder, f"copies-{name}").read()
    if frame.empty:
        return pd.DataFrame({column: pd.Series(dtype=float if column.endswith("seconds") else object) for column in columns})
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(f"{folder}: the cells lack the column {missing[0]!r}; expected cells from one version")
    return frame[columns]


def _judged(curve: pd.DataFrame) -> dict[str, float]:
    """What is judged of one curve."""
    first = curve.iloc[0]
    copies, none, full = int(first["copies"]), float(first["none"]), float(first["full"])
    heights = curve.set_index("budget")["accuracy"]
    if first["pool"] == CONTROL_POOL:  # tested on its own half
        none, full = float(heights[0]), float(heights[copies])
    gain = full - none
    row: dict[str, float] = {"weight": first["weight"], "none": none, "full": full, "gain": gain}
    for percent in PERCENTS:
        accuracy = float(heights.get(budget_at(percent / 100, copies), np.nan))
        row |= {f"at_{percent}": accuracy, f"share_{percent}": (accuracy - none) / gain if gain >= WORTHWHILE else np.nan}
    late = heights[(heights.index >= FROM * copies) & (heights.index <= copies)]
    row |= {"area": area(heights, copies), "shortfall": full - float(late.min())}
    made = curve.dropna(subset=["predicted_loss"])
    row |= {f"rank_{name}": spearman(made[f"predicted_{name}"], made[name])[0] for name in ("loss", "accuracy")}
    stop = first["recommended"]
    return row | {"stop": stop / copies, "at_stop": float(heights.get(stop, np.nan))}


def budget_at(share: float, copies: int) -> int:
    """A share of the copies as a number, at least 1 unless the share is 0."""
    return max(1, round(share * copies)) if share else 0


def area(heights: pd.Series, copies: int) -> float:
    """The mean height of a curve over all budgets, by trapezoids over 0, the budgets of `PERCENTS`, and all; NaN if one is missing."""
    grid = sorted({budget_at(percent / 100, copies) for percent in (0, *PERCENTS, 100)})
    return float(np.trapezoid(heights.reindex(grid), grid)) / copies
