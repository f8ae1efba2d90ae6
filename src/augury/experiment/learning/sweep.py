"""The comparison: every row of every task and seed measured once, stored at once, by any number of processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from augury.cells import Cells
from augury.errors import InputError
from augury.experiment.learning.measure import measure, settings_of
from augury.experiment.learning.rows import Row, read_rows
from augury.experiment.learning.tasks import Points, Task, read_task
from augury.parallel import Engine, each
from augury.progress import say, silenced, track
from augury.report.learning import write_learning_report

WORDS = {"fitting": "steps or settings of F", "settings": "settings of the row"}


@dataclass(frozen=True)
class Cell:
    """One row of a task on the labels of one seed: what is done alone, stored, and never done twice."""

    task: Task
    row: Row
    seed: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.row.name}.{self.seed}"


@dataclass(frozen=True)
class Sweep:
    """A folder of measured cells.

    Parameters
    ----------
    folder
        `cells/` and `costs/` hold what was measured, `work/` the checkpoints of what is being measured.
    trained
        The file of a trained transformation, for rows that need it.
    """

    folder: Path
    trained: str | None = None

    def table(self, name: str) -> Cells:
        """Cells of one kind: `cells` (what the tables tell), or `costs` (seconds and memory)."""
        return Cells(self.folder / name, f"learning-{name}")

    def work(self, cell: Cell) -> Path:
        """Where a cell keeps its checkpoints until it is stored."""
        return self.folder / "work" / cell.task.group / cell.name

    def measure(self, wanted: Sequence[Cell], jobs: int | Engine) -> None:
        """Measure what is not stored yet, in the order given, and pack the tasks at the end."""
        tasks = list(dict.fromkeys(cell.task for cell in wanted))
        self._check_settings(wanted)
        known = {task: self.table("cells").names(task.group) for task in tasks}
        missing = [cell for cell in wanted if cell.name not in known[cell.task]]
        say(f"{len(wanted) - len(missing)} of {len(wanted)} cells done before, {len(missing)} to measure")
        calls = ((self, cell) for cell in missing)
        done = track(each(_measured, calls, Engine.of(jobs), ordered=False), "measuring", total=len(missing))
        for line in _told(done, len(missing)):
            say(line)
        for task in tasks:
            for name in ("costs", "cells"):
                self.table(name).pack(task.group)

    def _check_settings(self, wanted: Sequence[Cell]) -> None:
        """Refuse to set cells that are measured now beside others of the same row that were measured otherwise."""
        for task in dict.fromkeys(cell.task for cell in wanted):
            stored = self.table("cells").read_group(task.group)
            for row in dict.fromkeys(cell.row for cell in wanted if cell.task == task and len(stored)):
                own = stored[stored["row"] == row.name]
                for name, now in settings_of(task, row, self.trained).items():
                    seeds = own.loc[own[name] != now, "seed"].tolist()
                    if seeds:
                        raise InputError(
                            f"out: {self.folder} has {task.name}, {row.name}, seed {seeds[0]} with other {WORDS[name]}; "
                            "give another folder, or take these cells out of it"
                        )


def _measured(sweep: Sweep, cell: Cell) -> str:
    """Measure and store a cell; gives a line that tells of it."""
    work = sweep.work(cell)
    with silenced():
        found = measure(cell.task, _shared(cell.task, cell.seed), cell.row, cell.seed, work, sweep.trained)
    sweep.table("costs").write(cell.task.group, cell.name, pd.DataFrame([found.cost]))
    sweep.table("cells").write(cell.task.group, cell.name, pd.DataFrame([found.cell]))  # the last: it says that the cell is finished
    shutil.rmtree(work, ignore_errors=True)
    return f"{cell.task.name}, {cell.row.name}, seed {cell.seed}: {100 * found.cell['accuracy']:.2f} %, loss {found.cell['loss']:.4f}"


@lru_cache(maxsize=1)
def _shared(task: Task, seed: int) -> Points:
    """What a task's cells of a seed share, once in each process."""
    return task.points(seed)


def _told(lines: Iterable[str], total: int) -> Iterator[str]:
    """Each cell's line with how many are done, and how long the others will take if they take as long."""
    start = time.monotonic()
    for done, line in enumerate(lines, start=1):
        minutes = (time.monotonic() - start) / done * (total - done) / 60
        yield f"{line} ({done} done, {total - done} left, about {minutes:.0f} min)"


def reproduce_learning(
    out: str | Path,
    tasks: Iterable[str | Task],
    rows: Iterable[str] | None = None,
    seeds: int = 5,
    jobs: int | Engine = 1,
    *,
    data_dir: str | None = None,
    transformation: str | Path | None = None,
) -> Path:
    """Measure learned augmentations beside everything else that one could pick, and write the tables; `augury reproduce learning`.

    Parameters
    ----------
    out
        The sweep's folder; cells that are stored there are not measured again, and one that was killed is gone on with.
    tasks
        Names, some of `TASKS` or with another network: `mnist-1@allconv`; or tasks of one's own.
    rows
        Names, some of `ROWS`; None: all but controls, and rows of a trained transformation only if it is given.
    seeds
        How many draws of labels, with weights of F, order and augmentation that follow from them.
    jobs
        Processes, each with one thread, or an engine whose workers share the folder; no result but the time depends on it. Two sweeps may
        share a folder as long as no task is in both.
    data_dir
        Where named data sets lie; None: as `AUGURY_DATA` says.
    transformation
        The file of a `FieldTransformation` that `augury.learned.save_module` wrote, for the rows `random-tau-G` and `learned-G`.

    Returns
    -------
    Path
        The report.
    """
    folder, trained = Path(out).expanduser(), None if transformation is None else str(transformation)
    chosen = [task if isinstance(task, Task) else read_task(task, data_dir) for task in tasks]
    wanted = read_rows(None if rows is None else tuple(rows), trained)
    Sweep(folder, trained).measure([Cell(task, row, seed) for seed in range(seeds) for task in chosen for row in wanted], jobs)
    return write_learning_report(folder)
