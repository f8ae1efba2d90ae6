"""What F is fitted to while something is learned or foreseen: which images, judged on which, and for how long."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from torch import nn

from augury.data import Examples, from_arrays
from augury.errors import InputError
from augury.learned.teaching_config import TeachingConfig
from augury.model import Model
from augury.model.reading import device_of
from augury.networks import Network
from augury.training import TrainingConfig

Labelled = Examples | tuple[Any, Any]

STEPS, BATCH = 1500, 64  # of F by default, however few images there are
FEWEST = 2  # folds, and points of each class


@dataclass(frozen=True)
class Part:
    """What F is fitted to, what is changed, and on which points F is to do well."""

    train: Examples
    changed: Examples
    target: Examples


def parts_of(examples: Examples, validation: Labelled | None, folds: int, seed: int) -> Iterator[Part]:
    """The training images with their target; without one, each fold as the target of the others."""
    if validation is not None:
        yield Part(examples, examples, read_target(validation, examples))
        return
    fewest = int(np.bincount(examples.labels, minlength=len(examples.classes)).min())
    if not FEWEST <= folds <= fewest:
        raise InputError(
            f"folds: {folds}, and the smallest class has {fewest} points; expected {FEWEST} to that number: lower folds, or give validation"
        )
    split = StratifiedKFold(folds, shuffle=True, random_state=seed).split(examples.labels, examples.labels)
    for kept, left in split:
        some = examples.select(kept)
        yield Part(some, some, examples.select(left))


def held_apart(part: Part, config: TeachingConfig, seed: int) -> Part:
    """The part with training images held apart to be changed, of each class its share, where there are two of it; without any as it was."""
    order = np.random.default_rng(seed).permutation(len(part.train))
    held: list[int] = []
    for label in np.unique(part.train.labels) if config.apart else ():
        its = order[part.train.labels[order] == label]
        held.extend(its[: min(max(1, round(config.apart * len(its))), len(its) - 1)])
    if not held:
        return part
    apart = np.isin(np.arange(len(part.train)), held)
    return Part(part.train.select(np.flatnonzero(~apart)), part.train.select(np.flatnonzero(apart)), part.target)


def read_examples(given: Labelled, classes: tuple[str, ...] | None = None) -> Examples:
    """Checked; labels count into `classes`, if they are given."""
    return given if isinstance(given, Examples) else from_arrays(*given, classes)


def read_target(given: Labelled, train: Examples, name: str = "validation") -> Examples:
    """Checked, and of the classes and the shape of the training images; `name` is what errors call it."""
    target = read_examples(given, train.classes)
    if target.classes != train.classes:
        raise InputError(
            f"{name}: its classes are {', '.join(target.classes)}, those of train {', '.join(train.classes)}; expected the same"
        )
    if target.shape != train.shape:
        raise InputError(f"{name}: images of shape {target.shape}, those of train {train.shape}; expected the same")
    return target


def usual_training(points: int, seed: int) -> TrainingConfig:
    """`STEPS` steps, but at least one epoch."""
    per_epoch = math.ceil(points / BATCH)
    return TrainingConfig(max(1, round(STEPS / per_epoch)), BATCH, learning_rate=2e-3, schedule="onecycle", seed=seed)


def module_of(model: nn.Module | Model | Network) -> nn.Module:
    """The network alone."""
    if isinstance(model, nn.Module):
        return model
    return model.network if isinstance(model, Model) else model.module


@contextlib.contextmanager
def on_device(device: torch.device, *modules: nn.Module) -> Iterator[None]:
    """The modules on the device; afterwards where they were."""
    origins = [device_of(module) for module in modules]
    try:
        for module in modules:
            module.to(device)
        yield
    finally:
        for module, origin in zip(modules, origins, strict=True):
            module.to(origin)
