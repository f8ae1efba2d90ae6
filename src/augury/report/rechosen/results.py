"""What a folder of networks trained on chosen copies holds, read and checked."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from augury.cells import Cells
from augury.errors import InputError

COLUMNS = ["task", "way", "seed", "budget", "accuracy", "loss", "plain_accuracy", "points", "copies", "test_images", "network", "steps"]
WAYS = {
    "random": "copies at random",
    "points": "points by influence (paper 2)",
    "once": "copies, chosen once",
    "rechosen": "copies, rescored at every budget",
}


@dataclass(frozen=True, eq=False)
class Results:
    """All that was measured.

    Parameters
    ----------
    cells
        A row a task, way, seed and budget.
    """

    cells: pd.DataFrame

    @classmethod
    def load(cls, folder: str | Path) -> Results:
        """Read a folder's cells; a damaged one, or none at all, is an `InputError` that names it."""
        frame = Cells(Path(folder) / "cells", "rechosen-cells").read()
        if frame.empty:
            raise InputError(f"{folder}: no cells in it, so there is nothing to report; expected a folder of `augury reproduce rechosen`")
        missing = [column for column in COLUMNS if column not in frame]
        if missing:
            raise InputError(f"{folder}: the cells lack the column {missing[0]!r}; expected cells from one version")
        return cls(frame[COLUMNS])

    @functools.cached_property
    def tasks(self) -> list[str]:
        """What was measured."""
        return sorted(self.cells["task"].unique(), reverse=True)

    def of(self, task: str) -> pd.DataFrame:
        """The rows of one task."""
        return self.cells[self.cells["task"] == task]

    def heights(self, task: str, way: str, column: str = "accuracy") -> pd.DataFrame:
        """A way's values of a column: a row a seed, a column a budget."""
        own = self.of(task)
        return own[own["way"] == way].pivot_table(index="seed", columns="budget", values=column)

    def above(self, task: str, way: str, other: str = "random") -> pd.DataFrame:
        """Accuracy of a way less that of another, on the seeds that both have: a row a seed, a column a budget."""
        return (self.heights(task, way) - self.heights(task, other)).dropna(how="all")

    def gained(self, task: str, way: str) -> pd.DataFrame:
        """The share of full augmentation's gain that a way has, by seed and budget."""
        none, full = (self.heights(task, name).iloc[:, 0] for name in ("none", "full"))
        return self.heights(task, way).sub(none, axis=0).div(full - none, axis=0).dropna(how="all")
