"""What influence is a product of: the points that come in and go out, the target's mean gradient, and points along a direction."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from augury.curvature import FittedHead, Points, PointSet
from augury.errors import InputError
from augury.influence.corrected import Terms
from augury.softmax import collect, project

Effect = Literal["add", "remove", "replace"]


def changes(state: FittedHead, effect: Effect, candidates: Points, replaced: Points | None) -> Terms:
    """What comes in (+1) and what goes out (-1), row by row."""
    incoming = state.read(candidates, "candidates")
    if effect in ("add", "remove"):
        if replaced is not None:
            raise InputError(f"replaced: given, and effect is {effect!r}; it belongs to effect='replace'")
        return [(incoming, 1 if effect == "add" else -1)]
    if effect != "replace":
        raise InputError(f"effect: got {effect!r}; expected 'add', 'remove' or 'replace'")
    if replaced is None:
        raise InputError("replaced: missing; effect='replace' needs (X, y) of the training points whose places the candidates take")
    outgoing = state.read(replaced, "replaced")
    if len(outgoing.features) != len(incoming.features):
        raise InputError(f"replaced: {len(outgoing.features)} points for {len(incoming.features)} candidates; give one for each")
    return [(incoming, 1), (outgoing, -1)]


def mean_gradient(state: FittedHead, target: PointSet) -> Float[Tensor, "1 size"]:
    """The gradient of the target's mean loss."""
    g = torch.zeros_like(state.V)
    for part in target.blocks(state.V.shape[1]):
        g += collect(part.weights[:, None] * state.residuals(part), part.features)
    return (g / target.weights.sum()).reshape(1, -1)


def along(state: FittedHead, points: PointSet, s: Float[Tensor, "directions params"]) -> Float[Tensor, " points"]:
    """r^T s f for each point."""
    return torch.cat([(state.residuals(part) * project(part.features, s)).sum(1) for part in points.blocks(state.V.shape[1])])
