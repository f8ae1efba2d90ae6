"""What each point would do to a target."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from augury.curvature import PointSet
from augury.softmax import project, slopes


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
