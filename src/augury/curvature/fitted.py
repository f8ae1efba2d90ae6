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

from augury.curvature.dense import dense_fits, dense_size
from augury.curvature.doubt import InfluenceWarning
from augury.curvature.matrix import Curvature, ExactCurvature, IterativeCurvature, SingleFactor
from augury.curvature.points import Points, PointSet
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.newton import CG_STEPS, QUICK, iterations_for_a_factor
from augury.progress import say
from augury.softmax import SoftmaxProblem, design, offset, project, residuals, spread
from augury.solvers import NotPositiveDefiniteError, cholesky, condition_of, known_to, upper_factor

Solver = Literal["auto", "exact", "cg"]
DIGITS = 1e-7  # relative error of an influence, by a bound that lies far above it
ENOUGH = 1e-8  # relative residual of a solve where single precision is asked for
ROUGHLY = 1e-2  # relative residual of a solve whose size alone matters
DOUBLE = "it is done in double; standardise features of very different scale, leave out duplicated ones, or lower C"
NOT_A_MINIMUM = 1e-4  # a Newton step of more than this share of the largest parameter: the head was not fitted to these points


def head_curvature(
    head: SoftmaxHead, problem: SoftmaxProblem, V: Float[Tensor, "directions params"], solver: Solver, *, single: bool = False
) -> Curvature:
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
        `exact`: dense Hessian and Cholesky factor; `cg`: preconditioned conjugate gradients; `auto`: exact where the Hessian, its factor
        and its inverse fit in half of the memory that is free, and where they do not, which is said, `cg`.
    single
        The dense Hessian and its factor in single precision, to which conjugate gradients add the missing digits; a Hessian that single
        precision cannot factor is factored in double, with a warning.

    Raises
    ------
    InputError
        If the Hessian is not positive definite; the message names the cause and the cure.
    """
    if solver not in ("auto", "exact", "cg"):
        raise InputError(f"solver: got {solver!r}; expected 'auto', 'exact' or 'cg'")
    if solver == "cg" or (solver == "auto" and not dense_fits(V.numel())):
        if solver == "auto":
            say(f"The Hessian of {V.numel():,} parameters takes {dense_size(V.numel())}: it is solved with by conjugate gradients instead.")
        return iterative_curvature(problem, V)
    if single and (found := _single_curvature(problem, V)):
        return found
    hessian = problem.hessian(V)
    try:
        return ExactCurvature(hessian, cholesky(hessian))
    except NotPositiveDefiniteError:
        raise InputError(f"head: its Hessian over the training points is singular: {_cause(head)}") from None


def iterative_curvature(problem: SoftmaxProblem, V: Float[Tensor, "directions params"]) -> IterativeCurvature:
    """The Hessian by its products, with the closest preconditioner that pays; differentiable products have their diagonal alone."""
    close = None if torch.is_grad_enabled() and V.requires_grad else problem.preconditioner(V)
    p = problem.probabilities(V)
    return IterativeCurvature(problem.hessian_operator(V, p), problem.hessian_diagonal(V), close=close, probabilities=p)


def _single_curvature(problem: SoftmaxProblem, V: Float[Tensor, "directions params"]) -> IterativeCurvature | None:
    """The Hessian by its products, preconditioned by its factor in single precision; None, and a warning, where there is none."""
    p = problem.probabilities(V)
    hessian = problem.hessian(V, torch.float32, p)
    try:
        factor = cholesky(hessian)
    except NotPositiveDefiniteError:
        warnings.warn(f"single precision cannot factor the Hessian: {DOUBLE}", InfluenceWarning, stacklevel=6)
        return None
    close = SingleFactor(factor, condition_of(hessian, factor))
    return IterativeCurvature(problem.hessian_operator(V, p), hessian.diagonal().to(V), tol=ENOUGH, close=close, probabilities=p)


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
    """A fitted head with its training points and the curvature there: where every influence starts.

    `step`: how far a Newton step would still move the head's parameters; NaN where nobody looked.
    """

    head: SoftmaxHead
    problem: SoftmaxProblem
    points: PointSet
    V: Float[Tensor, "directions params"]
    curvature: Curvature
    step: float = math.nan

    @classmethod
    def of(
        cls, head: SoftmaxHead, train: Points, solver: Solver, *, spanned: bool = False, once: bool = False, single: bool = False
    ) -> FittedHead:
        """Check that the head belongs to these points, and factor its Hessian; warn if it is not at its minimum there.

        With `spanned`, points that have more features than there are points are turned into coordinates along their own span: every inner
        product, every class score and the penalty stay what they are, and the Hessian shrinks to the points' number (the dual form). Such
        a state knows no points but these. With `once`, `auto` also takes conjugate gradients where a factor costs more than one solve.
        `single`: see `head_curvature`; points and parameters stay what they are.
        """
        if not isinstance(head, SoftmaxHead):
            raise InputError(f"head: got {type(head).__name__}; expected an augury.SoftmaxHead fitted to the training points")
        check_is_fitted(head)
        points = PointSet.of(train, head, "train")
        problem, points, V, outside = _placed(head, replace(points, shift=offset(points.features)), spanned=spanned)
        cheap = once and solver == "auto" and not points.features.requires_grad and iterations_for_a_factor(problem) > QUICK * CG_STEPS
        curvature = iterative_curvature(problem, V) if cheap else head_curvature(head, problem, V, solver, single=single)
        state = cls(head, problem, points, V, curvature, max(outside, _step(curvature, problem, V)))
        state.warn()
        return state

    def warn(self) -> None:
        """Warn if the head is not at its minimum."""
        if not self.head.converged_:
            cause = "influence is a derivative at the minimum, and the head has not converged: see its own warning"
            warnings.warn(cause, InfluenceWarning, stacklevel=4)
        elif self.step > NOT_A_MINIMUM * max(1.0, float(self.V.detach().abs().max())):
            warnings.warn(
                f"influence is a derivative at the minimum, and the head is {self.step:.1e} away from it on these training points: "
                "fit the head to the same points and weights, or lower its tol",
                InfluenceWarning,
                stacklevel=4,
            )

    @classmethod
    def trusted(cls, head: SoftmaxHead, points: PointSet, penalty: float | None = None) -> FittedHead:
        """The same in the points' span for sound points to which the head is known to be fitted: nothing is checked.

        With another `penalty`, and perhaps other weights than the head was fitted to, as in `with_penalty`.
        """
        problem, points, V, _ = _placed(head, points, spanned=True)
        if penalty is None or not dense_fits(V.numel()):
            problem = problem if penalty is None else replace(problem, penalty=penalty)
            return cls(head, problem, points, V, head_curvature(head, problem, V, "auto"))
        problem = replace(problem, penalty=penalty)
        return cls(head, problem, points, V, slight_curvature(problem, V))

    def with_penalty(self, penalty: float, solver: Solver) -> FittedHead:
        """The same parameters and points, and the Hessian with another penalty."""
        problem = replace(self.problem, penalty=penalty)
        if solver == "cg" or (solver == "auto" and not dense_fits(self.V.numel())):
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


def _step(curvature: Curvature, problem: SoftmaxProblem, V: Float[Tensor, "directions params"]) -> float:
    """The largest change of a parameter that a Newton step would bring, to a few digits."""
    known = curvature.probabilities if isinstance(curvature, IterativeCurvature) else None
    gradient = problem.gradient(V, known).detach().reshape(1, -1)
    if isinstance(curvature, IterativeCurvature) and isinstance(curvature.close, SingleFactor):
        return float(curvature.close.solve(gradient).abs().max())
    if isinstance(curvature, IterativeCurvature):
        return float(curvature.solution(gradient, tol=ROUGHLY).solution.detach().abs().max())
    return float(curvature.solve(gradient).detach().abs().max())


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
