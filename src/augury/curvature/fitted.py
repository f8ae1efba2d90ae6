"""The Hessian of a fitted head: what a weight on one point does to the parameters is a solve with it."""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from augury.curvature.matrix import Curvature, ExactCurvature, IterativeCurvature
from augury.curvature.points import Points, PointSet
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.newton import DENSE_PARAMS
from augury.softmax import SoftmaxProblem, design, offset, project, residuals, spread
from augury.solvers import NotPositiveDefiniteError, cholesky, known_to, upper_factor

Solver = Literal["auto", "exact", "cg"]
DIGITS = 1e-7  # relative error of an influence, by a bound that lies far above it
NOT_A_MINIMUM = 1e-4  # a Newton step of more than this share of the largest parameter: the head was not fitted to these points


def head_curvature(head: SoftmaxHead, problem: SoftmaxProblem, V: Float[Tensor, "directions params"], solver: Solver) -> Curvature:
    """The Hessian of the head's objective over the points that it was fitted to.

    Parameters
    ----------
    head
        A fitted head.
    problem
        Its training points, as the problem that was minimised.
    V
        The head's parameters for these features.
    solver
        `exact`: dense Hessian and Cholesky factor; `cg`: conjugate gradients; `auto`: exact up to 12,000 parameters.

    Raises
    ------
    InputError
        If the Hessian is not positive definite; the message names the cause and the cure.
    """
    if solver not in ("auto", "exact", "cg"):
        raise InputError(f"solver: got {solver!r}; expected 'auto', 'exact' or 'cg'")
    if _iterative(V, solver):
        return IterativeCurvature(problem.hessian_operator(V), problem.hessian_diagonal(V))
    hessian = problem.hessian(V)
    try:
        return ExactCurvature(hessian, cholesky(hessian))
    except NotPositiveDefiniteError:
        raise InputError(f"head: its Hessian over the training points is singular: {_cause(head)}") from None


def _iterative(V: Tensor, solver: Solver) -> bool:
    return solver == "cg" or (solver == "auto" and V.numel() > DENSE_PARAMS)


def _cause(head: SoftmaxHead) -> str:
    if not head.converged_:
        return f"the head has not converged: {head.failure_}"
    if head.C > 1e6:
        return f"C = {head.C:g} hardly regularises, and features are constant or duplicated, or the classes are separable; lower C"
    return "features differ in scale beyond the precision, or are duplicated; standardise them or lower C"


def slight_curvature(problem: SoftmaxProblem, V: Float[Tensor, "directions params"]) -> ExactCurvature:
    """The Hessian of a problem whose penalty may be too slight for the Hessian's own digits, such as 2e-10.

    By Cholesky's method where a bound says that it leaves seven digits. Else, with A the rows sqrt(w_i p_c) (b_c - B^T p) (x) f_i of all
    points and classes, H = A^T A + lam D, and the factor comes from A itself, by orthogonal transformations (QR): its condition is the
    square root of H's, so that 1e14 in H, where Cholesky's method fails, still leaves about nine digits. Cost: 2 n C ((C - 1) (d + 1))^2
    operations.

    Raises
    ------
    InputError
        If H is singular all the same: the penalty is zero, or nearly so, and something else does not determine the parameters.
    """
    if len(problem.features) > V.numel():
        hessian = problem.hessian(V)
        with suppress(NotPositiveDefiniteError):
            factor = cholesky(hessian)
            if known_to(factor) < DIGITS:
                return ExactCurvature(hessian, factor)
    penalised = torch.ones_like(V)
    penalised[:, -1] = 0
    first = (penalised.flatten() * math.sqrt(problem.penalty)).diag()
    try:
        R = upper_factor(first, (_roots(problem, V, part) for part in problem.parts(width=problem.classes * V.numel())))
    except NotPositiveDefiniteError:
        raise InputError(
            f"penalty: with {problem.penalty:g} the Hessian over the training points is singular to working precision; raise it, "
            "for instance to 2e-10, or leave it out to take the head's own 1 / C"
        ) from None
    return ExactCurvature(R.T @ R, R.T)


def _roots(problem: SoftmaxProblem, V: Tensor, part: slice) -> Float[Tensor, "rows size"]:
    """Rows whose outer products sum to these points' share of the Hessian: one a point and class, with two classes one a point."""
    X = problem.rows(part)
    if problem.classes == 2:
        return (problem.weights[part, None] * spread(project(X, V), problem.basis)[:, 0]).sqrt() * design(X)
    p = torch.softmax(project(X, V) @ problem.basis.T, dim=1)
    centred = (problem.weights[part, None] * p).sqrt()[:, :, None] * (problem.basis - (p @ problem.basis)[:, None, :])
    return (centred[:, :, :, None] * design(X)[:, None, None, :]).reshape(-1, V.numel())


