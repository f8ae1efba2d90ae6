"""The head while copies join its training set: refitted from where it stands, at the cost of a Newton step or two."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augury.copies.passes import pull
from augury.curvature import Curvature, ExactCurvature, FittedHead, IterativeCurvature, PointSet
from augury.errors import InputError
from augury.newton import ARMIJO, DENSE_PARAMS, FLOOR
from augury.softmax import SoftmaxProblem
from augury.solvers import NotPositiveDefiniteError, cholesky

FACTORS = 6  # most Hessians a refit computes
STEPS = 2  # taken with each: a Newton step, and one more
SETTLED = 5e-4  # nats a point by which, about, the objective may stay above its minimum
CG_TOL = 1e-6  # relative residual of the solves for heads too large for a factor


def curvature_at(problem: SoftmaxProblem, V: Float[Tensor, "directions params"]) -> Curvature:
    """The Hessian at V with its factor, or by its products alone above 12,000 parameters."""
    if V.numel() > DENSE_PARAMS:
        return IterativeCurvature(problem.hessian_operator(V), problem.hessian_diagonal(V), CG_TOL)
    return factored(problem.hessian(V))


def factored(hessian: Float[Tensor, "size size"]) -> ExactCurvature:
    """A Hessian with its factor."""
    try:
        return ExactCurvature(hessian, cholesky(hessian))
    except NotPositiveDefiniteError:
        raise InputError("head: its Hessian over the training points and copies is singular; lower C") from None


def extended(curvature: Curvature, added: SoftmaxProblem, V: Float[Tensor, "directions params"]) -> Curvature:
    """The curvature once the points of `added` (a problem without penalty) have joined: exact for their Hessian at V."""
    if isinstance(curvature, ExactCurvature):
        return factored(curvature.hessian + added.hessian(V))
    joined = added.hessian_operator(V)
    before = curvature.product
    assert isinstance(curvature, IterativeCurvature)
    return IterativeCurvature(lambda rows: before(rows) + joined(rows), curvature.diagonal + added.hessian_diagonal(V), CG_TOL)


class GrowingFit:
    """A head's parameters V and curvature over the training points and the copies that have joined.

    Parameters
    ----------
    state
        The head fitted to the training points alone.
    room
        How many copies may join.
    """

    def __init__(self, state: FittedHead, room: int) -> None:
        start = state.points[slice(None)]
        self.originals = len(start.labels)
        self.size = self.originals
        self._features = torch.cat([start.features, start.features.new_empty(room, start.features.shape[1])])
        self._labels: Int[Tensor, " points"] = torch.cat([start.labels, start.labels.new_empty(room)])
        self._weights = torch.cat([start.weights, start.weights.new_ones(room)])
        self._penalty = state.problem.penalty
        self.basis = state.problem.basis
        self.V, self.curvature = state.V, state.curvature
        self.value = math.inf

    @property
    def joined(self) -> PointSet:
        """All that have joined, the training points first."""
        return PointSet(*(values[: self.size] for values in (self._features, self._labels, self._weights)))

    def add(self, copies: PointSet, weight: float) -> None:
        """Let copies join; `weight` is from now on the weight of every copy that has joined."""
        end = self.size + len(copies.labels)
        self._features[self.size : end] = copies.features
        self._labels[self.size : end] = copies.labels
        self.size = end
        self.weigh(weight)

    def weigh(self, weight: float) -> None:
        """Give every copy that has joined this weight."""
        self._weights[self.originals : self.size] = weight

    def problem(self, points: PointSet, penalty: float = 0.0) -> SoftmaxProblem:
        """The sum of some points' losses, as a problem: without a penalty, what these points add to gradient and Hessian."""
        return SoftmaxProblem(points.features, points.labels, points.weights, len(self.basis), penalty)

    def refit(self) -> None:
        """Move V to the minimum, up to `SETTLED`: Newton steps, each followed by one with the same factor."""
        points = self.joined
        settled = SETTLED * self.size
        self.value, gradient = self._objective(points, self.V)
        for _ in range(FACTORS):
            self.curvature = curvature_at(self.problem(points, self._penalty), self.V)
            for _ in range(STEPS):
                step = self.curvature.solve(gradient.reshape(1, -1)).reshape(self.V.shape)
                decrease = float((gradient * step).sum())
                if decrease <= settled:
                    return
                gradient = self._descend(points, step, decrease)

    def _descend(self, points: PointSet, step: Float[Tensor, "directions params"], decrease: float) -> Float[Tensor, "directions params"]:
        """Take the step, shortened until it brings a share of the decrease that its slope promises; the gradient where it ends."""
        length, found = 1.0, self._objective(points, self.V - step)
        while found[0] > self.value - ARMIJO * length * decrease and length > FLOOR:
            length /= 2
            found = self._objective(points, self.V - length * step)
        self.V, self.value = self.V - length * step, found[0]
        return found[1]

    def _objective(self, points: PointSet, V: Float[Tensor, "directions params"]) -> tuple[float, Float[Tensor, "directions params"]]:
        """J and its gradient at V, in one pass."""
        losses, gradient = pull(points, V, self.basis)
        gradient[:, :-1] += self._penalty * V[:, :-1]
        return float(losses + self._penalty / 2 * V[:, :-1].square().sum()), gradient
