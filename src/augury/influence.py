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
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from augury.arrays import ArrayLike, as_features, as_numpy, as_weights, returned_like
from augury.curvature import Curvature, Solver, head_curvature
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.softmax import BLOCK_ELEMENTS, SoftmaxProblem, design, point_losses, residuals, spreads

Points = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None]
Effect = Literal["add", "remove", "replace"]
Correction = Literal["leverage"] | None
NOT_A_MINIMUM = 1e-4  # a Newton step of more than this share of the largest parameter: the head was not fitted to these points


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
    for all candidates; with the correction 2 m (k p)^2 more. Memory: one block of points and (k p)^2.
    """
    state = _State.of(head, train, solver)
    terms = _terms(state, effect, candidates, replaced)
    s = state.curvature.solve(_mean_gradient(state, _Set.of(target, head, "target"))).reshape(state.V.shape)
    if _checked_correction(correction):
        values = _corrected(state, terms, s)
    else:
        values = -sum((points.weights * sign * _along(state, points, s) for points, sign in terms), start=s.new_zeros(()))
    return returned_like(values, candidates[0])


def self_influence(head: SoftmaxHead, train: Points, correction: Correction = None, *, solver: Solver = "auto") -> ArrayLike:
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

    Returns
    -------
    (points,) float64, in nats; torch if the training features were, else numpy.

    Notes
    -----
    n (k p)^2 operations after the factor, 2 n (k p)^2 with the correction; blockwise, so that no n x n or n x k p matrix is formed.
    """
    state = _State.of(head, train, solver)
    points = state.points
    if _checked_correction(correction):
        inverse = state.inverse()
        parts = [_self_corrected(state, part, inverse) for part in points.blocks(state.V.numel())]
    else:
        parts = [-state.curvature.quadratic(_gradients(state, part)) for part in points.blocks(state.V.numel())]
    return returned_like(torch.cat(parts), train[0])


def leverage(head: SoftmaxHead, train: Points) -> ArrayLike:
    """How far each training point determines its own fit: the trace of w S f^T H^-1 f, in [0, C - 1).

    The leverages sum to the effective number of parameters. Near 1 in any direction, the plain influence of the point is far too small, and
    `correction="leverage"` should be used. Cost: as `self_influence` with the correction.
    """
    state = _State.of(head, train, "exact")
    inverse = state.inverse()
    parts = []
    for part in state.points.blocks(state.V.numel()):
        A = _local([design(part.features)], inverse)
        S = spreads(state.scores(part), state.problem.basis)
        parts.append(part.weights * torch.einsum("nab,nba->n", S, A))
    return returned_like(torch.cat(parts), train[0])


