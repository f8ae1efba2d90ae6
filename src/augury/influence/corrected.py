"""One exact Newton step of the head on the changed training set, in closed form for each candidate: see `augury.influence.head`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from augury.curvature import FittedHead, PointSet
from augury.errors import InputError
from augury.softmax import HALVED, HalfForms, SoftmaxProblem, design, point_losses, spreads

Terms = Sequence[tuple[PointSet, int]]  # what comes in (+1) and what goes out (-1), row by row


def own_matrices(state: FittedHead, points: PointSet, forms: HalfForms | None) -> Float[Tensor, "points directions directions"]:
    """M = U^T H^-1 U for each point, where U holds the point's f along each class direction."""
    f = design(points.features)
    return _local([f], state.inverse()) if forms is None else forms.matrices(forms.of(f))


def own_forms(state: FittedHead) -> HalfForms | None:
    """For `own_matrices` of many points: H^-1 by halves, where that is quicker."""
    return HalfForms(state.inverse(), state.problem.basis) if len(state.V) >= HALVED else None


def _local(designs: Sequence[Tensor], inverse: Float[Tensor, "directions params directions params"]) -> Float[Tensor, "points terms terms"]:
    """M = U^T H^-1 U for each row, where U holds the row's f of each of `designs` along each class direction."""
    k, p = inverse.shape[:2]
    columns = []
    for right in designs:
        for b in range(k):
            solved = (right @ inverse[b].reshape(p, k * p)).reshape(-1, k, p)
            columns.append(torch.cat([torch.einsum("nap,np->na", solved, left) for left in designs], dim=1))
    return torch.stack(columns, dim=2)


def corrected(state: FittedHead, terms: Terms, s: Float[Tensor, "directions params"], target: PointSet) -> Float[Tensor, " points"]:
    """Change of the target's mean loss along each row's Newton step, to second order."""
    inverse = state.inverse()
    size = state.V.numel()
    share = target.weights / target.weights.sum()
    goal = SoftmaxProblem(target.features, target.labels, share, state.problem.classes, penalty=0.0, shift=target.shift)
    mean = goal.hessian(state.V)
    bend = (inverse.reshape(size, size) @ mean @ inverse.reshape(size, size)).reshape(inverse.shape)
    rows = zip(*(points.blocks(size * len(terms)) for points, _ in terms), strict=True)
    signs = [sign for _, sign in terms]
    return torch.cat([_newton_effect(state, list(zip(parts, signs, strict=True)), s, inverse, bend) for parts in rows])


def _newton_effect(state: FittedHead, terms: Terms, s: Tensor, inverse: Tensor, bend: Tensor) -> Float[Tensor, " points"]:
    """-u^T x + x^T N x / 2 for each row, with u = s f, x = (I + Sigma M)^-1 r, and N as M with H^-1 (mean_T Hessian) H^-1."""
    designs = [design(points.features) for points, _ in terms]
    M = _local(designs, inverse)
    signed = [sign * points.weights for points, sign in terms]
    u = torch.cat([f @ s.T for f in designs], dim=1)
    r = torch.cat([w[:, None] * state.residuals(points) for w, (points, _) in zip(signed, terms, strict=True)], dim=1)
    S = [w[:, None, None] * spreads(state.scores(points), state.problem.basis) for w, (points, _) in zip(signed, terms, strict=True)]
    k = state.V.shape[0]
    changed = torch.cat([S[j] @ M[:, j * k : (j + 1) * k] for j in range(len(terms))], dim=1)
    if terms[-1][1] < 0 and bool((torch.linalg.eigvals(changed).real <= -1).any()):
        raise InputError("candidates: removing a point with more weight than it has in the training set; give its weight there")
    x: Tensor = torch.linalg.solve(torch.eye(changed.shape[1]).to(changed) + changed, r)
    return -(u * x).sum(1) + torch.einsum("na,nab,nb->n", x, _local(designs, bend), x) / 2


def self_corrected(state: FittedHead, points: PointSet, forms: HalfForms | None) -> Float[Tensor, " points"]:
    """Minus the rise of each point's loss after one Newton step without the point: its scores move by w A (I - w S A)^-1 r."""
    A = own_matrices(state, points, forms)
    scores = state.scores(points)
    S = points.weights[:, None, None] * spreads(scores, state.problem.basis)
    r = torch.linalg.solve(torch.eye(len(state.V)).to(A) - S @ A, points.weights[:, None] * state.residuals(points))
    moved = scores + torch.einsum("nab,nb->na", A, r) @ state.problem.basis.T
    return point_losses(scores, points.labels) - point_losses(moved, points.labels)
