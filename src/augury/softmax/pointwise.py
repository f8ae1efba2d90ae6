"""Losses of points at given class scores, with their first and second derivatives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus


def point_losses(scores: Float[Tensor, "points classes"], labels: Int[Tensor, " points"]) -> Float[Tensor, " points"]:
    """-log p[y], in nats, to full relative precision also where p[y] is close to 1."""
    others = (scores - scores.gather(1, labels[:, None])).scatter(1, labels[:, None], -torch.inf)
    rest = torch.logsumexp(others, dim=1)
    return torch.logaddexp(torch.zeros_like(rest), rest)


def residuals(scores: Float[Tensor, "points classes"], labels: Int[Tensor, " points"]) -> Float[Tensor, "points classes"]:
    """Gradient of the loss in the class scores, p - y, to full relative precision also where p[y] is close to 1."""
    return misses(torch.softmax(scores, dim=1), labels)


def misses(p: Float[Tensor, "points classes"], labels: Int[Tensor, " points"]) -> Float[Tensor, "points classes"]:
    """The same of the probabilities."""
    others = p.scatter(1, labels[:, None], 0)
    return others.scatter(1, labels[:, None], -others.sum(dim=1, keepdim=True))


def spreads(
    scores: Float[Tensor, "points classes"], basis: Float[Tensor, "classes directions"]
) -> Float[Tensor, "points directions directions"]:
    """S = B^T (diag(p) - p p^T) B, the loss's Hessian in the class scores, along the contrasts.

    Computed as the covariance of B's rows under p, which is never indefinite and keeps its digits where one class is nearly certain.
    """
    p = torch.softmax(scores, dim=1)
    centred = basis - (p @ basis)[:, None, :]
    return (p[:, :, None] * centred).transpose(1, 2) @ centred


class Local(NamedTuple):
    """Of some points: the losses -log p[y], and r = B^T (p - y), at the scores z along the directions."""

    losses: Float[Tensor, " points"]
    r: Float[Tensor, "points directions"]
    z: Float[Tensor, "points directions"]


def local(
    z: Float[Tensor, "points directions"],
    labels: Int[Tensor, " points"],
    basis: Float[Tensor, "classes directions"],
    away: Float[Tensor, "points 1"] | None = None,
) -> Local:
    """Losses and residuals at the scores z, to full relative precision; with two classes by a short way, from `sides` if at hand."""
    if z.shape[1] > 1:
        return Local(point_losses(z @ basis.T, labels), slopes(z, labels, basis), z)
    away = sides(labels, z) if away is None else away
    margins = away * z
    return Local(softplus(margins, threshold=50)[:, 0], away * torch.sigmoid(margins), z)


def slopes(
    z: Float[Tensor, "points directions"], labels: Int[Tensor, " points"], basis: Float[Tensor, "classes directions"]
) -> Float[Tensor, "points directions"]:
    """The residuals r alone."""
    if z.shape[1] > 1:
        return residuals(z @ basis.T, labels) @ basis
    away = sides(labels, z)
    return away * torch.sigmoid(away * z)


def sides(labels: Int[Tensor, " points"], like: Tensor) -> Float[Tensor, "points 1"]:
    """Of two classes: 1 where a higher score is a higher loss, else -1, in the type of `like`."""
    return 1 - 2 * labels[:, None].to(like)


def spread(
    z: Float[Tensor, "points directions"], basis: Float[Tensor, "classes directions"]
) -> Float[Tensor, "points directions directions"]:
    """S, the loss's Hessian along the directions, at the scores z."""
    if z.shape[1] > 1:
        return spreads(z @ basis.T, basis)
    return (torch.sigmoid(z) * torch.sigmoid(-z))[:, :, None]
