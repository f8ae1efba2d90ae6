"""What the cells of a task and seed share: points, copies, and the networks trained on them, each trained once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from augury.augmentation import CopiedFeatures
from augury.data import Examples
from augury.experiment.copies.drawn import DrawnPipeline
from augury.experiment.pipeline import PAPER_NETWORKS
from augury.experiment.rechosen.tasks import SHARES, Task
from augury.experiment.subsampling.extractors import ready_weights
from augury.files import digest
from augury.model import Model, copy_features, features
from augury.networks import Init, build, load_weights
from augury.softmax import point_losses
from augury.training import train

Chosen = npt.NDArray[np.int64]
BATCH = 64


class Reading(NamedTuple):
    """A network on the test points and all their copies: accuracy and mean loss in nats; and its accuracy on the points alone."""

    accuracy: float
    loss: float
    plain_accuracy: float


@dataclass(frozen=True)
class Trained:
    """A task on the points of a seed, which also decides the network's first weights and the order of the images.

    Parameters
    ----------
    task, seed
        Which.
    networks
        Folder of ready weights.
    work
        Folder for networks, which can be made again.
    """

    task: Task
    seed: int
    networks: Path
    work: Path

    @cached_property
    def _pipeline(self) -> DrawnPipeline:
        return DrawnPipeline(replace(self.task.config, seed=self.seed), self.work)

    @cached_property
    def points(self) -> Examples:
        """The training points."""
        return self._pipeline.splits.train

    @cached_property
    def test(self) -> Examples:
        """The test points."""
        test = self._pipeline.splits.test
        return test if self.task.test_points is None else test.first(self.task.test_points)

    @cached_property
    def copies(self) -> npt.NDArray[Any]:
        """(points x copies, channels, height, width): the candidates' pixels, in the order of `augury.copies.CopyOrdering.candidates`."""
        made = self._pipeline.transform.copies(self.points.images)
        return made.reshape(-1, *made.shape[2:])

    @property
    def per_point(self) -> int:
        """How many copies a point has."""
        return len(self._pipeline.transform)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Of the candidates."""
        return np.repeat(self.points.labels, self.per_point)

    @property
    def budgets(self) -> list[int]:
        """Numbers of copies at which networks are trained."""
        return sorted({max(1, round(share * len(self.points) * self.per_point)) for share in SHARES})

    def network(self, chosen: Chosen) -> Model:
        """The network trained on the points and the chosen copies, every image with weight 1; the same copies give the same network."""
        rows = np.sort(chosen)
        images = np.concatenate([self.points.images, self.copies[rows]])
        labels = np.concatenate([self.points.labels, self.labels[rows]])
        model, settings = self._fresh(), self.task.settings(len(images), self.seed)
        checkpoint = self.work / "networks" / f"{digest(self.task, self.seed, rows)}.safetensors"
        train(model.network, images, labels, config=settings, checkpoint=checkpoint, what=f"{len(rows)} copies")
        return model

    def _fresh(self) -> Model:
        channels, height, width = self.points.shape
        name = self.task.network
        init: Init = "paper" if name in PAPER_NETWORKS else "default"
        shape = {"channels": channels, "height": height, "width": width}
        network = build(name, **shape, classes=len(self.points.classes), seed=self.seed, init=init)
        if self.task.weights is not None:
            path = ready_weights(self.task.weights, self.networks, self.task.config.data_dir)
            assert path is not None
            load_weights(network.module, path)
        return Model.of(network)

    def features(self, model: Model) -> CopiedFeatures:
        """The points and all candidates, as a network sees them."""
        found = features(model, self.points.images, batch=BATCH), features(model, self.copies, batch=BATCH)
        return CopiedFeatures(found[0], found[1].reshape(len(self.points), self.per_point, -1), self.points.labels)

    def read(self, model: Model) -> Reading:
        """The network's own answers on the test set."""
        whole = Model(model.network, "")
        plain = features(whole, self.test.images, batch=BATCH)
        moved = copy_features(whole, self.test.images, self._pipeline.transform.copies, per_point=self.per_point, batch=BATCH)
        scores = np.concatenate([plain[:, None], moved], axis=1)
        right = scores.argmax(axis=2) == self.test.labels[:, None]
        labels = torch.from_numpy(np.repeat(self.test.labels, scores.shape[1]))
        losses = point_losses(torch.from_numpy(scores.reshape(len(labels), -1)).double(), labels)
        return Reading(float(right.mean()), float(losses.mean()), float(right[:, 0].mean()))


def nested(order: Chosen, budgets: list[int]) -> Iterator[Chosen]:
    """The first copies of an order, as many as each budget says."""
    return (order[:budget] for budget in budgets)
