"""-g^T H^-1 g of many points that a head was fitted to, by the way that costs least, and how well it is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from augury.curvature import ExactCurvature, FittedHead, IterativeCurvature, PointSet, SingleFactor
from augury.influence.trust import NEAR_ONE, Trust
from augury.softmax import HALVED, ClassBlocks, HalfForms, Kronecker, design, misses, spreads

CHECKED = 8  # points whose values are computed in a second way
ITERATED = 1e-6  # a larger residual of conjugate gradients is that of an estimate
AGREED = 1e-9  # relative difference of the two ways that is no reason to prefer the slower one


@dataclass(frozen=True)
class Own:
    """Values, how well they are known (see `Trust.residual`), and the largest leverage in one direction where it came with them.

    `single`: evaluated in single precision.
    """

    values: Float[Tensor, " points"]
    residual: float
    leverage: float | None
    condition: float | None = None
    single: bool = False


def own_influence(state: FittedHead, points: PointSet) -> Float[Tensor, " points"]:
    """-g^T H^-1 g of some of the points that a head was fitted to: what `self_influence` gives without a correction."""
    return own(state, points).values


def own(state: FittedHead, points: PointSet) -> Own:
    """The same with how well it is known: by H^-1 and halves for many points of several classes, else by solves."""
    if isinstance(state.curvature, IterativeCurvature):
        return _iterated(state, points, state.curvature)
    differentiable = torch.is_grad_enabled() and (points.features.requires_grad or state.V.requires_grad)
    if len(state.V) >= HALVED and len(points.features) > 2 * state.V.numel() and not differentiable:
        found = _by_halves(state, points)
        if found.residual < AGREED:
            return found
    values = torch.cat([-state.curvature.quadratic(gradients(state, part)) for part in points.blocks(state.V.numel())])
    return Own(values, 0.0, _leverage_of_two(state, points, values) if len(state.V) == 1 else None)


def gradients(state: FittedHead, points: PointSet) -> Float[Tensor, "points size"]:
    """Each point's gradient g = r (x) f."""
    return (state.residuals(points)[:, :, None] * design(points.features)[:, None, :]).flatten(1)


def _iterated(state: FittedHead, points: PointSet, curvature: IterativeCurvature) -> Own:
    values, residual, condition = [], 0.0, 1.0
    for part in points.blocks(state.V.numel()):
        g = gradients(state, part)
        found = curvature.solution(g)
        values.append(-(g * found.solution).sum(1))
        residual, condition = max(residual, found.residual), max(condition, found.condition)
    return Own(torch.cat(values), residual, None, condition)


def _by_halves(state: FittedHead, points: PointSet) -> Own:
    """From the elements of H^-1; compared with |L^-1 g|^2 on the points where most digits cancel."""
    found, sizes, largest = _evaluated(state, points, state.curvature.inverse(), None)
    worst = (found.abs() / sizes.clamp(min=torch.finfo(found.dtype).tiny)).topk(min(CHECKED, len(found)), largest=False).indices
    again = -state.curvature.quadratic(gradients(state, points.at(worst)))
    gap = (found[worst] - again).abs() / again.abs().clamp(min=torch.finfo(found.dtype).tiny)
    return Own(found, float(gap.max()), largest)


