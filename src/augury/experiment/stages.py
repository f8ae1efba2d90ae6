"""Single stages on files of the user's choice: what the commands `score`, `augment` and `curve` do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from augury import model
from augury.augmentation import augment, write_images
from augury.data import Examples
from augury.errors import InputError
from augury.evaluation import Curve
from augury.experiment.config import RunConfig
from augury.experiment.pipeline import Pipeline
from augury.scores import Scores
from augury.selection import Ordering


def score_data(config: RunConfig, *, out: str | Path, save_model: str | Path | None = None, cache: str | Path | None = None) -> Scores:
    """Score the training points of a data source and write `out`; the trained network too, for later stages, if `save_model` says where."""
    with _workshop(config, cache) as stages:
        found = stages.scores
        if save_model is not None:
            model.save(stages.model, save_model)
    found.save(out)
    return found


def augment_data(config: RunConfig, selection: Ordering, *, out: str | Path) -> Path:
    """Write the copies of the selected points: an `.npz` where `out` ends so, else a folder of PNG files with its list `copies.parquet`."""
    with _workshop(config) as stages:
        points = stages.splits.train
        _check_same_points(selection.scores, points)
        copies = augment(points, selection.selected, stages.transform)
    if Path(out).suffix == ".npz":
        return copies.save(out)
    write_images(copies, out, listing=Path(out) / "copies.parquet")
    return Path(out)


def curve_data(config: RunConfig, scores: Scores, *, out: str | Path, cache: str | Path | None = None) -> Curve:
    """Measure the curve of a policy on given scores against chance, and write `out`."""
    with _workshop(config, cache) as stages:
        _check_same_points(scores, stages.splits.train)
        scores.save(stages.folder / "scores.parquet")
        found = stages.curve
    found.save(out)
    return found


@contextmanager
def _workshop(config: RunConfig, cache: str | Path | None = None) -> Iterator[Pipeline]:
    """The stages in a folder that goes away again."""
    with tempfile.TemporaryDirectory(prefix="augury-") as folder:
        yield Pipeline(config, Path(folder), None if cache is None else Path(cache))


def _check_same_points(scores: Scores, points: Examples) -> None:
    if len(scores) != len(points) or not np.array_equal(scores.origin, points.origin.astype(str)):
        raise InputError(
            f"data: {len(points)} training points, and the scores are of {len(scores)} other ones; give the same data, classes, first, "
            "size and seed as to `augury score`"
        )
