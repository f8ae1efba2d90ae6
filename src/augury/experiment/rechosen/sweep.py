"""The comparison: every way of every task and seed measured once, stored at once, by any number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from augury.cells import Cells
from augury.errors import InputError
from augury.experiment.rechosen.tasks import Task, read_task
from augury.experiment.rechosen.trained import Trained
from augury.experiment.rechosen.ways import NOTHING, WAYS, Cell, measure
from augury.parallel import Engine, each
from augury.progress import say, silenced, track
from augury.report.rechosen import write_rechosen_report


@dataclass(frozen=True)
class Sweep:
    """A folder of measured cells.

    Parameters
    ----------
    folder
        `cells/` holds what was measured; `work/`, networks that can be trained again, can be deleted.
    """

    folder: Path

    @property
    def cells(self) -> Cells:
        """A row a budget in each."""
        return Cells(self.folder / "cells", "rechosen-cells")

    def of(self, task: Task, seed: int) -> Trained:
        """What the cells of a task and seed share."""
        return Trained(task, seed, self.folder / "networks", self.folder / "work" / f"{task.name}.{seed}")

    def measure(self, tasks: Sequence[Task], wanted: Sequence[Cell], jobs: int | Engine) -> None:
        """Measure what is not stored yet, seed by seed; a cell that was killed goes on from the networks it has trained."""
        everything = [(task, cell) for cell in wanted for task in tasks]
        missing = [(task, cell) for task, cell in everything if cell.name not in self.cells.names(task.name)]
        say(f"{len(everything) - len(missing)} of {len(everything)} cells done before, {len(missing)} to measure")
        for task, seed in dict.fromkeys((task, cell.seed) for task, cell in missing):
            self.of(task, seed).network(NOTHING)  # which all ways begin with
        calls = ((self.folder, task, cell) for task, cell in missing)
        for line in track(each(_measured, calls, Engine.of(jobs), ordered=False), "measuring", total=len(missing)):
            say(line)
        for task in tasks:
            self.cells.pack(task.name)


@lru_cache(maxsize=1)
def _shared(folder: Path, task: Task, seed: int) -> Trained:
    """What a task's cells of a seed share, once in each process."""
    return Sweep(folder).of(task, seed)


def _measured(folder: Path, task: Task, cell: Cell) -> str:
    """Measure and store a cell; gives a line that tells of it."""
    with silenced():
        found = measure(_shared(folder, task, cell.seed), cell.way)
    Sweep(folder).cells.write(task.name, cell.name, found.assign(task=task.name, way=cell.way, seed=cell.seed))
    accuracies = ", ".join(f"{100 * value:.2f}" for value in found["accuracy"])
    return f"{task.name}, {cell.way}, seed {cell.seed}: {accuracies} %"


def reproduce_rechosen(
    out: str | Path,
    tasks: Iterable[str | Task],
    ways: Iterable[str] | None = None,
    seeds: int = 3,
    jobs: int | Engine = 1,
    *,
    data_dir: str | None = None,
) -> Path:
    """Train whole networks on chosen copies, and write the tables; what `augury reproduce rechosen` does.

    Parameters
    ----------
    out
        The sweep's folder; cells that are stored there are not measured again.
    tasks
        Names, some of `NAMES`, or tasks of one's own.
    ways
        Some of `WAYS`; None: all.
    seeds
        Draws of points, first weights and order. Seed 0 has the first points.
    jobs
        Processes, each with one thread, or an engine whose workers share the folder; no result depends on it.

    Returns
    -------
    Path
        The report.
    """
    folder = Path(out).expanduser()
    chosen = tuple(WAYS) if ways is None else tuple(ways)
    unknown = [way for way in chosen if way not in WAYS]
    if unknown:
        raise InputError(f"ways: {unknown[0]!r} is unknown; expected some of {', '.join(WAYS)}")
    named = [task if isinstance(task, Task) else read_task(task, data_dir) for task in tasks]
    Sweep(folder).measure(named, [Cell(way, seed) for seed in range(seeds) for way in chosen], jobs)
    return write_rechosen_report(folder)
