"""Scores of every point and of its copies under a head that has seen neither: cross-fitting with a fold for each point, in closed form.

Leaving out point i, with its copies that have joined, moves the parameters by (H - U Sigma U^T)^-1 U r in one Newton step, where U holds
the f of the point and its copies along the class directions, Sigma their weights times S, and r their weights times their residuals. With
M = U^T H^-1 U, Woodbury's identity gives the change of their own class scores as M (I - Sigma M)^-1 r: the approximate leave-one-out of
Pregibon (1981) and Rad and Maleki (2020), for groups. The other points' part in the fit stays, so that no fold is drawn.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augury.copies.growing import GrowingFit
from augury.copies.pool import CopyPool
from augury.curvature import ExactCurvature
from augury.errors import InputError
from augury.softmax import blocks_of, spread


def left_out(fit: GrowingFit, pool: CopyPool) -> Float[Tensor, "rows directions"]:
    """What leaving out each row's own point and copies adds to the row's scores along the class directions.

    Parameters
    ----------
    fit
        The head with its curvature, and what has joined with its weight.
    pool
        The candidates: with the training points before them, the rows.

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
    moved = fit.V.new_zeros(pool.sources + len(pool), k)
    inverse: Tensor = torch.linalg.solve_triangular(curvature.factor, torch.eye(k * p).to(moved), upper=False)
    for group in pool.groups():
        for block in blocks_of(len(group), group.shape[1] * k * k * p):
            rows = torch.as_tensor(group[block])
            moved[rows] = _moves(fit, inverse, rows)
    return moved


def _moves(fit: GrowingFit, inverse: Float[Tensor, "size size"], rows: Int[Tensor, "points g"]) -> Float[Tensor, "points g directions"]:
    """For each row of some points, one point after the other; `inverse`: that of the Hessian's factor."""
    found, (n, g), (k, p) = fit.at(rows.flatten()), rows.shape, fit.V.shape
    columns = found.f[:, None, None, :] * torch.eye(k).to(found.f)[None, :, :, None]
    whitened = (columns.reshape(-1, k * p) @ inverse.T.to(found.f)).reshape(n, g * k, k * p)
    M = (whitened @ whitened.transpose(1, 2)).to(inverse)
    S = (found.weights[:, None, None] * spread(found.z, fit.basis.to(found.z))).to(inverse)
    r = (found.weights[:, None] * found.r).to(inverse).reshape(n, g * k, 1)
    weighted = (S.reshape(n, g, k, k) @ M.reshape(n, g, k, g * k)).reshape(n, g * k, g * k)
    moves: Tensor = M @ torch.linalg.solve(torch.eye(g * k).to(M) - weighted, r)
    return moves.reshape(n, g, k)
