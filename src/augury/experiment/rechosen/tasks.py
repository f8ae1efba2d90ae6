"""The tasks: points, the copies that may be chosen, and how the network is trained on what was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from augury.errors import InputError
from augury.experiment.config import RunConfig
from augury.experiment.recipes import RESIDUAL, SMALL, lasting
from augury.training import TrainingConfig

SHARES = (0.01, 0.05, 0.1, 0.25)  # of all copies: the budgets


@dataclass(frozen=True)
class Task:
    """What a table is about.

    Parameters
    ----------
    name
        For instance `mnist-rotate`.
    config
        Data, transform and number of training points.
    network
        As `augury.networks.build` knows it.
    training
        The optimizer and its schedule; epochs and seed follow from what is below.
    steps
        For about how many steps every network is trained, however many images it is given: whole epochs.
    weights
        Ready weights from which every training starts, by name (see `augury.experiment.subsampling.extractors`); None: fresh ones.
    test_points
        How many test points there are, the first ones; None: all.
    """

    name: str
    config: RunConfig
    network: str
    training: TrainingConfig
    steps: int
    weights: str | None = None
    test_points: int | None = None

    def settings(self, images: int, seed: int) -> TrainingConfig:
        """For so many images, in as many whole epochs as come nearest to the steps, and at least one."""
        return lasting(self.training, images, self.steps, seed)


READY = "cifar10-ready"
NAMES = ("mnist-translate", "mnist-rotate", "cifar10", READY)


def read_task(name: str, data_dir: str | None = None) -> Task:
    """One of `NAMES`: LeNet on 1,000 digits of all classes; ResNet-20 on 2,000 images, from fresh weights, or from ready ones.

    The ready weights are those of `resnet20-noaug`, trained on all of CIFAR-10's training points without augmentation, so that these
    points are known to it.
    """
    if name not in NAMES:
        raise InputError(f"task: {name!r} is unknown; expected some of {', '.join(NAMES)}")
    if name.startswith("mnist"):
        transform = {"mnist-translate": "translate:2", "mnist-rotate": "rotate:30:15"}[name]
        return Task(name, _config("mnist", 1000, transform, data_dir), "lenet", SMALL, steps=600, test_points=2000)
    points: dict[str, Any] = {"config": _config("cifar10", 2000, "flip,translate:3", data_dir), "network": "resnet20", "test_points": 2000}
    if name == READY:
        return Task(name, training=replace(RESIDUAL, learning_rate=0.02), steps=200, weights="resnet20-noaug", **points)
    return Task(name, training=RESIDUAL, steps=800, **points)


def _config(data: str, first: int, transform: str, data_dir: str | None) -> RunConfig:
    return RunConfig(data=data, first=first, transform=transform, data_dir=data_dir, curve=False)
