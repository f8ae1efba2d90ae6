"""What one pass over points gives: losses, residuals and spreads along the class directions, each from the points' scores along them.

The quantities of `augury.softmax`, with a short way for two classes, since choosing copies is made of many such passes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from augury.curvature import PointSet
from augury.softmax import collect, point_losses, project, residuals, spreads


class Local(NamedTuple):
    """Per point: the loss -log p[y], r = B^T (p - y), and the scores z along the directions from which they come."""

    losses: Float[Tensor, " points"]
    r: Float[Tensor, "points directions"]
    z: Float[Tensor, "points directions"]


def local(z: Float[Tensor, "points directions"], labels: Int[Tensor, " points"], basis: Float[Tensor, "classes directions"]) -> Local:
    """Losses and residuals at the scores z, to full relative precision."""
    if z.shape[1] > 1:
        scores = z @ basis.T
        return Local(point_losses(scores, labels), residuals(scores, labels) @ basis, z)
    away = 1 - 2 * labels[:, None].to(z)
    return Local(softplus(away * z, threshold=50)[:, 0], away * torch.sigmoid(away * z), z)


def spread(
    z: Float[Tensor, "points directions"], basis: Float[Tensor, "classes directions"]
) -> Float[Tensor, "points directions directions"]:
    """S, the loss's Hessian along the directions."""
    if z.shape[1] > 1:
        return spreads(z @ basis.T, basis)
    return (torch.sigmoid(z) * torch.sigmoid(-z))[:, :, None]


def pull(
    points: PointSet, V: Float[Tensor, "directions params"], basis: Float[Tensor, "classes directions"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "directions params"]]:
    """Weighted sum of the losses, and its gradient."""
    value, gradient = V.new_zeros(()), torch.zeros_like(V)
    for part in points.blocks(V.shape[1]):
        found = local(project(part.features, V), part.labels, basis)
        value = value + part.weights @ found.losses
        gradient += collect(part.weights[:, None] * found.r, part.features)
    return value, gradient


def influences(
    points: PointSet,
    V: Float[Tensor, "directions params"],
    s: Float[Tensor, "directions params"],
    basis: Float[Tensor, "classes directions"],
) -> Float[Tensor, " points"]:
    """-r^T s f for each point at the parameters V: see `augury.influence`."""
    k, both = len(V), torch.cat([V, s])
    found = []
    for part in points.blocks(V.shape[1]):
        along = project(part.features, both)
        found.append(-(local(along[:, :k], part.labels, basis).r * along[:, k:]).sum(1))
    return torch.cat(found)
