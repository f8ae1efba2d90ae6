"""What a training image is worth to a target: influence through the last layer, as a loss that an augmentation can learn by.

With F's features f = [features, 1], class scores W f and probabilities p, the mean-form Hessian over the training images x is

    H = mean_x (diag(p) - p p^T) (x) f f^T,    s = (n (H + damping trace(H) / classes))^-1 mean_T (p - y) (x) f,

n being the number of training images, and one more image of weight 1 changes the target's mean loss by about

    influence(z -> T) = -(p - y)^T s f

(*Learning to Augment Influential Data*, Eq. 19; DESIGN: negative lowers the loss). s is solved for once, and every image costs two small
products then, differentiable with respect to f and so to the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from augury.errors import InputError
from augury.learned.classifier import Classifier
from augury.softmax import residuals
from augury.solvers import IterativeSolution, conjugate_gradients

TOL = 1e-3  # relative residual of s: its direction changes far less between two solves than F does
ITERATIONS = 100
BLOCK = 1024  # images that go through F at once


class Target(NamedTuple):
    """Labelled images on which the network is to do well."""

    images: Float[Tensor, "points channels height width"]
    labels: Int64[Tensor, " points"]


class Seen(NamedTuple):
    """Images as F's last layer sees them."""

    features: Float[Tensor, "points params"]
    probabilities: Float[Tensor, "points classes"]


def target_direction(
    classifier: Classifier, images: Float[Tensor, "points channels height width"], target: Target, *, damping: float, points: int
) -> tuple[Float[Tensor, "classes params"], IterativeSolution]:
    """s, the target's mean gradient divided by the curvature over `images`, and how well it was solved for.

    Parameters
    ----------
    classifier
        F, in evaluation mode.
    images
        Of whose losses the Hessian is taken: what F is being trained on, or a sample of it. (Their labels play no part in it.)
    target
        Whose mean loss is to fall.
    damping
        Added to the mean-form H's diagonal, as a share of its trace by class: F has not converged while it trains, and H is singular.
    points
        n, the number of training images, by which the mean form becomes a sum.
    """
    with torch.no_grad():
        curved, aim = _seen(classifier, images), _seen(classifier, target.images)
        classes = aim.probabilities.shape[1]
        if int(target.labels.max()) >= classes:
            raise InputError(
                f"target: labels up to {int(target.labels.max())}, and the network tells {classes} classes apart; give it more"
            )
        y = torch.nn.functional.one_hot(target.labels, classes).to(aim.probabilities)
        gradient = (aim.probabilities - y).T @ aim.features / len(y)
        p, f = curved.probabilities, curved.features
        diagonal = (p * (1 - p)).T @ f.square() / len(f)
        ridge = damping * float(diagonal.sum()) / classes

        def product(rows: Tensor) -> Tensor:
            moved = p * (f @ rows.view(gradient.shape).T)
            moved = moved - p * moved.sum(dim=1, keepdim=True)
            return (moved.T @ f / len(f)).reshape(1, -1) + ridge * rows

        solved = conjugate_gradients(product, gradient.reshape(1, -1), (diagonal + ridge).flatten(), tol=TOL, max_iter=ITERATIONS)
    return solved.solution.view(gradient.shape) / points, solved


def effects(
    s: Float[Tensor, "classes params"],
    features: Float[Tensor, "points params"],
    scores: Float[Tensor, "points classes"],
    labels: Int64[Tensor, " points"],
    *,
    bounded: bool,
    aligned: bool = False,
) -> Float[Tensor, " points"]:
    """influence(z -> T) of each image: the predicted change of the target's mean loss; negative: worth training on.

    `bounded`: multiplied by the probability of the image's own label. The linear influence grows without bound as an image is classified
    more wrongly, so that destroyed images would look best; with the factor they are worth nothing.

    `aligned`: divided by the length of the image's own gradient, |p - y| |f|. What counts then is where training on it leads, and not how
    far: harder images lead further, and where any training helps, they would win whatever the target is.
    """
    r = residuals(scores, labels)
    values = -(r * (features @ s.to(features).T)).sum(dim=1)
    if aligned:
        values = values / (r.norm(dim=1) * features.norm(dim=1)).clamp(min=torch.finfo(values.dtype).tiny)
    if not bounded:
        return values
    own: Tensor = torch.softmax(scores, dim=1).gather(1, labels[:, None])[:, 0]
    return values * own


def _seen(classifier: Classifier, images: Tensor) -> Seen:
    parts = [Seen(features, torch.softmax(scores, dim=1)) for features, scores in _blocks(classifier, images)]
    return Seen(*(torch.cat(list(column)) for column in zip(*parts, strict=True)))


def _blocks(classifier: Classifier, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return (classifier(block) for block in torch.split(images, BLOCK))
