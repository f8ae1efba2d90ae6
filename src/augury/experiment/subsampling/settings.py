"""What the cells of a task share: features or images, and initial scores; made once, kept as files, read by every process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from augury.augmentation import CopiedFeatures, TrainingSet, augment
from augury.choices import Method
from augury.data import Examples
from augury.evaluation import C_GRID, FixedFeatures, HeldOut, Setting
from augury.evaluation.refits import Refits
from augury.experiment.pipeline import CURVE_SHARES, PAPER_NETWORKS, Pipeline
from augury.experiment.subsampling.extractors import accuracy_of, network_of, ready_weights
from augury.experiment.subsampling.retrained import RetrainedFeatures
from augury.experiment.subsampling.tasks import Task
from augury.files import write_atomic
from augury.head import SoftmaxHead
from augury.parallel import one_thread
from augury.scores import Scores, score

SCORED: tuple[Method, ...] = ("influence", "loss")  # the scores whose values before and after full augmentation are kept


@dataclass(frozen=True)
class Settings:
    """A task's shared things, in the folders of a sweep.

    Parameters
    ----------
    task
        The task.
    networks
        Folder of trained networks.
    work
        Folder for what can be made again: features, scores.
    """

    task: Task
    networks: Path
    work: Path

    @property
    def folder(self) -> Path:
        """Where this task's own files lie."""
        return self.work / self.task.group

    @cached_property
    def pipeline(self) -> Pipeline:
        """Data, copies, network and features, as in a run."""
        weights = ready_weights(self.task.network, self.networks, self.task.config.data_dir)
        config = replace(self.task.config, model=network_of(self.task.network), weights=None if weights is None else str(weights))
        points = f"{config.data.replace('/', '_')}.{'.'.join(config.classes or ())}.{config.first}.{self.task.network}"
        return Pipeline(config, self.work / points, self.work / "features")

    @cached_property
    def checkpoints(self) -> list[int]:
        """The budgets of the curves: paper 2's, as shares of the points."""
        return sorted({max(1, round(share * len(self.features))) for share in CURVE_SHARES})

    @cached_property
    def features(self) -> CopiedFeatures:
        """Training points and their copies, by the network trained without augmentation."""
        return CopiedFeatures(*(self._array(name) for name in ("features", "copies", "labels")))

    @cached_property
    def test(self) -> HeldOut:
        """The test points and all their copies, by that network."""
        return HeldOut.of(self._array("test_features"), self._array("test_labels"))

    def setting(self, seed: int) -> Setting:
        """What a cell of this seed is measured in."""
        if not self.task.retrained:
            return self._fixed
        stages = self.pipeline
        network = stages.network.recipe.name
        return RetrainedFeatures(
            stages.splits.train,
            self.test_images,
            stages.transform,
            network,
            "paper" if network in PAPER_NETWORKS else "default",
            stages.config.epochs,
            seed,
            self._array("features"),
            self.folder,
        )

    @cached_property
    def _fixed(self) -> FixedFeatures:
        """One for all seeds, since it remembers what is the same for all draws."""
        return FixedFeatures(self.features, self.test)

    @cached_property
    def test_images(self) -> Examples:
        """The test points and then all their copies, as images."""
        test = self.pipeline.splits.test
        copies = augment(test, np.arange(len(test)), self.pipeline.transform)
        images, labels = np.concatenate([test.images, copies.images]), np.concatenate([test.labels, copies.labels])
        return Examples(images, labels, test.classes, np.concatenate([test.origin, copies.origin]))

    def scores(self, method: Method) -> Scores:
        """The scores of the training points before augmentation."""
        if method not in self._scores:
            self._scores[method] = self._stored_scores(method)
        return self._scores[method]

    @cached_property
    def _scores(self) -> dict[Method, Scores]:
        """What `scores` has read."""
        return {}

    def _stored_scores(self, method: Method) -> Scores:
        path = self.folder / f"{method}.parquet"
        if not path.exists():
            X, y = self.features.features, self.features.labels
            head = self.head(self.features.augmented([]))
            penalty = self.task.penalty if method == "influence" else None
            found = score(X, y, method, head, penalty=penalty, cause=self.task.key)
            replace(found, classes=self.pipeline.splits.train.classes).save(path)
        return Scores.load(path)

    def head(self, training: TrainingSet) -> SoftmaxHead:
        """The task's head, fitted to originals without copies, or to all of them with all copies."""
        points = np.arange(len(self.features))
        copies = (len(training.y) - len(points)) // len(points)
        return Refits(SoftmaxHead(), self.grid).fit(training, np.concatenate([points, np.repeat(points, copies)]))

    @property
    def grid(self) -> tuple[float, ...]:
        """Among which values of C each refit chooses; none: C = 1."""
        return C_GRID if self.task.C == "cv" else ()

    @property
    def extractor_accuracy(self) -> float:
        """Accuracy of ready weights on the test set of the data that they were trained on; NaN for a network of the task's own points."""
        weights, config = self.pipeline.config.weights, self.task.config
        if weights is None:
            return float("nan")
        return accuracy_of(self.task.network, Path(weights), self.networks, config.data, config.data_dir)

    def prepare(self) -> None:
        """Make every file that cells read, so that they can run side by side."""
        with one_thread():
            self._write_features()
            for method in ("uniform", "influence", "loss", "margin", "support"):
                self.scores(method)

    def _write_features(self) -> None:
        if (self.folder / "test_labels.npy").exists():
            return
        stages = self.pipeline
        train = stages.copied(stages.splits.train, "training points")
        test = stages.copied(stages.splits.test, "test points")
        X, y, _ = test.augmented(np.arange(len(test)))
        arrays = {"features": train.features, "copies": train.copies, "labels": train.labels}
        arrays |= {"test_features": X.astype(np.float32), "test_labels": y}
        for name, array in arrays.items():
            write_atomic(self.folder / f"{name}.npy", partial(np.save, arr=array))

    def _array(self, name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.load(self.folder / f"{name}.npy")
        return array
