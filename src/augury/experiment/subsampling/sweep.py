"""The sweep: every cell of every task measured once, stored at once, in any order and by any number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from augury.cells import Cells
from augury.evaluation import HeldOut, rescored, trial
from augury.experiment.gallery import as_bytes
from augury.experiment.subsampling.policies import Cell, cells
from augury.experiment.subsampling.settings import SCORED, Settings
from augury.experiment.subsampling.tasks import Task
from augury.files import write_atomic
from augury.head import SoftmaxHead
from augury.parallel import Engine, each, one_thread
from augury.progress import say, silenced, track
from augury.report.subsampling import write_sweep_report

CURVES, SETTINGS, SCORES = "subsampling-curve", "subsampling-setting", "subsampling-scores"
SHOWN = 10  # points with the highest and with the lowest scores that are kept as pictures


@dataclass(frozen=True)
class Sweep:
    """A folder of measured cells.

    Parameters
    ----------
    folder
        `curves/`, `settings/`, `scores/` hold what was measured, `images/` and `networks/` what was shown and used; `work/` can be deleted.
    """

    folder: Path

    @property
    def curves(self) -> Cells:
        """Accuracies by cell and budget."""
        return Cells(self.folder / "curves", CURVES)

    @property
    def settings(self) -> Cells:
        """One row a task: its sizes and its baselines."""
        return Cells(self.folder / "settings", SETTINGS)

    @property
    def scores(self) -> Cells:
        """Scores of every training point, before and after full augmentation."""
        return Cells(self.folder / "scores", SCORES)

    def of(self, task: Task) -> Settings:
        """What the cells of a task share."""
        return Settings(task, self.folder / "networks", self.folder / "work")

    def measure(self, tasks: Sequence[Task], wanted: Sequence[Cell], jobs: int | Engine) -> None:
        """Measure what is not stored yet, seed by seed and task by task, and pack each task that is complete."""
        for task in tasks:
            self._prepare(task)
        missing = [(task, cell) for task in tasks for cell in wanted if cell.name not in self.curves.names(task.group)]
        missing.sort(key=lambda work: work[1].seed)  # so that what is killed early has the first seeds of everything
        say(f"cells: {len(tasks) * len(wanted) - len(missing)} of {len(tasks) * len(wanted)} done before, {len(missing)} to measure")
        calls = ((self.folder, task, cell) for task, cell in missing)
        for _ in track(each(_measured, calls, Engine.of(jobs), ordered=False), "measuring cells", total=len(missing)):
            pass
        for task in tasks:
            for table in (self.curves, self.settings, self.scores):
                table.pack(task.group)

    def _prepare(self, task: Task) -> None:
        """The shared files, the baselines, the scores before and after full augmentation, and the pictures."""
        settings = self.of(task)
        if {"setting"} > self.settings.names(task.group) or not (settings.folder / "support.parquet").exists():
            settings.prepare()
        if "setting" not in self.settings.names(task.group):
            say(f"baselines: {task.group}")
            with one_thread(), silenced():
                row, scores = _baselines(settings)
            self.scores.write(task.group, "scores", scores)
            self.settings.write(task.group, "setting", pd.DataFrame([row]))
        path = self.folder / "images" / f"{Path(task.config.data).name}.npz"
        if not path.exists():
            pictures: dict[str, Any] = _pictures(settings)
            write_atomic(path, lambda stream: np.savez_compressed(stream, **pictures))


def _baselines(settings: Settings) -> tuple[dict[str, Any], pd.DataFrame]:
    """Accuracy with no and with full augmentation, on all test images and on the originals alone; and every point's scores at both ends."""
    task, train, test = settings.task, settings.features, settings.test
    setting, points = settings.setting(seed=0), np.arange(len(settings.features))
    originals = len(settings.pipeline.splits.test)
    plain = settings.head(train.augmented([]))
    training, full_test = setting.at(points, downweight=False)
    full = settings.head(training)
    (downweighted,) = trial(setting, points, [len(points)], SoftmaxHead(), grid=settings.grid, downweight=True)
    row = task.key | {
        "train_points": len(points),
        "copies_per_point": train.copies.shape[1],
        "test_points": originals,
        "test_images": len(test.y),
        "width": train.features.shape[1],
        "none": test.accuracy(plain),
        "full": full_test.accuracy(full),
        "full_downweight": downweighted,
        "clean_none": HeldOut(test.X[:originals], test.y[:originals]).accuracy(plain),
        "clean_full": HeldOut(full_test.X[:originals], full_test.y[:originals]).accuracy(full),
        "extractor_accuracy": settings.extractor_accuracy,
        "note": task.note,
    }
    frames = []
    for method in SCORED:
        initial = settings.scores(method)
        final = rescored(initial, full, training, task.penalty)
        labels = np.array(initial.classes)[initial.labels]
        columns = {"method": method, "point": points, "label": labels, "initial": initial.values, "final": final.values}
        frames.append(pd.DataFrame(task.key | columns))
    return row, pd.concat(frames, ignore_index=True)


def _pictures(settings: Settings) -> dict[str, npt.NDArray[np.uint8]]:
    """The points with the highest (good) and the lowest (bad) scores."""
    images = as_bytes(settings.pipeline.splits.train.images)
    found: dict[str, npt.NDArray[np.uint8]] = {}
    for method in SCORED:
        order = np.argsort(-settings.scores(method).values, kind="stable")
        found |= {f"good_{method}": images[order[:SHOWN]], f"bad_{method}": images[order[::-1][:SHOWN]]}
    return found


@lru_cache(maxsize=1)
def _shared(folder: Path, task: Task) -> Settings:
    """The task's settings, once in each process."""
    return Sweep(folder).of(task)


def _measured(folder: Path, task: Task, cell: Cell) -> None:
    settings = _shared(folder, task)
    scores = settings.scores(cell.score)
    budgets = cell.budgets(settings.checkpoints, scores)
    with silenced():
        draw = cell.draw(scores, task.penalty)
        accuracies = trial(settings.setting(cell.seed), draw, budgets, SoftmaxHead(), grid=settings.grid, downweight=cell.downweight)
    frame = pd.DataFrame(task.key | cell.key | {"budget": budgets, "accuracy": accuracies})
    Sweep(folder).curves.write(task.group, cell.name, frame)


def reproduce_subsampling(
    tasks: Iterable[Task], *, out: str | Path, scores: Sequence[str], policies: Sequence[str], seeds: int, jobs: int | Engine = 1
) -> Path:
    """Measure all cells of the tasks and write tables, figures and fidelity figures; what `augury reproduce subsampling` does.

    Parameters
    ----------
    tasks
        From `paper_task` and `own_task`.
    out
        The sweep's folder; cells that are stored there are not measured again.
    scores, policies
        Names of `augury.experiment.subsampling.policies`.
    seeds
        Draws of each policy that has chance in it.
    jobs
        Processes, each with one thread, or an engine whose workers share the folder; no result depends on it.

    Returns
    -------
    Path
        The report.
    """
    folder = Path(out).expanduser()
    Sweep(folder).measure(list(tasks), cells(scores, policies, seeds), jobs)
    return write_sweep_report(folder)
