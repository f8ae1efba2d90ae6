"""What adding, removing, replacing or augmenting a point does to the loss on a target set, without retraining.

The sign, stated here once: up-weighting a training point z by eps moves the head's parameters by -H^-1 g(z) eps, so that

    influence(z -> T) = d mean_T l / d eps = -(mean_T g)^T H^-1 g(z).

**Positive: adding z raises the mean loss on T. Negative: adding z lowers it**, so that z helps. Losses are in nats, weights in points (H is
the sum-form Hessian; the papers' mean form is n times as large).

With s = H^-1 mean_T g as a matrix, g(z) = r (x) f gives influence = -r^T s f: two small products a point (paper 1, section 3.4).
Effects on the loss: add z, +influence(z); remove z, -influence(z); replace z by z', influence(z') - influence(z) (paper 1, Eq. 15-19).

`correction="leverage"` takes the change of the Hessian by the very points in question into account, exactly: one Newton step of the head on
the changed training set. With M = U^T H^-1 U, where U holds the points' f along the class directions, and Sigma their signed weights times
S, Woodbury's identity turns r into (I + Sigma M)^-1 r. For one removed point and two classes this is the factor 1 / (1 - leverage).
The target loss is then followed to second order along that step, since a step that is not small leaves its slope behind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from augury.arrays import ArrayLike, returned_like
from augury.curvature import FittedHead, Points, PointSet, Solver
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.softmax import SoftmaxProblem, collect, design, point_losses, project, spreads

Effect = Literal["add", "remove", "replace"]
Correction = Literal["leverage"] | None


def influence(
    head: SoftmaxHead,
    train: Points,
    candidates: Points,
    target: Points,
    effect: Effect = "add",
    *,
    replaced: Points | None = None,
    correction: Correction = None,
    solver: Solver = "auto",
) -> ArrayLike:
    """Predicted change of the target set's mean loss if each candidate, alone, is added, removed or put in another's place.

    Negative: the target loss falls, so the change helps. See the module's text for the formula and its sources.

    Parameters
    ----------
    head
        A head fitted to `train`.
    train
        (X, y) or (X, y, sample_weight): what the head was fitted to.
    candidates
        (X, y) or (X, y, weight): (candidates, features) and labels; the weight with which each comes in or goes out, 1 if left out.
    target
        (X, y) or (X, y, weight): whose (weighted) mean loss, in nats, is to change.
    effect
        `add` each candidate; `remove` each, which must then be among the training points; `replace` each of `replaced` by the candidate
        in the same row.
    replaced
        For `replace`: (X, y) of the training points whose places the candidates take.
    correction
        None: the derivative at weight 0 times the weight. `leverage`: one exact Newton step on the changed set, closer for points with
        much leverage; it needs the inverse Hessian.
    solver
        `exact` (Cholesky), `cg` (conjugate gradients) or `auto`.

    Returns
    -------
    (candidates,) float64, in nats; torch if the candidates' features were, else numpy.

    Notes
    -----
    With n training points, m candidates, k = C - 1 and p = d + 1: n k C p^2 operations for the Hessian, (k p)^3 / 3 for its factor, 2 m k p
    for all candidates; with the correction 4 m (k p)^2 and a second Hessian more. Memory: one block of points and (k p)^2.
    """
    state = FittedHead.of(head, train, solver)
    terms = _terms(state, effect, candidates, replaced)
    goal = state.read(target, "target")
    s = state.curvature.solve(_mean_gradient(state, goal)).reshape(state.V.shape)
    if _checked_correction(correction):
        values = _corrected(state, terms, s, goal)
    else:
        values = -sum((points.weights * sign * _along(state, points, s) for points, sign in terms), start=s.new_zeros(()))
    return returned_like(values, candidates[0])


def self_influence(
    head: SoftmaxHead, train: Points, correction: Correction = None, *, solver: Solver = "auto", penalty: float | None = None
) -> ArrayLike:
    """Change of each training point's own loss per unit of its own weight: -g^T H^-1 g, never positive (paper 2, Eq. 1).

    The magnitude is the leave-one-out influence by which paper 2 scores points: how much the model would lose on the point without it.
    For two classes it is (exp(loss) - 1) x leverage.

    Parameters
    ----------
    head, train, solver
        As in `influence`.
    correction
        None: the derivative. `leverage`: minus the rise of the point's own loss that refitting without the point (with its whole weight)
        brings, predicted by one exact Newton step.
    penalty
        The L2 strength lam in H. None: the objective's own, 1 / C, so that the result is the derivative it says. A number: another one,
        as 2e-10 in paper 2's own code, which fits with a penalty and leaves it out of H. Then the magnitude is (exp(loss) - 1) x leverage
        without shrinkage; it tells loss from leverage, and is no longer a derivative of the head that was fitted.

    Returns
    -------
    (points,) float64, in nats; torch if the training features were, else numpy.

    Notes
    -----
    n (k p)^2 operations after the factor, 2 n (k p)^2 with the correction; blockwise, so that no n x n or n x k p matrix is formed. With
    more features than points, p is the number of points + 1 (the dual form): the rest of the features' space matters to none of them.
    """
    if penalty is not None:
        _check_penalty(penalty, correction)
    state = FittedHead.of(head, train, solver, spanned=True)
    if penalty is not None:
        state = state.with_penalty(penalty, solver)
    if not _checked_correction(correction):
        return returned_like(own_influence(state, state.points), train[0])
    inverse = state.inverse()
    parts = [_self_corrected(state, part, inverse) for part in state.points.blocks(state.V.numel())]
    return returned_like(torch.cat(parts), train[0])


def own_influence(state: FittedHead, points: PointSet) -> Float[Tensor, " points"]:
    """-g^T H^-1 g of some of the points that a head was fitted to: what `self_influence` gives without a correction."""
    return torch.cat([-state.curvature.quadratic(_gradients(state, part)) for part in points.blocks(state.V.numel())])


def leverage(head: SoftmaxHead, train: Points) -> ArrayLike:
    """How far each training point determines its own fit: the trace of w S f^T H^-1 f, in [0, C - 1).

    The leverages sum to the effective number of parameters. Near 1 in any direction, the plain influence of the point is far too small, and
    `correction="leverage"` should be used. Cost: as `self_influence` with the correction.
    """
    state = FittedHead.of(head, train, "exact", spanned=True)
    inverse = state.inverse()
    parts = []
    for part in state.points.blocks(state.V.numel()):
        A = _local([design(part.features)], inverse)
        S = spreads(state.scores(part), state.problem.basis)
        parts.append(part.weights * torch.einsum("nab,nba->n", S, A))
    return returned_like(torch.cat(parts), train[0])


def _checked_correction(correction: Correction) -> bool:
    if correction not in (None, "leverage"):
        raise InputError(f"correction: got {correction!r}; expected None or 'leverage'")
    return correction is not None


def _check_penalty(penalty: float, correction: Correction) -> None:
    if not 0 <= penalty < math.inf:
        raise InputError(f"penalty: got {penalty}; expected a number that is not negative, such as 2e-10, or None for the head's own 1 / C")
    if correction is not None:
        raise InputError("penalty: the correction predicts refits with the head's own penalty; leave out penalty, or correction")


def _terms(state: FittedHead, effect: Effect, candidates: Points, replaced: Points | None) -> list[tuple[PointSet, int]]:
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


def _mean_gradient(state: FittedHead, target: PointSet) -> Float[Tensor, "1 size"]:
    g = torch.zeros_like(state.V)
    for part in target.blocks(state.V.shape[1]):
        g += collect(part.weights[:, None] * state.residuals(part), part.features)
    return (g / target.weights.sum()).reshape(1, -1)


def _along(state: FittedHead, points: PointSet, s: Float[Tensor, "directions params"]) -> Float[Tensor, " points"]:
    """r^T s f for each point."""
    return torch.cat([(state.residuals(part) * project(part.features, s)).sum(1) for part in points.blocks(state.V.shape[1])])


def _gradients(state: FittedHead, points: PointSet) -> Float[Tensor, "points size"]:
    """Each point's gradient g = r (x) f."""
    return (state.residuals(points)[:, :, None] * design(points.features)[:, None, :]).flatten(1)


