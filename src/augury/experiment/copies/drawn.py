"""What the cells of a task and seed share: the points that the seed draws, the network, features, heads and paper 2's scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from augury.augmentation import CopiedFeatures
from augury.choices import Method
from augury.data import Examples
from augury.errors import InputError
from augury.evaluation import HeldOut
from augury.experiment.pipeline import Pipeline
from augury.experiment.splits import Splits, read_splits
from augury.experiment.subsampling import Task
from augury.experiment.subsampling.extractors import network_of, ready_weights
from augury.head import SoftmaxHead
from augury.parallel import one_thread
from augury.scores import Scores, score

Pool = Literal["train", "joint", "halves"]
Labelled = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def draw(points: Examples, first: int | None, seed: int) -> tuple[Examples, Examples]:
    """So many training points, and as many others for validation (`first` None: a half each).

    Seed 0: the first ones and the next ones, as in paper 2; other seeds: drawn without replacement.
    """
    count = len(points) // 2 if first is None else first
    if 2 * count > len(points):
        raise InputError(f"first: {count} training and {count} validation points of {len(points)}; expected at most {len(points) // 2}")
    order = np.arange(len(points)) if seed == 0 else np.random.default_rng(seed).permutation(len(points))
    train, validation = (points.select(part) for part in (order[:count], order[count : 2 * count]))
    for part, name in ((train, "training"), (validation, "validation")):
        missing = sorted(set(range(len(points.classes))) - set(part.labels.tolist()))
        if missing:
            raise InputError(f"first: no {name} point of seed {seed} is of class {points.classes[missing[0]]!r}; take more points")
    return train, validation


class DrawnPipeline(Pipeline):
    """The stages of a run on the points that the configuration's seed draws; which points there are to test on does not depend on it."""

    @cached_property
    def splits(self) -> Splits:
        """Training, test and validation points."""
        found = read_splits(replace(self.config, first=None, seed=0))
        train, validation = draw(found.train, self.config.first, self.config.seed)
        return Splits(train, found.test, validation)


@dataclass(frozen=True)
class Drawn:
    """A task on the points of a seed.

    Parameters
    ----------
    task, seed
        Which.
    networks
        Folder of trained networks.
    work
        Folder for what can be made again: networks of a seed's own points, features.
    """

    task: Task
    seed: int
    networks: Path
    work: Path

    @cached_property
    def pipeline(self) -> DrawnPipeline:
        """Data, copies, network and features, as in a run with this seed."""
        task, config = self.task, self.task.config
        weights = ready_weights(task.network, self.networks, config.data_dir)
        path = None if weights is None else str(weights)
        points = f"{config.data.replace('/', '_')}.{'.'.join(config.classes or ())}.{config.first}.{task.network}.{self.seed}"
        settled = replace(config, model=network_of(task.network), weights=path, seed=self.seed)
        return DrawnPipeline(settled, self.work / points, self.work / "features")

    @cached_property
    def train(self) -> CopiedFeatures:
        """The training points and their copies."""
        return self.pipeline.copied(self.pipeline.splits.train, "training points")

    @cached_property
    def validation(self) -> CopiedFeatures:
        """As many other labelled points and their copies."""
        points = self.pipeline.splits.validation
        assert points is not None
        return self.pipeline.copied(points, "validation points")

    @cached_property
    def joint(self) -> CopiedFeatures:
        """The training points, and then the validation points."""
        names = ("features", "copies", "labels")
        return CopiedFeatures(*(np.concatenate([getattr(self.train, name), getattr(self.validation, name)]) for name in names))

    @cached_property
    def copied_test(self) -> CopiedFeatures:
        """The test points and their copies."""
        return self.pipeline.copied(self.pipeline.splits.test, "test points")

    @cached_property
    def test(self) -> HeldOut:
        """The test points and all their copies."""
        return HeldOut.of(*_all_of(self.copied_test))

    def tested(self, pool: Pool) -> HeldOut:
        """What heads are tested on: all test points and copies, or the half of them that is no target."""
        return HeldOut.of(*_all_of(self.copied_test, self.halves[1])) if pool == "halves" else self.test

    def target(self, pool: Pool) -> Labelled:
        """The validation points and all their copies, or the other half of the test points and theirs."""
        return _all_of(self.copied_test, self.halves[0]) if pool == "halves" else _all_of(self.validation)

    @property
    def halves(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The test points divided at random, the same way for every seed: their order may mean something, as NORB's two cameras do."""
        order, half = np.random.default_rng(0).permutation(len(self.copied_test)), len(self.copied_test) // 2
        return np.sort(order[:half]), np.sort(order[half:])

    def points(self, pool: Pool) -> CopiedFeatures:
        """The points that heads are fitted to."""
        return self.joint if pool == "joint" else self.train

    def head(self, pool: Pool) -> SoftmaxHead:
        """The head fitted to these points without copies; C = 1."""
        X, y, _ = self.points(pool).augmented([])
        return SoftmaxHead().fit(X, y)

    def scores(self, pool: Pool, method: Method) -> Scores:
        """Paper 2's score of these points before augmentation."""
        X, y, _ = self.points(pool).augmented([])
        penalty = self.task.penalty if method == "influence" else None
        return score(X, y, method, self.head(pool), penalty=penalty)

    def prepare(self) -> None:
        """Train what is to be trained and keep all features, so that cells can run side by side."""
        with one_thread():
            self.train, self.validation, self.test  # noqa: B018  (each keeps its features when first read)


def _all_of(points: CopiedFeatures, part: slice | npt.NDArray[np.int64] = slice(None)) -> Labelled:
    """Features and labels of some points and all their copies."""
    chosen = CopiedFeatures(points.features[part], points.copies[part], points.labels[part])
    return chosen.augmented(np.arange(len(chosen)))[:2]
