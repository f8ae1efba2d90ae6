"""A cell measured: E learned where the row has one, F fitted anew to all labels, and what the test set says of it."""

from __future__ import annotations

import contextlib
import json
import math
import resource
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from augury.data import Examples
from augury.experiment.learning.rows import Row, augmentation_of, transformation_of
from augury.experiment.learning.tasks import Points, Task
from augury.learned import LearnedAugmentation, TeachingConfig, WarpingTransformation, learn
from augury.model import Model, features
from augury.networks import Network, build
from augury.training import TrainingConfig, train

SEARCH = 1000  # is added to the seed of an F that teaches E, so that it is not the one that is tested
DEVICE = "cpu"
SHOWN = 1000  # training images over which it is told what E does
KIB = 1024 if sys.platform == "darwin" else 1  # units of ru_maxrss in a KiB


class Measured(NamedTuple):
    """A cell's row, and the row of what it has cost, which alone is not the same when it is measured again."""

    cell: dict[str, Any]
    cost: dict[str, Any]


class Reading(NamedTuple):
    """Accuracy, and the mean loss in nats."""

    accuracy: float
    loss: float


def measure(task: Task, points: Points, row: Row, seed: int, work: Path, trained: str | Path | None) -> Measured:
    """All of one row and seed.

    Parameters
    ----------
    task, points
        Which, and its labels of this seed.
    row, seed
        Which.
    work
        A folder of its own for checkpoints; what a killed measurement has left there is gone on from. The costs are then NaN.
    trained
        The file of a trained transformation, for rows that need it.
    """
    resumed = work.exists()
    _forget_peak()
    fitting, everything = task.fitting, points.everything
    G = transformation_of(row, everything.shape, trained)
    config = fitting.config(len(everything), fitting.steps, seed)
    steps = _steps(config, len(everything))
    start = time.process_time()
    learned = None if row.teaching is None else _search(task, points, row, G, seed, work)
    found = time.process_time()
    augment = augmentation_of(row, points, G, learned, fitting.share, steps, seed, task.shift)
    F = _network(fitting.network, everything, seed).module
    train(F, everything.images, everything.labels, config=config, augment=augment, checkpoint=work / "final.safetensors", device=DEVICE)
    done = time.process_time()
    target = points.labels.target
    key = {"task": task.name, "row": row.name, "kind": row.kind, "seed": seed}
    cell = key | read(F, points.test)._asdict()
    cell |= {"target_accuracy": math.nan if target is None else read(F, target).accuracy}
    cell |= {"train_labels": len(points.labels.train), "target_labels": 0 if target is None else len(target)}
    cell |= {"test_images": len(points.test), "network": fitting.network, "steps": steps, "search_steps": _searched(task, points, row)}
    cell |= {"summary": _summary(learned, everything)} | settings_of(task, row, trained)
    searching = 0.0 if learned is None else found - start
    cost = {"search_seconds": searching, "training_seconds": done - found, "peak_memory": _peak()}
    return Measured(cell, key | (dict.fromkeys(cost, math.nan) if resumed else cost))


def settings_of(task: Task, row: Row, trained: str | Path | None) -> dict[str, str]:
    """What a cell's numbers depend on beside its labels: how F is fitted, and the row's settings, each as JSON."""
    return {"fitting": _json(asdict(task.fitting)), "settings": _json(row.settings(trained))}


def read(network: nn.Module, points: Examples) -> Reading:
    """What labelled points say of a network."""
    scores = torch.from_numpy(features(Model(network, ""), points.images, device=DEVICE)).double()
    labels = torch.from_numpy(points.labels)
    accuracy = (scores.argmax(dim=1) == labels).double().mean()
    return Reading(float(accuracy), float(nn.functional.cross_entropy(scores, labels)))


def _search(task: Task, points: Points, row: Row, G: WarpingTransformation, seed: int, work: Path) -> LearnedAugmentation:
    """E, judged on the target, or cross-fitted on the training points where there is none."""
    fitting, labels = task.fitting, points.labels
    return learn(
        _network(fitting.network, labels.train, seed + SEARCH),
        labels.train,
        labels.target,
        transformation=G,
        config=row.teaching,
        training=_searching(task, points, row.teaching, seed),
        share=fitting.share,
        folds=fitting.folds,
        seed=seed,
        folder=work,
        device=DEVICE,
    )


def _searching(task: Task, points: Points, teaching: TeachingConfig | None, seed: int) -> TrainingConfig:
    """How each F is fitted that teaches E."""
    return task.fitting.config(_fold(task, points, teaching), task.fitting.search, seed + SEARCH)


def _fold(task: Task, points: Points, teaching: TeachingConfig | None) -> int:
    """To about how many points such an F is fitted."""
    count = len(points.labels.train)
    whole = count if points.labels.target is not None else count - count // task.fitting.folds
    return whole - (0 if teaching is None else round(teaching.apart * whole))


def _searched(task: Task, points: Points, row: Row) -> int:
    """Steps of all those F together."""
    if row.teaching is None:
        return 0
    parts = 1 if points.labels.target is not None else task.fitting.folds
    whole = _searching(task, points, row.teaching, 0)
    taught = replace(whole, epochs=math.ceil(row.teaching.until * whole.epochs))
    return parts * _steps(taught, _fold(task, points, row.teaching))


def _steps(config: TrainingConfig, points: int) -> int:
    return config.epochs * math.ceil(points / config.batch)


def _network(name: str, points: Examples, seed: int) -> Network:
    channels, height, width = points.shape
    return build(name, channels=channels, height=height, width=width, classes=len(points.classes), seed=seed)


def _summary(learned: LearnedAugmentation | None, points: Examples) -> str:
    """Mean and deviation of each component of tau, as JSON; an empty object for rows without E."""
    if learned is None:
        return "{}"
    table = learned.summary(torch.from_numpy(points.first(SHOWN).images))[["mean", "deviation"]].round(4)
    return json.dumps({str(name): [float(mean), float(deviation)] for name, mean, deviation in table.itertuples(name=None)})


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


def _forget_peak() -> None:
    """Let the process's peak memory begin anew, where the system can (Linux); elsewhere it is that of all its cells so far."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """The most memory that the process has had in use, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB / 1024
