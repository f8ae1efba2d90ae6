"""Scores of every point and of its copies under a head that has seen neither: cross-fitting with a fold for each point, in closed form.

Leaving out point i, with its copies that have joined, moves the parameters by (H - U Sigma U^T)^-1 U r in one Newton step, where U holds
the f of the point and its copies along the class directions, Sigma their weights times S, and r their weights times their residuals. With
M = U^T H^-1 U, Woodbury's identity gives the change of their own class scores as M (I - Sigma M)^-1 r: the approximate leave-one-out of
Pregibon (1981) and Rad and Maleki (2020), for groups. The other points' part in the fit stays, so that no fold is drawn.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from augury.copies.growing import GrowingFit
from augury.copies.pool import CopyPool
from augury.curvature import ExactCurvature, PointSet
from augury.errors import InputError
from augury.softmax import blocks_of, design, project, slopes, spread


def left_out(fit: GrowingFit, originals: PointSet, pool: CopyPool, joined: Float[Tensor, " copies"]) -> Float[Tensor, "rows directions"]:
    """What leaving out each row's own point and copies adds to the row's scores along the class directions.

    Parameters
    ----------
    fit
        The head with its curvature.
    originals, pool
        All training points and all candidates: the rows, in this order.
    joined
        (copies,) the weight with which each candidate is in the training set, 0 if it is not.

    Raises
    ------
    InputError
        If the head has too many parameters for a factor.

    Notes
    -----
    With N rows, q directions and P = q (d + 1) parameters: N q P^2 operations, and N q^2 g (P + q g) for points of g rows; blockwise.
    """
    curvature = fit.curvature
    if not isinstance(curvature, ExactCurvature):
        raise InputError("target: 'folds' needs the factor of the Hessian, and the head has too many parameters; use another target")
    k, p = fit.V.shape
    moved = fit.V.new_zeros(len(originals.labels) + len(pool), k)
    for group in pool.groups():
        for block in blocks_of(len(group), group.shape[1] * k * k * p):
            rows = torch.as_tensor(group[block])
            members = _gathered(originals, pool, joined, rows)
            moved[rows] = _moves(fit, curvature, members).reshape(*rows.shape, -1)
    return moved


def _gathered(originals: PointSet, pool: CopyPool, joined: Tensor, rows: Tensor) -> tuple[PointSet, int]:
    """The rows of some points, one point after the other, weighted as in the training set; and how many rows a point has."""
    first, own = rows[:, 0], rows[:, 1:] - len(originals.labels)
    sets = [(originals.features, pool.points.features), (originals.labels, pool.points.labels), (originals.weights, joined)]
    features, labels, weights = (torch.cat([a[first, None], b[own]], dim=1).flatten(0, 1) for a, b in sets)
    return PointSet(features if originals.shift is None else features - originals.shift, labels, weights), rows.shape[1]


def _moves(fit: GrowingFit, curvature: ExactCurvature, gathered: tuple[PointSet, int]) -> Float[Tensor, "rows directions"]:
    points, g = gathered
    k, p = fit.V.shape
    f, z = design(points.features), project(points.features, fit.V)
    eye = torch.eye(k).to(f)
    columns = (f[:, None, None, :] * eye[None, :, :, None]).reshape(-1, k * p)
    whitened = torch.linalg.solve_triangular(curvature.factor, columns.T, upper=False).T.reshape(-1, g * k, k * p)
    M = whitened @ whitened.transpose(1, 2)
    S = points.weights[:, None, None] * spread(z, fit.basis)
    r = (points.weights[:, None] * slopes(z, points.labels, fit.basis)).reshape(-1, g * k, 1)
    weighted = (S.reshape(-1, g, k, k) @ M.reshape(-1, g, k, g * k)).reshape(-1, g * k, g * k)
    x = torch.linalg.solve(torch.eye(g * k).to(f) - weighted, r)
    moves: Float[Tensor, "rows directions"] = (M @ x).reshape(-1, k)
    return moves
