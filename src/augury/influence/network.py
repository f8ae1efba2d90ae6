"""Influence through any parameters of any differentiable network, by mini-batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augury.arrays import ArrayLike, returned_like
from augury.curvature.labelled import LabelledSet, PointLosses
from augury.curvature.network import Kind
from augury.curvature.network_solvers import ConjugateGradients, Convergence, Exact, Lissa, Solver
from augury.curvature.points import Points
from augury.curvature.undisturbed import check_scoring, network_curvature, undisturbed
from augury.errors import InputError
from augury.model import resolve_device

SOLVERS: dict[str, Solver] = {"cg": ConjugateGradients(), "lissa": Lissa(), "exact": Exact()}


@dataclass(frozen=True)
class NetworkInfluence:
    """Influences through a network, and how far the solve behind them got.

    Parameters
    ----------
    values
        (candidates,) change of the target set's mean loss; negative: adding the candidate lowers it.
    report
        Solver, iterations, relative residual over the whole training set, and whether that is within the tolerance.
    error
        (candidates,) for `lissa`, the standard error of `values` by the spread of its repeats (the draws' part; not what too small a
        depth leaves out); None for the other solvers.
    """

    values: ArrayLike
    report: Convergence
    error: ArrayLike | None = None


def network_influence(
    network: nn.Module,
    train: Points,
    candidates: Points,
    target: Points,
    *,
    damping: float,
    curvature: Kind = "gauss-newton",
    penalty: float | Mapping[str, float] = 0.0,
    solver: Literal["cg", "lissa", "exact"] | Solver = "cg",
    loss: PointLosses | None = None,
    parameters: Sequence[str] | None = None,
    batch: int = 256,
    device: str | torch.device = "auto",
) -> NetworkInfluence:
    """Predicted change of the target set's mean loss per unit of weight on each candidate, through a network's own parameters.

    The sign and scale of `augury.influence`: -(mean_T g)^T H^-1 g(z), **negative if adding z lowers the target loss**, with H in sum form
    over the training set. For the last layer alone `augury.influence` on the features is exact, has no damping to choose, and costs one
    factorisation: take it first. Take this where the features themselves would move, to see what that changes, or where there is no
    softmax at the end. The network is only read, in evaluation mode.

    Parameters
    ----------
    network
        Any module that takes the inputs in one argument. Best fitted to `train` until the loss no longer falls.
    train
        (X, y) or (X, y, weight): inputs (points, ...), labels and weights of the training set. uint8 inputs are scaled to [0, 1].
    candidates
        (X, y) or (X, y, weight): the weight with which each would come in, 1 if left out.
    target
        (X, y) or (X, y, weight): whose (weighted) mean loss is to change.
    damping
        Added to H's diagonal, in sum form: a share of about 1e-3 to 1e-1 of the largest curvature is common for deep networks, whose H
        is singular. It shrinks the influence along flat directions; no theory gives its value, so report it. 0 where `penalty` alone
        makes H positive definite.
    curvature
        `gauss-newton`, never indefinite with a convex loss; `hessian`, the exact one, where the network is at a minimum.
    penalty
        L2 strength in sum form: an optimizer's weight decay x the sum of the training weights. One number for all chosen parameters, or
        by parameter's name (0 for those not named), as where biases do not decay.
    solver
        `cg`; `lissa` where a pass over all training points is too long; `exact` for small networks: or `ConjugateGradients(...)`,
        `Lissa(...)`, `Exact()` with their settings.
    loss
        From the network's outputs and the labels of some points to one loss a point. None: cross-entropy of class scores, in nats.
    parameters
        Names of parameters, or of modules that hold them. None: all that require a gradient.
    batch
        How many points go through the network at once: a matter of memory, of the result only as far as rounding goes.
    device
        `auto`, `cpu`, `cuda`; a copy of the network is used if it lies elsewhere.

    Returns
    -------
    NetworkInfluence
        `.values` (candidates,), torch if the candidates' inputs were, else numpy; `.report`; `.error`.

    Raises
    ------
    InputError
        If the losses are not the same in two passes or depend on the batch, if H has negative curvature, if the stochastic estimation
        diverges, or an argument makes no sense. A solve that stops short is a `ConvergenceWarning`, and stands in the report.

    Notes
    -----
    A product with H costs about four forward and backward passes over the training set; `cg` needs one an iteration, `exact` one a
    parameter, `lissa` repeats x depth x samples / points. The candidates cost two forward passes. In float32 about five digits of H s
    can be had.
    """
    if isinstance(solver, str) and solver not in SOLVERS:
        raise InputError(f"solver: got {solver!r}; expected 'cg', 'lissa', 'exact', or one of them with settings, as Lissa(depth=5000)")
    method = SOLVERS[solver] if isinstance(solver, str) else solver
    sets = {"train": train, "candidates": candidates, "target": target}
    points, incoming, goal = (LabelledSet.of(given, name) for name, given in sets.items())
    with undisturbed(network, resolve_device(device)) as read:
        H = network_curvature(read, points, loss=loss, kind=curvature, penalty=penalty, damping=damping, parameters=parameters, batch=batch)
        for name, given in (("candidates", incoming), ("target", goal)):
            check_scoring(H, given, name)
        solved = method.solve(H, H.mean_gradient(goal))
        along = torch.stack([H.along(incoming, row) for row in solved.rows])
    values = -incoming.weights.to(along) * along
    return NetworkInfluence(returned_like(values.mean(0), candidates[0]), solved.report, _standard_error(values, candidates[0]))


def _standard_error(values: Float[Tensor, "repeats candidates"], like: ArrayLike) -> ArrayLike | None:
    if len(values) == 1:
        return None
    return returned_like(values.std(0) / math.sqrt(len(values)), like)