def _local(designs: Sequence[Tensor], inverse: Float[Tensor, "directions params directions params"]) -> Float[Tensor, "points terms terms"]:
    """M = U^T H^-1 U for each row, where U holds the row's f of each of `designs` along each class direction."""
    k, p = inverse.shape[:2]
    columns = []
    for right in designs:
        for b in range(k):
            solved = (right @ inverse[b].reshape(p, k * p)).reshape(-1, k, p)
            columns.append(torch.cat([torch.einsum("nap,np->na", solved, left) for left in designs], dim=1))
    return torch.stack(columns, dim=2)


def _corrected(
    state: FittedHead, terms: Sequence[tuple[PointSet, int]], s: Float[Tensor, "directions params"], target: PointSet
) -> Float[Tensor, " points"]:
    inverse = state.inverse()
    size = state.V.numel()
    share = target.weights / target.weights.sum()
    goal = SoftmaxProblem(target.features, target.labels, share, state.problem.classes, penalty=0.0, shift=target.shift)
    mean = goal.hessian(state.V)
    bend = (inverse.reshape(size, size) @ mean @ inverse.reshape(size, size)).reshape(inverse.shape)
    rows = zip(*(points.blocks(size * len(terms)) for points, _ in terms), strict=True)
    signs = [sign for _, sign in terms]
    return torch.cat([_newton_effect(state, list(zip(parts, signs, strict=True)), s, inverse, bend) for parts in rows])


def _newton_effect(
    state: FittedHead, terms: Sequence[tuple[PointSet, int]], s: Tensor, inverse: Tensor, bend: Tensor
) -> Float[Tensor, " points"]:
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


def _self_corrected(state: FittedHead, points: PointSet, inverse: Tensor) -> Float[Tensor, " points"]:
    """Minus the rise of each point's loss after one Newton step without the point: its scores move by w A (I - w S A)^-1 r."""
    A = _local([design(points.features)], inverse)
    scores = state.scores(points)
    S = points.weights[:, None, None] * spreads(scores, state.problem.basis)
    r = torch.linalg.solve(torch.eye(len(state.V)).to(A) - S @ A, points.weights[:, None] * state.residuals(points))
    moved = scores + torch.einsum("nab,nb->na", A, r) @ state.problem.basis.T
    return point_losses(scores, points.labels) - point_losses(moved, points.labels)