@dataclass(frozen=True)
class FittedHead:
    """A fitted head with its training points and the curvature there: where every influence starts."""

    head: SoftmaxHead
    problem: SoftmaxProblem
    points: PointSet
    V: Float[Tensor, "directions params"]
    curvature: Curvature

    @classmethod
    def of(cls, head: SoftmaxHead, train: Points, solver: Solver, *, spanned: bool = False) -> FittedHead:
        """Check that the head belongs to these points, and factor its Hessian; warn if it is not at its minimum there.

        With `spanned`, points that have more features than there are points are turned into coordinates along their own span: every inner
        product, every class score and the penalty stay what they are, and the Hessian shrinks to the points' number (the dual form). Such
        a state knows no points but these.
        """
        if not isinstance(head, SoftmaxHead):
            raise InputError(f"head: got {type(head).__name__}; expected an augury.SoftmaxHead fitted to the training points")
        check_is_fitted(head)
        points = PointSet.of(train, head, "train")
        problem, points, V, outside = _placed(head, replace(points, shift=offset(points.features)), spanned=spanned)
        state = cls(head, problem, points, V, head_curvature(head, problem, V, solver))
        if not head.converged_:
            warnings.warn("influence is a derivative at the minimum, and the head has not converged: see its own warning", stacklevel=3)
            return state
        step = max(outside, float(state.curvature.solve(problem.gradient(V).reshape(1, -1)).detach().abs().max()))
        if step > NOT_A_MINIMUM * max(1.0, float(V.detach().abs().max())):
            warnings.warn(
                f"influence is a derivative at the minimum, and the head is {step:.1e} away from it on these training points: "
                "fit the head to the same points and weights, or lower its tol",
                stacklevel=3,
            )
        return state

    @classmethod
    def trusted(cls, head: SoftmaxHead, points: PointSet, penalty: float | None = None) -> FittedHead:
        """The same in the points' span for sound points to which the head is known to be fitted: nothing is checked.

        With another `penalty`, and perhaps other weights than the head was fitted to, as in `with_penalty`.
        """
        problem, points, V, _ = _placed(head, points, spanned=True)
        if penalty is None or _iterative(V, "auto"):
            problem = problem if penalty is None else replace(problem, penalty=penalty)
            return cls(head, problem, points, V, head_curvature(head, problem, V, "auto"))
        problem = replace(problem, penalty=penalty)
        return cls(head, problem, points, V, slight_curvature(problem, V))

    def with_penalty(self, penalty: float, solver: Solver) -> FittedHead:
        """The same parameters and points, and the Hessian with another penalty."""
        problem = replace(self.problem, penalty=penalty)
        if _iterative(self.V, solver):
            return replace(self, problem=problem, curvature=head_curvature(self.head, problem, self.V, solver))
        return replace(self, problem=problem, curvature=slight_curvature(problem, self.V))

    def read(self, points: Points, name: str) -> PointSet:
        """Check points that the caller gave as the argument `name`."""
        return PointSet.of(points, self.head, name, self.points.shift)

    def scores(self, points: PointSet) -> Float[Tensor, "points classes"]:
        """Class scores of some points."""
        return project(points.features, self.V) @ self.problem.basis.T

    def residuals(self, points: PointSet) -> Float[Tensor, "points directions"]:
        """R = B^T (p - y) of some points."""
        return residuals(self.scores(points), points.labels) @ self.problem.basis

    def inverse(self) -> Float[Tensor, "directions params directions params"]:
        """H^-1 with an axis for each index of V."""
        return self.curvature.inverse().reshape(*self.V.shape, *self.V.shape)


def _placed(head: SoftmaxHead, points: PointSet, *, spanned: bool) -> tuple[SoftmaxProblem, PointSet, Tensor, float]:
    """The head's problem, points and parameters, in the points' span where that is wanted and smaller; what V has outside of it."""
    V, outside = head.directions(points.features, points.shift), 0.0
    if spanned and points.features.shape[1] > len(points.features):
        points, V, outside = _in_span(points, V)
    problem = SoftmaxProblem(points.features, points.labels, points.weights, len(head.classes_), 1 / head.C, points.shift)
    return problem, points, V, outside


def _in_span(points: PointSet, V: Tensor) -> tuple[PointSet, Tensor, float]:
    """The points in coordinates along their own span, V likewise, and the largest part of V that lies outside of it."""
    basis, coordinates = torch.linalg.qr(points[:].features.T)
    inside = V[:, :-1] @ basis
    outside = float((V[:, :-1] - inside @ basis.T).detach().abs().max())
    return PointSet(coordinates.T, points.labels, points.weights), torch.cat([inside, V[:, -1:]], dim=1), outside
