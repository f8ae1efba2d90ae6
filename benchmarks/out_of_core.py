"""Fit, score and select features that lie in files: processor seconds and peak memory at four sizes, each in a process of its own.

    OMP_NUM_THREADS=1 python benchmarks/out_of_core.py FOLDER             # writes 2.7 GB to FOLDER, measures all, deletes them
    python benchmarks/out_of_core.py FOLDER --write --files 10            # only writes: ten files of 500,000 points
    python benchmarks/out_of_core.py FOLDER --measure --files 4 --classes 10

500,000 to 5,000,000 points of 128 features in single precision, in Parquet files that are mapped into memory; the labels follow a softmax
model with 2 and with 10 classes. Writes `out_of_core.json` beside this file: seconds of each stage, the floor that operations and bytes
set, and the largest resident memory, mapped pages among it. Time is linear in the number of points where seconds a point are the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from augury.progress import silenced
from augury.shards import FeatureTable, fit_table, score_table, select_table

FEATURES, CLASSES, FILE_POINTS, ROW_GROUP = 128, (2, 10), 500_000, 62_500
SIZES = (1, 2, 4, 10)  # files
BUDGET = "1%"
WHAT = (
    "Features in memory-mapped Parquet files: the head fitted exactly, self-influence of every point, the best 1 % and a draw of 1 %, on "
    "one thread and in a process of its own for each size. The floor counts the passes' operations, or the bytes that they read."
)


def write(folder: Path, files: int) -> None:
    """The points of each file follow from the file's number alone."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = {classes: np.random.default_rng(classes).standard_normal((FEATURES, classes)) / np.sqrt(FEATURES) for classes in CLASSES}
    for number in range(files):
        draws = np.random.default_rng([1, number])
        with pq.ParquetWriter(folder / f"points-{number:03d}.parquet", _schema(), compression="none", use_dictionary=False) as out:
            for _ in range(FILE_POINTS // ROW_GROUP):
                X = draws.standard_normal((ROW_GROUP, FEATURES), dtype=np.float32)
                labels = [(2 * X @ W + draws.gumbel(size=(ROW_GROUP, classes))).argmax(axis=1) for classes, W in truth.items()]
                features = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), FEATURES)
                out.write_table(pa.table([features, *map(pa.array, labels)], schema=_schema()))


def _schema() -> pa.Schema:
    return pa.schema([("features", pa.list_(pa.float32(), FEATURES)), *((f"label{classes}", pa.int64()) for classes in CLASSES)])


def measure(folder: Path, files: int, classes: int) -> dict[str, Any]:
    """Processor seconds of each stage, and peak memory, of this process."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=folder) as place, silenced():
        part = Path(place) / "table"
        part.mkdir()
        for number in range(files):
            (part / f"points-{number:03d}.parquet").hardlink_to(folder / f"points-{number:03d}.parquet")
        table = FeatureTable.open(str(part), label=f"label{classes}")
        seconds: dict[str, float] = {}
        head = _timed(seconds, "fit", lambda: fit_table(table))
        scores = _timed(seconds, "score", lambda: score_table(table, f"{place}/scores", head=head))
        _timed(seconds, "best", lambda: select_table(scores, BUDGET, order="ranked"))
        _timed(seconds, "draw", lambda: select_table(scores, BUDGET, order="sampled"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"points": len(table), "classes": classes, "stages": seconds, "steps": head.n_iter_, "peak_gib": peak / 2**30}


def _timed(seconds: dict[str, float], name: str, stage: Callable[[], Any]) -> Any:  # noqa: ANN401  (what the stage gives)
    start = time.process_time()
    found = stage()
    seconds[name] = time.process_time() - start
    return found


def floors(found: dict[str, Any], rates: machine.Machine) -> dict[str, float]:
    """Seconds that the fit's and the scoring's operations, or bytes, take at least."""
    n, k, p = found["points"], found["classes"] - 1, FEATURES + 1
    read = 4 * n * FEATURES
    passes = found["steps"] + 2
    return {
        "fit": rates.floor(operations=4 * n * k * p * passes, moved=read * passes, dtype="float64"),
        "score": rates.floor(operations=n * k * (k + 1) * p**2 + n * (k * p) ** 2, moved=2 * read, dtype="float64"),
    }


def compare(folder: Path) -> None:
    """All sizes and both numbers of classes, the small ones first."""
    rates = machine.Machine.measured()
    write(folder, max(SIZES))
    cases: list[dict[str, Any]] = []
    for classes in CLASSES:
        for files in SIZES:
            command = [sys.executable, __file__, str(folder), "--measure", "--files", str(files), "--classes", str(classes)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603  (this script)
            least, total = floors(found, rates), sum(found["stages"].values())
            name = f"fit, score and select in files, n = {found['points']:,}, d = {FEATURES}, C = {classes}"
            more = found | {"floors": least, "microseconds_a_point": 1e6 * total / found["points"]}
            cases.append(machine.case(name, {machine.OURS: [total]}, sum(least.values()), **more))
            machine.save(__file__, WHAT, cases, rates)
    shutil.rmtree(folder)


def main() -> None:
    """Whatever the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the points; must not exist unless --measure is given")
    parser.add_argument("--write", action="store_true", help="write the points, and keep them")
    parser.add_argument("--measure", action="store_true", help="measure one size in this process, and print what was found")
    parser.add_argument("--files", type=int, default=max(SIZES))
    parser.add_argument("--classes", type=int, default=max(CLASSES))
    chosen = parser.parse_args()
    if chosen.write:
        write(chosen.folder, chosen.files)
    elif chosen.measure:
        print(json.dumps(measure(chosen.folder, chosen.files, chosen.classes)))
    elif chosen.folder.exists():
        parser.error(f"{chosen.folder} exists, and would be deleted; name a new folder")
    else:
        compare(chosen.folder)


if __name__ == "__main__":
    main()
