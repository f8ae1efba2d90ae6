"""What a folder of measured rows holds, read and checked, and how rows compare."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from augury.cells import Cells
from augury.errors import InputError

KEY = ["task", "row", "kind", "seed"]
SIZES = ["train_labels", "target_labels", "test_images", "network", "steps", "search_steps"]
CELLS = [*KEY, "accuracy", "loss", "target_accuracy", *SIZES, "summary", "fitting", "settings"]
COSTS = [*KEY, "search_seconds", "training_seconds", "peak_memory"]
ORDER = ("mnist-1", "mnist-10", "cifar10-10", "cifar10-100")
KINDS = ("baseline", "learned", "control")


class Difference(NamedTuple):
    """Of accuracies of two rows on the same seeds: how many, mean, sample deviation, and the mean's standard error (NaN for one seed)."""

    n: int
    mean: float
    deviation: float
    error: float


@dataclass(frozen=True, eq=False)
class Results:
    """All that was measured.

    Parameters
    ----------
    cells
        A row for each row of a table and seed, with what it has cost (NaN where the measurement was interrupted).
    """

    cells: pd.DataFrame

    @classmethod
    def load(cls, folder: str | Path) -> Results:
        """Read a folder's cells; a damaged one, cells that do not belong together, or none at all, are an `InputError` that names them."""
        cells, costs = (_read(Path(folder) / name, name, columns) for name, columns in (("cells", CELLS), ("costs", COSTS)))
        if cells.empty:
            raise InputError(f"{folder}: no cells in it, so there is nothing to report; expected a folder of `augury reproduce learning`")
        for group, column in ((["task"], "fitting"), (["task", "row"], "settings")):
            kinds = cells.groupby(group)[column].nunique()
            if (kinds > 1).any():
                name = kinds.index[kinds > 1][0]
                words = name if isinstance(name, str) else ", ".join(name)
                raise InputError(
                    f"{folder}: the cells of {words} were measured with different settings; delete them, or give each version its folder"
                )
        return cls(cells.merge(costs, on=KEY, how="left"))

    @functools.cached_property
    def tasks(self) -> list[str]:
        """What was measured: by the labels' scarcity, and first without a shift."""
        known = {scarcity: place for place, scarcity in enumerate(ORDER)}
        return sorted(self.cells["task"].unique(), key=lambda task: (shift_of(task) != "", known.get(scarcity_of(task), len(known)), task))

    def of(self, task: str) -> pd.DataFrame:
        """The cells of one task."""
        return self.cells[self.cells["task"] == task]

    def rows(self, task: str) -> list[str]:
        """A task's rows: baselines, learned, controls, the more accurate first."""
        found = self.of(task).groupby("row").agg(kind=("kind", "first"), accuracy=("accuracy", "mean")).reset_index()
        ranked = found.assign(place=found["kind"].map(KINDS.index)).sort_values(
            ["place", "accuracy"], ascending=[True, False], kind="stable"
        )
        return ranked["row"].astype(str).tolist()

    def best_baseline(self, task: str) -> str | None:
        """The baseline with the largest mean accuracy on the test set, of those measured on the most seeds: chosen after the fact."""
        own = self.of(task)
        found = own[own["kind"] == "baseline"].groupby("row")["accuracy"].agg(["size", "mean"])
        found = found[found["size"] == found["size"].max()]
        return None if found.empty else str(found["mean"].idxmax())

    def difference(self, task: str, row: str, other: str) -> Difference:
        """Accuracy of a row less that of another, on the seeds that both have."""
        by_seed = self.of(task).pivot_table(index="seed", columns="row", values="accuracy")
        apart = (by_seed[row] - by_seed[other]).dropna().to_numpy()
        if len(apart) == 0:
            return Difference(0, math.nan, math.nan, math.nan)
        deviation = float(np.std(apart, ddof=1)) if len(apart) > 1 else math.nan
        return Difference(len(apart), float(apart.mean()), deviation, deviation / math.sqrt(len(apart)))

    def learned(self, task: str, row: str) -> pd.DataFrame:
        """What a row's E has learned: mean and deviation of each component of tau, averaged over seeds; the farthest mean first.

        Index: the component. Columns: `mean` (0 to begin with), `deviation`. Empty for rows without.
        """
        own = self.of(task)
        records = [json.loads(summary) for summary in own.loc[own["row"] == row, "summary"]]
        tables = [pd.DataFrame.from_dict(record, orient="index", columns=["mean", "deviation"]) for record in records if record]
        if not tables:
            return pd.DataFrame(columns=["mean", "deviation"], dtype=float)
        table = pd.concat(tables).groupby(level=0, sort=False).mean()
        return table.sort_values("mean", key=abs, ascending=False, kind="stable")


def scarcity_of(task: str) -> str:
    """`mnist-1` of `mnist-1:turned@allconv`."""
    return task.partition("@")[0].partition(":")[0]


def shift_of(task: str) -> str:
    """`turned` of `mnist-1:turned@allconv`; empty where there is none."""
    return task.partition("@")[0].partition(":")[2]


def _read(folder: Path, name: str, columns: list[str]) -> pd.DataFrame:
    frame = Cells(folder, f"learning-{name}").read()
    if frame.empty:
        return pd.DataFrame({column: pd.Series(dtype=object if column in KEY else float) for column in columns})
    missing = [column for column in columns if column not in frame]
    if missing:
        raise InputError(f"{folder}: the cells lack the column {missing[0]!r}; expected cells from one version")
    return frame[columns]
