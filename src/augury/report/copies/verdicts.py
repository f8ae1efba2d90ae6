"""What choosing copies was to reach, and whether a curve reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from augury.report.copies.results import POLICY_POOL, VARIANT, WORTHWHILE, is_policy

# The least share of full augmentation's gain with 1, 5 and 25 % of the copies, by target.
LEAST: Mapping[str, Mapping[int, float]] = {
    "copies.validation": {1: 0.80, 5: 1.00, 25: 1.05},
    "copies.self": {1: 0.70, 5: 0.95, 25: 1.00},
    "copies.folds": {1: 0.70, 5: 0.95, 25: 1.00},
}
SHORT = 0.001  # most that a curve may lack elsewhere
RANK = 0.9  # least rank correlation between prediction and retraining
REFITS = 3.0  # most that choosing may cost
ROUNDING = 1e-9  # accuracies are fractions; equals must not miss


class Check(NamedTuple):
    """One thing that is asked of a curve; `met` None: it does not apply, or was not measured."""

    name: str
    met: bool | None


def checks(row: pd.Series, policies: pd.DataFrame) -> list[Check]:
    """All that is asked of one curve of a way with a target; `policies`: the policies' curves of the same task and seed."""
    worthwhile = row["gain"] >= WORTHWHILE
    found = [Check(f"{percent} %", _least(row[f"share_{percent}"], least)) for percent, least in LEAST[row["way"]].items()]
    found.append(Check("shortfall", None if worthwhile else _most(row["shortfall"], SHORT)))
    best = {weighting: policies.loc[policies["weighting"] == weighting, "area"].max() for weighting in ("1", "auto")}
    found.append(Check("area", _least(row["area"], best["1"]) if worthwhile else None))
    found.append(Check("area, policies weighted", _least(row["area"], best["auto"]) if worthwhile else None))
    found += [Check(f"rank, {name}", _least(row[f"rank_{name}"], RANK)) for name in ("loss", "accuracy")]
    return [*found, Check("cost", _most(row["cost"], REFITS))]


def verdicts(summary: pd.DataFrame) -> pd.DataFrame:
    """A row a curve of a way with a target and a check that applies: `VARIANT`, `seed`, `way`, `weighting`, `check`, `met`."""
    train = summary[summary["pool"] == POLICY_POOL]
    policies = {key: rows[rows["way"].map(is_policy)] for key, rows in train.groupby([*VARIANT, "seed"])}
    rows = []
    for _, row in train[~train["way"].map(is_policy)].iterrows():
        named = {name: row[name] for name in (*VARIANT, "seed", "way", "weighting")}
        rows += [named | {"check": c.name, "met": c.met} for c in checks(row, policies[tuple(row[[*VARIANT, "seed"]])])]
    frame = pd.DataFrame(rows, columns=[*VARIANT, "seed", "way", "weighting", "check", "met"]).dropna(subset=["met"])
    return frame.astype({"met": bool})


def _least(value: float, bound: float) -> bool | None:
    return None if np.isnan(value) or np.isnan(bound) else bool(value >= bound - ROUNDING)


def _most(value: float, bound: float) -> bool | None:
    return None if np.isnan(value) else bool(value <= bound + ROUNDING)