def by_single(state: FittedHead, points: PointSet) -> Own:
    """From the elements of H^-1 in single precision, and their error by the largest value.

    That is the largest on the points with the longest gradients, where rounding is worst, and with the largest values, whose solves are
    corrected by one product with H in double precision, which leaves their errors' squares.
    """
    curvature = state.curvature
    assert isinstance(curvature, IterativeCurvature)
    close = curvature.close
    assert isinstance(close, SingleFactor)
    found, sizes, largest = _evaluated(state, points, close.inverse(), curvature.probabilities)
    count = min(CHECKED // 4, len(found))
    worst = torch.cat([sizes.topk(count).indices, found.nan_to_num(-torch.inf).topk(count, largest=False).indices])
    g = gradients(state, points.at(worst))
    solved = close.solve(g)
    again = -(g * (solved + close.solve(g - curvature.product(solved)))).sum(1)
    return Own(found, float((found[worst] - again).abs().max() / again.abs().max()), largest, close.condition, single=True)


def _evaluated(
    state: FittedHead, points: PointSet, inverse: Float[Tensor, "size size"], known: Float[Tensor, "points classes"] | None
) -> tuple[Tensor, Tensor, float]:
    """From the elements of H^-1, in its precision: -g^T H^-1 g and |g|^2 of each point, and the largest leverage in one direction.

    `known`: the points' probabilities, if they are.
    """
    forms, values, sizes, largest = HalfForms(inverse.reshape(*state.V.shape, *state.V.shape), state.problem.basis), [], [], 0.0
    start = 0
    for part in points.blocks(max(state.V.shape[1], 4 * len(state.V) ** 2)):
        stop = start + len(part.labels)
        p = (torch.softmax(state.scores(part).detach(), dim=1) if known is None else known[start:stop]).to(inverse)
        q, r, start = forms.of(design(part.features, inverse.dtype)), misses(p, part.labels), stop
        values.append((forms.products(r) * q).sum(0).to(part.features))
        sizes.append((r.square().sum(1) * (part.features.square().sum(1) + 1)).to(part.features))
        weights = part.weights.to(inverse)
        whole = weights * (forms.products(p) * q).sum(0)
        largest = max(largest, _steepest(forms, q, p, weights, whole))
    return torch.cat(values), torch.cat(sizes), largest


def _steepest(forms: HalfForms, q: Tensor, p: Tensor, weights: Tensor, whole: Tensor) -> float:
    """The largest leverage of a point in one direction, the largest eigenvalue of w S A; that is at most its `whole` leverage, the trace.

    Looked for among all points whose whole leverage could make influence doubtful, and those with the largest ones.
    """
    suspects = whole >= min(NEAR_ONE, float(whole.topk(min(CHECKED, len(whole))).values[-1]))
    turned = spreads(p[suspects].log(), forms.basis) @ forms.matrices(q[:, suspects])
    return float((weights[suspects] * torch.linalg.eigvals(turned).real.amax(1)).max())


def _leverage_of_two(state: FittedHead, points: PointSet, values: Tensor) -> float:
    """With two classes the value is r^2 f^T H^-1 f, and the leverage w p (1 - p) f^T H^-1 f."""
    largest, start = 0.0, 0
    for part in points.blocks(state.V.shape[1]):
        r = state.residuals(part)[:, 0].abs()
        share = part.weights * (1 - r) / r * values[start : start + len(r)].abs()
        largest, start = max(largest, float(share.detach().nan_to_num(0, 0, 0).max())), start + len(r)
    return largest


def estimated(state: FittedHead, points: PointSet, seed: int = 0) -> Own:
    """By the preconditioner's inverse in place of H^-1, and its error on a few random points, which are solved for."""
    curvature = state.curvature
    assert isinstance(curvature, IterativeCurvature)
    assert isinstance(curvature.close, ClassBlocks | Kronecker)
    parts = points.blocks(max(state.V.shape[1], 2 * len(state.V)))
    values = torch.cat([-curvature.close.quadratic(design(part.features), state.residuals(part)) for part in parts])
    chosen = np.random.default_rng(seed).choice(len(values), min(CHECKED, len(values)), replace=False)
    exact = _iterated(state, points.at(torch.as_tensor(chosen)), curvature)
    error = (values[chosen] - exact.values).abs() / exact.values.abs().clamp(min=torch.finfo(values.dtype).tiny)
    return Own(values, float(error.max()), None, exact.condition)


def trust_in(state: FittedHead, found: Own) -> Trust:
    """What is known of values from a state."""
    if isinstance(state.curvature, ExactCurvature):
        solver, condition = "exact", state.curvature.condition
    else:
        solver = "single" if found.single else "cg" if found.residual < ITERATED else "estimate"
        condition = found.condition or math.nan
    return Trust(solver, found.residual, condition, state.head.converged_, state.step, found.leverage)
