"""Whether predictions come true: the effect of augmented images on a target, predicted by influence and measured by refitting."""

from __future__ import annotations

import copy
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from augury.data import Examples
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import influence
from augury.learned.augmentation import Draw, LearnedAugmentation, as_floats
from augury.learned.classifier import Classifier
from augury.model import Model, features
from augury.model.definition import INPUT
from augury.model.reading import modes_kept
from augury.networks import Network
from augury.progress import silenced, track
from augury.softmax import point_losses

Joining = Literal["add", "replace"]
BATCHES = 200
DIRECTIONS = 128  # of the features, at most: each refit factors a matrix of (classes x directions)^2


class Labelled(NamedTuple):
    """Points as a head is fitted to them: float64 features and labels."""

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.int64]


def check_predictions(
    model: nn.Module | Model | Network,
    train: Examples,
    target: Examples,
    augmentation: LearnedAugmentation,
    *,
    effect: Joining = "add",
    batches: int = BATCHES,
    batch: int = 16,
    C: float = 0.01,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> pd.DataFrame:
    """What augmented batches do to the target's mean loss: predicted by influence, and measured by refitting the head with them.

    The network's features are kept, of many the first 128 principal directions over the training points, and its last layer is replaced
    by an exact head (`SoftmaxHead`, float64). A batch are some training
    points, each changed by a draw of its own. Predicted: the sum over its images of influence(z~), or of influence(z~) - influence(z)
    where they replace the originals (*Learning to Augment Influential Data*, Eq. 15 to 19); the head is not refitted for it. Measured:
    the target's mean loss with the head refitted to the changed training set, less that before. Negative: the loss falls.

    Parameters
    ----------
    model
        A fitted network that ends in a linear layer. It is only read.
    train
        What the head is fitted to.
    target
        Points that the network was not fitted to, or every loss is near zero.
    augmentation
        What changes the batches; all of their images, whatever its share.
    effect
        Whether a batch's images `add` to the training points or `replace` those that they were made of.
    batches
        How many are drawn, at least 3.
    batch
        Different points in each.
    C
        Of the head. With a weak penalty and features that separate the classes, a batch moves the head further than its derivative reaches.
    seed
        Of batches and draws.
    device
        Where the network runs.

    Returns
    -------
    pandas.DataFrame
        `predicted` and `measured`, in nats, a row a batch.

    Raises
    ------
    InputError
        If there are too few points or batches, or the images do not fit network and augmentation.

    Notes
    -----
    Cost: a pass of `batches` x `batch` images, a factor of the head's Hessian and `batches` refits from where the head stands.
    """
    _check(len(train), batches, batch)
    found = _model_of(model, train)
    read = _Reader(found, augmentation, device, seed)
    axes = _principal(read.features(train).X)
    fitted, goal = (Labelled(points.X @ axes, points.y) for points in (read.features(train), read.features(target)))
    head = SoftmaxHead(C=C).fit(*fitted)
    chosen = np.stack([np.random.default_rng((seed, number)).permutation(len(train))[:batch] for number in range(batches)])
    made = np.stack([read.changed(train, some, number) @ axes for number, some in enumerate(track(chosen, "checking: augmented batches"))])
    predicted = _predicted(head, fitted, goal, made, chosen, effect)
    before = _loss(head, goal)
    measured = [
        _loss(_refitted(head, fitted, Labelled(X, fitted.y[points]), points if effect == "replace" else None), goal) - before
        for X, points in zip(made, track(chosen, "checking: refits"), strict=True)
    ]
    return pd.DataFrame({"predicted": predicted, "measured": measured})


def _check(points: int, batches: int, batch: int) -> None:
    if batches < 3:
        raise InputError(f"batches: {batches}; expected at least 3, such as {BATCHES}")
    if not 1 <= batch <= points:
        raise InputError(f"batch: {batch} of {points} training points; expected 1 to {points} different ones")


def _model_of(model: nn.Module | Model | Network, train: Examples) -> Model:
    """The network with the input of its last linear layer as features."""
    if isinstance(model, Model):
        return model
    if isinstance(model, Network):
        return Model.of(model)
    with modes_kept(model):
        model.eval()
        tried = torch.from_numpy(train.to_float()[:2]).to(next(model.parameters()))
        return Model(model, Classifier.of(model, tried).layer + INPUT)


def _principal(X: Float[np.ndarray, "points features"]) -> Float[np.ndarray, "features directions"]:
    """Orthonormal directions in which the features vary most; all there are, where these are few."""
    if X.shape[1] <= DIRECTIONS:
        return np.eye(X.shape[1])
    found: npt.NDArray[np.float64] = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:DIRECTIONS].T
    return found


class _Reader(NamedTuple):
    """What turns images, as they are or changed, into features."""

    model: Model
    augmentation: LearnedAugmentation
    device: str | torch.device
    seed: int

    def features(self, points: Examples) -> Labelled:
        return Labelled(self._of(points.images), points.labels)

    def changed(self, points: Examples, chosen: npt.NDArray[np.int64], number: int) -> Float[np.ndarray, "points features"]:
        """Features of the chosen points' images, changed by the draws of this number."""
        entropy = np.random.SeedSequence((self.seed, number)).generate_state(1, np.uint64)
        images = as_floats(torch.tensor(points.images[chosen]))
        with torch.no_grad(), modes_kept(self.augmentation):
            self.augmentation.train()
            drawn = self.augmentation.params(images, generator=torch.Generator().manual_seed(int(entropy[0])))
            changed: Tensor = self.augmentation(images, Draw(drawn.tau, torch.ones_like(drawn.changed)))
        return self._of(changed.clamp(0, 1).numpy())

    def _of(self, images: npt.NDArray[Any]) -> Float[np.ndarray, "points features"]:
        with silenced():
            return features(self.model, images, device=self.device).astype(np.float64)


def _predicted(
    head: SoftmaxHead,
    train: Labelled,
    target: Labelled,
    made: Float[np.ndarray, "batches points features"],
    chosen: npt.NDArray[np.int64],
    effect: Joining,
) -> Float[np.ndarray, " batches"]:
    """The sum over each batch's images."""
    candidates = (made.reshape(-1, made.shape[2]), train.y[chosen.ravel()])
    replaced = (train.X[chosen.ravel()], train.y[chosen.ravel()]) if effect == "replace" else None
    values = np.asarray(influence(head, (train.X, train.y), candidates, (target.X, target.y), effect, replaced=replaced))
    sums: npt.NDArray[np.float64] = values.reshape(chosen.shape).sum(axis=1)
    return sums


def _refitted(head: SoftmaxHead, train: Labelled, joining: Labelled, leaving: npt.NDArray[np.int64] | None) -> SoftmaxHead:
    """The head fitted, from where it stands, to the training points with those that join and without those that leave."""
    X, y = train if leaving is None else (np.delete(part, leaving, axis=0) for part in train)
    again: SoftmaxHead = copy.deepcopy(head).set_params(warm_start=True)
    return again.fit(np.concatenate([X, joining.X]), np.concatenate([y, joining.y]))


def _loss(head: SoftmaxHead, target: Labelled) -> float:
    return float(point_losses(head.scores(torch.from_numpy(target.X)), torch.from_numpy(target.y)).mean())
