"""Whose loss is to fall: labelled points, weighted by class or for the worst group, or the training points and their copies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from augury.arrays import ArrayLike, as_features, as_labels, as_numpy, as_tensor
from augury.copies.pool import as_groups
from augury.curvature import PointSet
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.softmax import collect, contrast, local, point_losses, project

WeightedPoints = tuple[ArrayLike, ArrayLike, ArrayLike]


class Reading(NamedTuple):
    """The target under one head: mean loss in nats, share of points whose label has the highest score, and the mean loss's gradient."""

    loss: float
    accuracy: float
    gradient: Float[Tensor, "directions params"]


@dataclass(frozen=True)
class Target:
    """The points whose weighted mean loss counts, as one or more sets one after the other (no set is copied to join them).

    Sets that a generator gives can be read once.
    """

    sets: Iterable[PointSet]

    def read(self, V: Float[Tensor, "directions params"]) -> Reading:
        """Evaluate at the parameters V, in one pass."""
        basis = contrast(len(V) + 1, V)
        loss = accuracy = total = torch.zeros_like(V[0, 0])
        gradient = torch.zeros_like(V)
        for points in self.sets:
            for part in points.blocks(V.shape[1]):
                found = local(project(part.features, V), part.labels, basis)
                loss = loss + part.weights @ found.losses
                accuracy = accuracy + part.weights @ right(found.z, part.labels, basis)
                gradient += collect(part.weights[:, None] * found.r, part.features)
                total = total + part.weights.sum()
        return Reading(float(loss / total), float(accuracy / total), gradient / total)


def right(
    z: Float[Tensor, "points directions"], labels: Int[Tensor, " points"], basis: Float[Tensor, "classes directions"]
) -> Float[Tensor, " points"]:
    """1 where the label's score is the highest, else 0."""
    highest = (z @ basis.T).argmax(dim=1) if z.shape[1] > 1 else (z[:, 0] > 0).to(labels)
    return (highest == labels).to(z)


def class_weighted(X: ArrayLike, y: ArrayLike, weights: Mapping[Any, float | int] | None = None) -> WeightedPoints:
    """A target in which each class counts for the same, or for its share of `weights` (by label), however many points it has.

    Returns
    -------
    (X, y, weight)
        For `augury.choose_copies` or `augury.influence`; the weights sum to the number of points.
    """
    labels = as_labels(y, len(as_features(X, "X")), "y")
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    names = classes.tolist()
    if weights is not None and (set(weights) != set(names) or min(weights.values()) < 0 or max(weights.values()) == 0):
        raise InputError(f"weights: expected one number for each of the classes {names}, not negative, and one of them positive")
    share = np.array([1.0 if weights is None else weights[name] for name in names])
    return X, y, (share / share.sum() * len(labels) / counts)[codes]


def worst_group(
    head: SoftmaxHead,
    X: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    temperature: float | int = 0.0,  # noqa: PYI041  (checked at run time, where 1 is no float)
) -> WeightedPoints:
    """A target in which the group counts most on which the head now does worst.

    Group g has the total weight exp(loss_g / temperature) / sum_h exp(loss_h / temperature), loss_g being its mean loss in nats: the update
    of distributionally robust optimisation (Sagawa et al. 2020), here done once. Choose anew after retraining, since another group may then
    be the worst.

    Parameters
    ----------
    head
        A fitted head.
    X, y
        The target's points.
    groups
        (points,) each point's group, of any kind; None: the classes.
    temperature
        In nats; 0: the worst group alone.

    Returns
    -------
    (X, y, weight)
        The weights sum to the number of points.
    """
    features = as_features(X, "X")
    labels = as_labels(y, len(features), "y")
    codes = as_groups(labels if groups is None else groups, len(labels))
    if not 0 <= temperature < np.inf:
        raise InputError(f"temperature: got {temperature}; expected a finite number of nats, 0 for the worst group alone")
    known = np.searchsorted(head.classes_, labels).clip(max=len(head.classes_) - 1)
    if not (head.classes_[known] == labels).all():
        raise InputError("y: a label is none of the head's classes; fit the head to points of every class")
    losses = as_numpy(point_losses(head.scores(features), torch.as_tensor(known, device=features.device)))
    counts = np.bincount(codes)
    above = np.bincount(codes, losses) / counts
    above -= above.max()
    share = np.exp(above / temperature) if temperature > 0 else (above == 0).astype(np.float64)
    weight = as_tensor((share / share.sum() * len(labels) / counts)[codes], "weight")
    return X, y, weight.numpy()