@dataclass(frozen=True)
class _Set:
    """Points as checked tensors; labels as indices into the head's classes."""

    features: Float[Tensor, "points features"]
    labels: Int[Tensor, " points"]
    weights: Float[Tensor, " points"]

    @classmethod
    def of(cls, points: Points, head: SoftmaxHead, name: str) -> _Set:
        if not isinstance(points, tuple) or len(points) not in (2, 3):
            raise InputError(f"{name}: expected a tuple (X, y) or (X, y, weight)")
        features = as_features(points[0], f"{name}[0]")
        labels = as_numpy(points[1])
        if features.shape[1] != head.n_features_in_:
            raise InputError(f"{name}: {features.shape[1]} features; the head was fitted to {head.n_features_in_}")
        if labels.shape != (len(features),):
            raise InputError(f"{name}: labels of shape {labels.shape} for {len(features)} points; give one label for each point")
        codes = np.searchsorted(head.classes_, labels).clip(max=len(head.classes_) - 1)
        if (unknown := head.classes_[codes] != labels).any():
            raise InputError(f"{name}: label {labels[unknown][0]!r} is none of the head's classes; fit the head to points of every class")
        weights = as_weights(points[2] if len(points) == 3 else None, features, f"{name}[2]")
        return cls(features, torch.as_tensor(codes, device=features.device), weights)

    def __getitem__(self, part: slice) -> _Set:
        return _Set(self.features[part], self.labels[part], self.weights[part])

    def blocks(self, width: int) -> Iterator[_Set]:
        """Consecutive parts that hold about `BLOCK_ELEMENTS` numbers at `width` numbers a point."""
        step = max(1, BLOCK_ELEMENTS // width)
        for start in range(0, len(self.features), step):
            yield self[start : start + step]


@dataclass(frozen=True)
class _State:
    """A fitted head with its training points and the curvature there."""

    head: SoftmaxHead
    problem: SoftmaxProblem
    points: _Set
    V: Float[Tensor, "directions params"]
    curvature: Curvature

    @classmethod
    def of(cls, head: SoftmaxHead, train: Points, solver: Solver) -> _State:
        check_is_fitted(head)
        points = _Set.of(train, head, "train")
        problem = SoftmaxProblem(points.features, points.labels, points.weights, len(head.classes_), 1 / head.C)
        state = cls(head, problem, points, head.directions(points.features), head_curvature(head, problem, solver))
        step = state.curvature.solve(problem.gradient(state.V).reshape(1, -1)).abs().max()
        if step > NOT_A_MINIMUM * max(1.0, float(state.V.abs().max())):
            warnings.warn(
                f"influence is a derivative at the minimum, and the head is {float(step):.1e} away from it on these training points: "
                "fit the head to the same points and weights, or lower its tol",
                stacklevel=3,
            )
        return state

    def scores(self, points: _Set) -> Float[Tensor, "points classes"]:
        return design(points.features) @ self.V.T @ self.problem.basis.T

    def residuals(self, points: _Set) -> Float[Tensor, "points directions"]:
        return residuals(self.scores(points), points.labels) @ self.problem.basis

    def inverse(self) -> Float[Tensor, "directions params directions params"]:
        return self.curvature.inverse().reshape(*self.V.shape, *self.V.shape)


def _checked_correction(correction: Correction) -> bool:
    if correction not in (None, "leverage"):
        raise InputError(f"correction: got {correction!r}; expected None or 'leverage'")
    return correction is not None


def _terms(state: _State, effect: Effect, candidates: Points, replaced: Points | None) -> list[tuple[_Set, int]]:
    """What comes in (+1) and what goes out (-1), row by row."""
    incoming = _Set.of(candidates, state.head, "candidates")
    if effect in ("add", "remove"):
        return [(incoming, 1 if effect == "add" else -1)]
    if effect != "replace":
        raise InputError(f"effect: got {effect!r}; expected 'add', 'remove' or 'replace'")
    if replaced is None:
        raise InputError("replaced: missing; effect='replace' needs (X, y) of the training points whose places the candidates take")
    outgoing = _Set.of(replaced, state.head, "replaced")
    if len(outgoing.features) != len(incoming.features):
        raise InputError(f"replaced: {len(outgoing.features)} points for {len(incoming.features)} candidates; give one for each")
    return [(incoming, 1), (outgoing, -1)]


def _mean_gradient(state: _State, target: _Set) -> Float[Tensor, "1 size"]:
    g = torch.zeros_like(state.V)
    for part in target.blocks(state.V.shape[1]):
        g += (part.weights[:, None] * state.residuals(part)).T @ design(part.features)
    return (g / target.weights.sum()).reshape(1, -1)


def _along(state: _State, points: _Set, s: Float[Tensor, "directions params"]) -> Float[Tensor, " points"]:
    """r^T s f for each point."""
    return torch.cat([(state.residuals(part) * (design(part.features) @ s.T)).sum(1) for part in points.blocks(state.V.shape[1])])


def _gradients(state: _State, points: _Set) -> Float[Tensor, "points size"]:
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


def _corrected(state: _State, terms: Sequence[tuple[_Set, int]], s: Float[Tensor, "directions params"]) -> Float[Tensor, " points"]:
    inverse = state.inverse()
    width = state.V.numel() * len(terms)
    rows = zip(*(points.blocks(width) for points, _ in terms), strict=True)
    return torch.cat([_newton_effect(state, list(zip(parts, (sign for _, sign in terms), strict=True)), s, inverse) for parts in rows])


def _newton_effect(state: _State, terms: Sequence[tuple[_Set, int]], s: Tensor, inverse: Tensor) -> Float[Tensor, " points"]:
    """-u^T (I + Sigma M)^-1 r for each row, u = s f: the derivative, with the Hessian of the changed training set."""
    designs = [design(points.features) for points, _ in terms]
    M = _local(designs, inverse)
    signed = [sign * points.weights for points, sign in terms]
    u = torch.cat([f @ s.T for f in designs], dim=1)
    r = torch.cat([w[:, None] * state.residuals(points) for w, (points, _) in zip(signed, terms, strict=True)], dim=1)
    S = [w[:, None, None] * spreads(state.scores(points), state.problem.basis) for w, (points, _) in zip(signed, terms, strict=True)]
    k = state.V.shape[0]
    changed = torch.cat([S[j] @ M[:, j * k : (j + 1) * k] for j in range(len(terms))], dim=1)
    moved: Tensor = torch.linalg.solve(torch.eye(changed.shape[1]).to(changed) + changed, r)
    return -(u * moved).sum(1)


def _self_corrected(state: _State, points: _Set, inverse: Tensor) -> Float[Tensor, " points"]:
    """Minus the rise of each point's loss after one Newton step without the point: its scores move by w A (I - w S A)^-1 r."""
    A = _local([design(points.features)], inverse)
    scores = state.scores(points)
    S = points.weights[:, None, None] * spreads(scores, state.problem.basis)
    r = torch.linalg.solve(torch.eye(len(state.V)).to(A) - S @ A, points.weights[:, None] * state.residuals(points))
    moved = scores + torch.einsum("nab,nb->na", A, r) @ state.problem.basis.T
    return point_losses(scores, points.labels) - point_losses(moved, points.labels)
