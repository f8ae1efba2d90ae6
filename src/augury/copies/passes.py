"""Passes over points of which choosing copies is made: what pulls a head, and what each point would do to a target."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from augury.curvature import PointSet
from augury.softmax import collect, local, project, slopes


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
        found.append(-(slopes(along[:, :k], part.labels, basis) * along[:, k:]).sum(1))
    return torch.cat(found)
