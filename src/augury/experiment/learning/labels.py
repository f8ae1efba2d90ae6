"""Which labelled points an experiment may use: balanced draws of a few, divided into points to train on and a target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from augury import data
from augury.data import Examples
from augury.errors import InputError


@dataclass(frozen=True)
class Labels:
    """All the labels that a row of a table uses.

    Parameters
    ----------
    train
        Points to train on.
    target
        Other points, on which the augmentation is judged; None where no row has any.
    """

    train: Examples
    target: Examples | None

    @property
    def count(self) -> int:
        """How many labels, training and target together."""
        return len(self.train) + (0 if self.target is None else len(self.target))

    @property
    def words(self) -> str:
        """`600 labels: 400 to train on, 200 as target`."""
        if self.target is None:
            return f"{self.count:,} labels, all to train on"
        return f"{self.count:,} labels: {len(self.train):,} to train on, {len(self.target):,} as target"


@dataclass(frozen=True)
class Scarcity:
    """A data set of which few labels are known.

    Parameters
    ----------
    data
        Its name.
    pool
        The first so many training points are drawn from; what comes after them stays untouched, for decisions about settings.
    per_class
        How many labels each class has, training and target together.
    """

    data: str
    pool: int
    per_class: int

    def draw(self, seed: int, target: int = 0, data_dir: str | None = None) -> Labels:
        """The labels of a seed, of which `target` a class are the target."""
        if not 0 <= target < self.per_class:
            raise InputError(
                f"target: {target} of the {self.per_class} labels of each class; expected at least 0, and one left to train on"
            )
        points = data.load(self.data, split="train", data_dir=data_dir).first(self.pool)
        return draw_labels(points, self.per_class - target, target, seed)


SCARCITIES = {
    "mnist-1": Scarcity("mnist", 60_000, 60),
    "mnist-10": Scarcity("mnist", 60_000, 600),
    "cifar10-10": Scarcity("cifar10", 40_000, 400),  # as Ratner et al. (2017): the first four batches, and the fifth to validate
    "cifar10-100": Scarcity("cifar10", 50_000, 5_000),
}


def draw_labels(points: Examples, train: int, target: int, seed: int) -> Labels:
    """So many points of each class to train on, and so many others as target, in the data set's order.

    Each class is shuffled by the seed; the target's points are its first, and the training points come next. So points of the same seed
    and number of labels are the same whatever part of them is the target.

    Raises
    ------
    InputError
        If a class has fewer points than are drawn.
    """
    if train < 1 or target < 0:
        raise InputError(f"train, target: {train} and {target} points of each class; expected at least 1 to train on, and none below 0")
    chosen = np.stack([_drawn(points, label, target + train, seed) for label in range(len(points.classes))])
    parts = [points.select(np.sort(part.ravel())) if part.size else None for part in (chosen[:, target:], chosen[:, :target])]
    assert parts[0] is not None
    return Labels(parts[0], parts[1])


def _drawn(points: Examples, label: int, count: int, seed: int) -> np.ndarray:
    members = np.flatnonzero(points.labels == label)
    if len(members) < count:
        raise InputError(f"labels: class {points.classes[label]!r} has {len(members)} points, and {count} are to be drawn; draw fewer")
    return np.random.default_rng((seed, label)).permutation(members)[:count]
