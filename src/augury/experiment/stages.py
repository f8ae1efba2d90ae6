"""Single stages on files of the user's choice: what the commands `score`, `augment` and `curve` do."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from augury import model
from augury.augmentation import augment, write_images
from augury.copies import CopyOrdering
from augury.copies.ordering import KIND
from augury.data import Examples
from augury.errors import InputError
from augury.evaluation import Curve
from augury.experiment.config import RunConfig
from augury.experiment.copy_files import chosen_copies, save_copies, write_copies
from augury.experiment.folder import check_folder, check_writable
from augury.experiment.pipeline import Pipeline
from augury.experiment.splits import fingerprint
from augury.files import METADATA_KEY, remove_partial
from augury.model import resolve_device
from augury.parallel import held
from augury.scores import Scores
from augury.selection import Ordering
from augury.transforms import Transform


def score_data(config: RunConfig, *, out: str | Path, save_model: str | Path | None = None, cache: str | Path | None = None) -> Scores:
    """Score the training points of a data source and write `out`; the trained network too, for later stages, if `save_model` says where."""
    check_writable(Path(out), "out")
    if save_model is not None:
        check_writable(Path(save_model), "save_model")
    with _workshop(_of_points(config), cache) as stages:
        found = stages.scores
        if save_model is not None:
            model.save(stages.model, save_model)
    found.save(out)
    return found


def augment_data(config: RunConfig, selection: Ordering | CopyOrdering, *, out: str | Path) -> Path:
    """Write all copies of the selected points, or just the selected copies with their weights.

    An `.npz` where `out` ends so, else a folder of PNG files with its list `copies.parquet`.
    """
    out = Path(out)
    if out.suffix == ".npz":
        check_writable(out, "out")
    else:
        check_folder(out, config)
    if isinstance(selection, CopyOrdering):
        return _write_selected_copies(config, selection, out)
    with _workshop(_as_scored(config, selection.scores)) as stages:
        points = stages.splits.train
        _check_same_points(selection.scores, points)
        copies = augment(points, selection.selected, stages.transform)
    if out.suffix == ".npz":
        return copies.save(out)
    remove_partial(out)
    write_images(copies, out, listing=out / "copies.parquet")
    return out


def _write_selected_copies(config: RunConfig, selection: CopyOrdering, out: Path) -> Path:
    with _workshop(replace(config, target="val" if selection.cause.get("target") == "val" else "own")) as stages:
        points, transform = stages.splits.train, stages.transform
        _check_same_copies(selection, points, transform)
        copies = chosen_copies(points, selection, transform)
    weight = selection.weight_at(len(copies))
    if out.suffix == ".npz":
        return save_copies(copies, weight, out)
    remove_partial(out)
    write_copies(copies, weight, out, out / "copies.parquet")
    return out


def load_selection(path: str | Path) -> Ordering | CopyOrdering:
    """Read a selection of points or of copies, whichever the file holds."""
    kind = None
    with contextlib.suppress(OSError, ValueError, pa.ArrowException):  # what is wrong with the file, the reader below tells
        kind = json.loads((pq.read_schema(path).metadata or {}).get(METADATA_KEY, b"{}")).get("kind")
    return CopyOrdering.load(path) if kind == KIND else Ordering.load(path)


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
    with tempfile.TemporaryDirectory(prefix="augury-") as folder, held(config.workers()) as workers:
        yield Pipeline(config, Path(folder), None if cache is None else Path(cache), workers)


def _as_scored(config: RunConfig, scores: Scores) -> RunConfig:
    """The configuration with the target that the scores had, so that the same points are split off for it."""
    return replace(_of_points(config), score="influence", target="val" if scores.method == "validation" else "own")


def _of_points(config: RunConfig) -> RunConfig:
    """The configuration for points, which these stages score, order and augment; copies are chosen by a whole run alone."""
    return config if config.unit == "points" else replace(config, unit="points")


def _check_same_points(scores: Scores, points: Examples) -> None:
    known = scores.cause.get("data", fingerprint(points))  # scores made in Python need not know
    if len(scores) != len(points) or known != fingerprint(points) or not np.array_equal(scores.origin, points.origin.astype(str)):
        raise InputError(
            f"data: its {len(points)} training points are not the {len(scores)} that the scores are of; give the same data, classes, "
            "first, size, test, validation, their shares and seed as to `augury score`"
        )


def _check_same_copies(selection: CopyOrdering, points: Examples, transform: Transform) -> None:
    known = selection.cause.get("transform", transform.spec)  # orderings made in Python need not know
    if known != transform.spec:
        raise InputError(f"transform: {transform.spec}, and the selection is of copies by {known}; give transform {known!r}")
    if selection.cause.get("data", fingerprint(points)) != fingerprint(points) or len(selection) != len(points) * len(transform):
        raise InputError(
            f"data: {len(points)} training points with {len(transform)} copies each are not those of the {len(selection)} copies that the "
            "selection is of; give the same data, classes, first, size, test, validation, their shares and seed as to `augury run`"
        )
