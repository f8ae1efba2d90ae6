"""The tasks: which labels there are, how deployment differs, and how F is fitted, the same for every row of a table."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import numpy as np

from augury import data
from augury.data import Examples
from augury.errors import InputError
from augury.experiment.learning.labels import SCARCITIES, Labels, Scarcity
from augury.experiment.learning.shifts import SHIFTS, Shift, shifted
from augury.experiment.recipes import RESIDUAL, SMALL, lasting
from augury.training import TrainingConfig
from augury.transforms.border import Real

TARGET = 20  # labels of each class as deployed
TEST_DRAWS = 1_000_000  # the seed of the test images' shift; that of the target's is the seed of the labels
NAME = re.compile(r"(?P<scarcity>[^:@]+)(:(?P<shift>[^:@]+))?(@(?P<network>[^:@]+))?")


@dataclass(frozen=True)
class Fitting:
    """How F is fitted, for every row alike.

    Parameters
    ----------
    network
        Its name, as `augury.networks.build` knows it.
    training
        The optimizer and its schedule; epochs and seed follow from what is below.
    steps
        For about how many steps the F is fitted that is tested: whole epochs.
    search
        For about how many steps each F that teaches E is fitted: one, or one a fold.
    share
        Of each batch, how much is changed after the usual crop.
    folds
        Of the cross-fitting, where no row has a target.
    """

    network: str
    training: TrainingConfig
    steps: int
    search: int
    share: Real = 0.8
    folds: int = 3

    def config(self, points: int, steps: int, seed: int) -> TrainingConfig:
        """For so many points, in as many whole epochs as come nearest to the steps, and at least one."""
        return lasting(self.training, points, steps, seed)


@dataclass(frozen=True, eq=False)
class Points:
    """What all rows of a task and seed share.

    Parameters
    ----------
    labels
        Training points and target; every row's F is fitted to both.
    test
        Test points as deployed.
    """

    labels: Labels
    test: Examples
    everything: Examples = field(init=False)

    def __post_init__(self) -> None:
        train, target = self.labels.train, self.labels.target
        object.__setattr__(self, "everything", train if target is None else _joined(train, target))


@dataclass(frozen=True)
class Task:
    """One table.

    Parameters
    ----------
    name
        `SCARCITY`, `SCARCITY:SHIFT`, and with `@NETWORK` where F is another network.
    scarcity
        The labels, without those of the target.
    fitting
        How F is fitted.
    shift
        How target and test images differ from the training images; None: not at all, and there is no target.
    target
        How many further labels each class has on images as deployed.
    data_dir
        Where the data set's files lie; None: as `AUGURY_DATA` says.
    """

    name: str
    scarcity: Scarcity
    fitting: Fitting
    shift: Shift | None = None
    target: int = TARGET
    data_dir: str | None = None

    @property
    def group(self) -> str:
        """The name of its files."""
        return re.sub("[:@]", ".", self.name)

    def points(self, seed: int) -> Points:
        """The labels of a seed, and the test points, which are the same for all seeds."""
        test = data.load(self.scarcity.data, split="test", data_dir=self.data_dir)
        if self.shift is None:
            return Points(self.scarcity.draw(seed, data_dir=self.data_dir), test)
        more = replace(self.scarcity, per_class=self.scarcity.per_class + self.target)
        labels = more.draw(seed, self.target, self.data_dir)
        assert labels.target is not None
        deployed = Labels(labels.train, shifted(labels.target, self.shift, seed))
        return Points(deployed, shifted(test, self.shift, TEST_DRAWS))


FITTINGS = {
    "mnist-1": Fitting("strided", SMALL, steps=3000, search=1500),
    "mnist-10": Fitting("resnet20", RESIDUAL, steps=2000, search=1000),  # 43 epochs; small classifiers stay below 99.2 %
    "cifar10-10": Fitting("resnet20", RESIDUAL, steps=1900, search=1400),  # 60 epochs
    "cifar10-100": Fitting("resnet20", RESIDUAL, steps=2000, search=700),  # 5 epochs
}
SHIFTED = {"mnist-1": 1500, "cifar10-10": 1900}  # of which the shifts are measured unless others are asked for, and F's steps there
TASKS = (*FITTINGS, *(f"{scarcity}:{shift}" for scarcity in SHIFTED for shift in SHIFTS[SCARCITIES[scarcity].data]))


def read_task(name: str, data_dir: str | None = None) -> Task:
    """The task of that name: `mnist-1`, `cifar10-10:turned`, `mnist-1@allconv`.

    Raises
    ------
    InputError
        If no labels or no shift are called so. (An unknown network is told when it is built.)
    """
    found = NAME.fullmatch(name)
    if found is None or found["scarcity"] not in SCARCITIES:
        raise InputError(f"task: {name!r} is unknown; expected one of {', '.join(TASKS)}, with @NETWORK for another network")
    named = found["scarcity"]
    scarcity, fitting = SCARCITIES[named], FITTINGS[named]
    shifts = SHIFTS[scarcity.data]
    if found["shift"] is not None and found["shift"] not in shifts:
        raise InputError(f"task: {name!r} asks for an unknown shift; expected one of {', '.join(shifts)}")
    shift = None if found["shift"] is None else shifts[found["shift"]]
    steps = fitting.steps if shift is None else SHIFTED.get(named, fitting.steps)
    fitting = replace(fitting, network=found["network"] or fitting.network, steps=steps)
    return Task(name, scarcity, fitting, shift, data_dir=data_dir)


def _joined(first: Examples, second: Examples) -> Examples:
    """Both, one after the other; as floats in [0, 1] if only one of them is of bytes."""
    alike = first.images.dtype == second.images.dtype
    images = np.concatenate([part.images if alike else part.to_float() for part in (first, second)])
    labels, origin = (np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("labels", "origin"))
    return Examples(images, labels, first.classes, origin)
