"""A setting in which the network is trained from scratch on every augmented set: what the paper does on MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from augury.augmentation import MakesCopies, TrainingSet, augment
from augury.data import Examples
from augury.evaluation import HeldOut
from augury.files import write_atomic
from augury.model import Model, features
from augury.networks import Init, build
from augury.training import TrainingConfig, train

BATCH, LARGEST_BATCH = 64, 512


@dataclass(frozen=True)
class RetrainedFeatures:
    """Points whose features change with what is augmented, since the network is trained on it, every image with weight 1.

    Parameters
    ----------
    points
        The training points.
    test
        What accuracy is measured on, copies included.
    transform
        Makes the copies.
    network, init
        The network, whose first weights are always the same.
    epochs
        Of each training.
    seed
        Of the order of the images in training.
    features
        Of the points, by the network trained without augmentation.
    memory
        Folder in which the features after full augmentation are kept, to which every policy comes.
    """

    points: Examples
    test: Examples
    transform: MakesCopies
    network: str
    init: Init
    epochs: int
    seed: int
    features: Float32[np.ndarray, "points features"]
    memory: Path

    def __len__(self) -> int:
        return len(self.points)

    def at(self, chosen: npt.NDArray[np.int64], *, downweight: bool) -> tuple[TrainingSet, HeldOut]:
        """Originals and the chosen points' copies, and the test set, by a network trained on just these images."""
        X, copies, test = self._features(np.sort(chosen))
        k = copies.shape[1]
        taken = copies[np.argsort(np.argsort(chosen))].reshape(-1, copies.shape[2])
        weights = np.ones(len(X) + len(taken))
        if downweight:
            weights[chosen] = weights[len(X) :] = 1 / (k + 1)
        labels = np.concatenate([self.points.labels, np.repeat(self.points.labels[chosen], k)])
        return TrainingSet(np.concatenate([X, taken]).astype(np.float64), labels, weights), HeldOut.of(test, self.test.labels)

    def _features(self, chosen: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """Of the points, of the chosen ones' copies, and of the test images; `chosen` rising."""
        path = self.memory / f"full.{self.seed}.npz"
        if len(chosen) == len(self.points) and path.exists():
            with np.load(path) as kept:
                return kept["X"], kept["copies"], kept["test"]
        made = self._computed(chosen)
        if len(chosen) == len(self.points):
            write_atomic(path, lambda stream: np.savez(stream, X=made[0], copies=made[1], test=made[2]))
        return made

    def _computed(self, chosen: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        copies = augment(self.points, chosen, self.transform)
        images, labels = np.concatenate([self.points.images, copies.images]), np.concatenate([self.points.labels, copies.labels])
        model = self.trained(images, labels)
        rows, test = (features(model, part, batch=BATCH) for part in (images, self.test.images))
        n = len(self.points)
        return rows[:n], rows[n:].reshape(len(chosen), -1, rows.shape[1]), test

    def trained(self, images: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Model:
        """The network, trained from its first weights on these images."""
        channels, height, width = images.shape[1:]
        shape = {"channels": channels, "height": height, "width": width}
        network = build(self.network, **shape, classes=len(self.points.classes), seed=0, init=self.init)
        batch = min(LARGEST_BATCH, -(-len(images) // 2))
        train(network.module, images, labels, config=TrainingConfig(epochs=self.epochs, batch=batch, seed=self.seed))
        return Model.of(network)
