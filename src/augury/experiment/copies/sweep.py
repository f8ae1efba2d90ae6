"""The comparison: every cell of every task and seed measured once, stored at once, by any number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from augury.cells import Cells
from augury.experiment.copies.drawn import Drawn
from augury.experiment.copies.measure import baseline, cost, measure
from augury.experiment.copies.ways import Cell, cells
from augury.experiment.subsampling import Task
from augury.parallel import Engine, each, one_thread
from augury.progress import say, silenced, track
from augury.report.copies import write_copies_report


@dataclass(frozen=True)
class Sweep:
    """A folder of measured cells.

    Parameters
    ----------
    folder
        `baselines/`, `curves/`, `choices/` and `costs/` hold what was measured, `networks/` what was trained; `work/` can be deleted, and
        `costs/`, too, to take the times anew.
    """

    folder: Path

    def table(self, name: str) -> Cells:
        """Cells of one kind: `curves` (accuracy and loss by budget, predicted and realised), `choices`, `costs` or `baselines`."""
        return Cells(self.folder / name, f"copies-{name}")

    def of(self, task: Task, seed: int) -> Drawn:
        """What the cells of a task and seed share."""
        return Drawn(task, seed, self.folder / "networks", self.folder / "work")

    def measure(self, tasks: Sequence[Task], wanted: Sequence[Cell], jobs: int | Engine) -> None:
        """Measure what is not stored yet, seed by seed, and pack the tasks after each."""
        for seed in sorted({cell.seed for cell in wanted}):
            self._measure_seed(seed, tasks, [cell for cell in wanted if cell.seed == seed], jobs)

    def _measure_seed(self, seed: int, tasks: Sequence[Task], wanted: Sequence[Cell], jobs: int | Engine) -> None:
        everything = [(work, task, cell) for task in tasks for cell in wanted for work in self._of_cell(cell)]
        missing = [(work, task, cell) for work, task, cell in everything if cell.name not in self.table(work).names(task.group)]
        say(f"seed {seed}: {len(everything) - len(missing)} of {len(everything)} cells done before, {len(missing)} to measure")
        for task in dict.fromkeys(task for _, task, _ in missing):
            self._prepare(task, seed)
        calls = ((name, self.folder, task, cell) for name, task, cell in missing)
        for _ in track(each(_worked, calls, Engine.of(jobs), ordered=False), f"measuring seed {seed}", total=len(missing)):
            pass
        for task in tasks:
            for name in ("baselines", "curves", "choices", "costs"):
                self.table(name).pack(task.group)

    @staticmethod
    def _of_cell(cell: Cell) -> tuple[str, ...]:
        """What is measured of a cell, by the table that says whether it is finished."""
        return ("curves", "costs") if cell.chooses and cell.pool != "halves" else ("curves",)

    def _prepare(self, task: Task, seed: int) -> None:
        """The network, the features, and the row that all cells of the task and seed share."""
        drawn = self.of(task, seed)
        drawn.prepare()
        if str(seed) not in self.table("baselines").names(task.group):
            say(f"baselines: {task.group}, seed {seed}")
            with one_thread(), silenced():
                row = baseline(drawn)
            self.table("baselines").write(task.group, str(seed), pd.DataFrame([row]))

    def weight(self, task: Task, seed: int) -> float:
        """What `choose_copies` lets a copy weigh with the validation target."""
        rows = self.table("baselines").read_group(task.group)
        return float(rows.loc[rows["seed"] == seed, "weight_validation"].item())


@lru_cache(maxsize=1)
def _shared(folder: Path, task: Task, seed: int) -> Drawn:
    """What a task's cells of a seed share, once in each process."""
    return Sweep(folder).of(task, seed)


def _measured(folder: Path, task: Task, cell: Cell) -> None:
    sweep = Sweep(folder)
    with silenced():
        found = measure(_shared(folder, task, cell.seed), cell, sweep.weight(task, cell.seed))
    if cell.chooses:
        sweep.table("choices").write(task.group, cell.name, found.choices)
    sweep.table("curves").write(task.group, cell.name, found.curves)  # the last: it says that the cell is finished


def _timed(folder: Path, task: Task, cell: Cell) -> None:
    with silenced():
        found = cost(_shared(folder, task, cell.seed), cell)
    Sweep(folder).table("costs").write(task.group, cell.name, found)


def _worked(name: str, folder: Path, task: Task, cell: Cell) -> None:
    _WORK[name](folder, task, cell)


_WORK = {"curves": _measured, "costs": _timed}


def reproduce_copies(tasks: Iterable[Task], *, out: str | Path, seeds: int, jobs: int | Engine = 1) -> Path:
    """Measure every way to choose on the tasks, and write tables and figures; what `augury reproduce copies` does.

    Parameters
    ----------
    tasks
        From `augury.experiment.subsampling.paper_task` and `own_task`; their heads have C = 1.
    out
        The sweep's folder; cells that are stored there are not measured again.
    seeds
        Draws of points, network and policies. Seed 0 is paper 2's: the first points.
    jobs
        Processes, each with one thread, or an engine whose workers share the folder; no result but the time depends on it.

    Returns
    -------
    Path
        The report.
    """
    folder = Path(out).expanduser()
    Sweep(folder).measure(list(tasks), cells(seeds), jobs)
    return write_copies_report(folder)
