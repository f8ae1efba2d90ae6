"""The nine tasks of paper 2, fixed features, both scores, all policies, five seeds, C = 1: how long the sweep takes from cached features.

    AUGURY_DATA=... AUGURY_MODELS=... OMP_NUM_THREADS=1 python benchmarks/subsampling_sweep.py FOLDER

FOLDER keeps networks and features (they are made on the first call, and not timed); curves go to a folder of their own, which is removed.
Writes `subsampling_sweep.json` beside this file: wall seconds of the cells with one process for each core.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from machine import OURS, case, save

from augury.experiment.subsampling import NAMES, POLICIES, SCORES, Sweep, paper_task
from augury.experiment.subsampling.policies import cells

SEEDS = 5
WHAT = (
    "The nine tasks of paper 2 from stored features: both scores, all policies, five seeds. Wall seconds, not processor seconds, with one "
    "process for each core."
)


def main(folder: Path) -> None:
    """Prepare, then time the cells."""
    tasks = [paper_task(name) for name in NAMES]
    Sweep(folder).measure(tasks, [], jobs=1)
    wanted = cells(list(SCORES), list(POLICIES), SEEDS)
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary)
        for shared in ("networks", "work", "settings", "scores", "images"):
            (fresh / shared).symlink_to(folder.resolve() / shared)
        start = time.perf_counter()
        Sweep(fresh).measure(tasks, wanted, jobs=-1)
        seconds = time.perf_counter() - start
    title = f"{len(tasks) * len(wanted):,} cells of {len(tasks)} tasks"
    save(__file__, WHAT, [case(title, {OURS: [seconds]}, tasks=len(tasks), cells=len(tasks) * len(wanted), seeds=SEEDS)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
