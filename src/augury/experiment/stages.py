"""Single stages on files of the user's choice: what the commands `score`, `augment` and `curve` do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from augury import model
from augury.augmentation import augment, write_images
from augury.data import Examples
from augury.errors import InputError
from augury.evaluation import Curve
from augury.experiment.config import RunConfig
from augury.experiment.folder import check_folder, check_writable
from augury.experiment.pipeline import Pipeline
from augury.experiment.splits import fingerprint
from augury.files import remove_partial
from augury.model import resolve_device
from augury.scores import Scores
from augury.selection import Ordering


def score_data(config: RunConfig, *, out: str | Path, save_model: str | Path | None = None, cache: str | Path | None = None) -> Scores:
    """Score the training points of a data source and write `out`; the trained network too, for later stages, if `save_model` says where."""
    check_writable(Path(out), "out")
    if save_model is not None:
        check_writable(Path(save_model), "save_model")
    with _workshop(config, cache) as stages:
        found = stages.scores
        if save_model is not None:
            model.save(stages.model, save_model)
    found.save(out)
    return found


def augment_data(config: RunConfig, selection: Ordering, *, out: str | Path) -> Path:
    """Write the copies of the selected points: an `.npz` where `out` ends so, else a folder of PNG files with its list `copies.parquet`."""
    out = Path(out)
    as_images = out.suffix != ".npz"
    if as_images:
        check_folder(out, config)
    else:
        check_writable(out, "out")
    with _workshop(_as_scored(config, selection.scores)) as stages:
        points = stages.splits.train
        _check_same_points(selection.scores, points)
        copies = augment(points, selection.selected, stages.transform)
    if not as_images:
        return copies.save(out)
    remove_partial(out)
    write_images(copies, out, listing=out / "copies.parquet")
    return out


def curve_data(config: RunConfig, scores: Scores, *, out: str | Path, cache: str | Path | None = None) -> Curve:
    """Measure the curve of a policy on given scores against chance, and write `out`."""
    check_writable(Path(out), "out")
    with _workshop(_as_scored(config, scores), cache) as stages:
        _check_same_points(scores, stages.splits.train)
        scores.save(stages.folder / "scores.parquet")
        found = stages.curve
    found.save(out)
    return found


@contextmanager
def _workshop(config: RunConfig, cache: str | Path | None = None) -> Iterator[Pipeline]:
    """The stages in a folder that goes away again."""
    resolve_device(config.device)
    with tempfile.TemporaryDirectory(prefix="augury-") as folder:
        yield Pipeline(config, Path(folder), None if cache is None else Path(cache))


def _as_scored(config: RunConfig, scores: Scores) -> RunConfig:
    """The configuration with the target that the scores had, so that the same points are split off for it."""
    return replace(config, score="influence", target="val" if scores.method == "validation" else "own")


def _check_same_points(scores: Scores, points: Examples) -> None:
    known = scores.cause.get("data", fingerprint(points))  # scores made in Python need not know
    if len(scores) != len(points) or known != fingerprint(points) or not np.array_equal(scores.origin, points.origin.astype(str)):
        raise InputError(
            f"data: its {len(points)} training points are not the {len(scores)} that the scores are of; give the same data, classes, "
            "first, size, test, validation, their shares and seed as to `augury score`"
        )
