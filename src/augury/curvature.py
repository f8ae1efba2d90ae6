"""The Hessian of a fitted head: what a weight on one point does to the parameters is a solve with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from augury.arrays import ArrayLike, as_features, as_labels, as_weights, encode
from augury.errors import InputError
from augury.head import DENSE_PARAMS, SoftmaxHead
from augury.softmax import SoftmaxProblem, blocks_of, offset, project, residuals
from augury.solvers import NotPositiveDefiniteError, cholesky, conjugate_gradients

Solver = Literal["auto", "exact", "cg"]
Points = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike | None]
NOT_A_MINIMUM = 1e-4  # a Newton step of more than this share of the largest parameter: the head was not fitted to these points


@runtime_checkable
class Curvature(Protocol):
    """A symmetric positive definite Hessian H; vectors are rows, flattened like V (see `augury.softmax`)."""

    def product(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H times each row."""

    def solve(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H^-1 times each row."""

    def quadratic(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, " systems"]:
        """g^T H^-1 g for each row g: never negative."""

    def inverse(self) -> Float[Tensor, "size size"]:
        """H^-1 as a matrix, where it fits in memory."""


@dataclass(frozen=True)
class ExactCurvature:
    """H with its Cholesky factor L: `size`^2 numbers, a factorisation of `size`^3 / 3 operations, and `size`^2 a solve."""

    hessian: Float[Tensor, "size size"]
    factor: Float[Tensor, "size size"]

    def product(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H times each row."""
        return rows @ self.hessian

    def solve(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H^-1 times each row."""
        return torch.cholesky_solve(rows.T, self.factor).T

    def quadratic(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, " systems"]:
        """g^T H^-1 g = |L^-1 g|^2 for each row g."""
        whitened: Tensor = torch.linalg.solve_triangular(self.factor, rows.T, upper=False)
        return whitened.square().sum(0)

    def inverse(self) -> Float[Tensor, "size size"]:
        """H^-1 as a matrix."""
        return torch.cholesky_inverse(self.factor)


@dataclass(frozen=True)
class IterativeCurvature:
    """H known by its products alone: conjugate gradients to the relative residual `tol`, memory of a few vectors."""

    multiply: Callable[[Tensor], Tensor]
    diagonal: Float[Tensor, " size"]
    tol: float = 1e-12

    def product(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H times each row."""
        return self.multiply(rows)

    def solve(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H^-1 times each row; an `InputError` if conjugate gradients do not get there."""
        found = conjugate_gradients(self.multiply, rows, self.diagonal, tol=self.tol, max_iter=10 * rows.shape[1])
        if not found.converged:
            raise InputError(
                f"solver: conjugate gradients stopped at the relative residual {found.residual:.1e} after {found.iterations} steps; the "
                "Hessian is close to singular: lower C, leave out constant or duplicated features, or use solver='exact'"
            )
        return found.solution

    def quadratic(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, " systems"]:
        """g^T H^-1 g for each row g."""
        return (rows * self.solve(rows)).sum(1)

    def inverse(self) -> Float[Tensor, "size size"]:
        """Refused: the matrix is not formed because it would not fit."""
        raise InputError("solver: the correction needs the inverse Hessian as a matrix; use solver='exact'")


def head_curvature(head: SoftmaxHead, problem: SoftmaxProblem, solver: Solver) -> Curvature:
    """The Hessian of the head's objective over the points that it was fitted to.

    Parameters
    ----------
    head
        A fitted head.
    problem
        Its training points, as the problem that was minimised.
    solver
        `exact`: dense Hessian and Cholesky factor; `cg`: conjugate gradients; `auto`: exact up to 12,000 parameters.

    Raises
    ------
    InputError
        If the Hessian is not positive definite; the message names the cause and the cure.
    """
    if solver not in ("auto", "exact", "cg"):
        raise InputError(f"solver: got {solver!r}; expected 'auto', 'exact' or 'cg'")
    V = head.directions(problem.features, problem.shift)
    if solver == "cg" or (solver == "auto" and V.numel() > DENSE_PARAMS):
        return IterativeCurvature(problem.hessian_operator(V), problem.hessian_diagonal(V))
    hessian = problem.hessian(V)
    try:
        return ExactCurvature(hessian, cholesky(hessian))
    except NotPositiveDefiniteError:
        raise InputError(f"head: its Hessian over the training points is singular: {_cause(head)}") from None


def _cause(head: SoftmaxHead) -> str:
    if not head.converged_:
        return f"the head has not converged: {head.failure_}"
    if head.C > 1e6:
        return f"C = {head.C:g} hardly regularises, and features are constant or duplicated, or the classes are separable; lower C"
    return "features differ in scale beyond the precision, or are duplicated; standardise them or lower C"


@dataclass(frozen=True)
class PointSet:
    """Points as checked tensors; labels as indices into the head's classes."""

    features: Float[Tensor, "points features"]
    labels: Int[Tensor, " points"]
    weights: Float[Tensor, " points"]
    shift: Float[Tensor, " features"] | None = None

    @classmethod
    def of(cls, points: Points, head: SoftmaxHead, name: str, shift: Tensor | None = None) -> PointSet:
        """Check what the caller gave as the argument `name`; `shift` will be subtracted from the features of each part taken."""
        if not isinstance(points, tuple) or len(points) not in (2, 3):
            raise InputError(f"{name}: expected a tuple (X, y) or (X, y, weight)")
        features = as_features(points[0], f"{name}[0]")
        if features.shape[1] != head.n_features_in_:
            raise InputError(f"{name}: {features.shape[1]} features; the head was fitted to {head.n_features_in_}")
        codes = encode(as_labels(points[1], len(features), name), head.classes_, name)
        weights = as_weights(points[2] if len(points) == 3 else None, features, f"{name}[2]")
        return cls(features, torch.as_tensor(codes, device=features.device), weights, shift)

    def __getitem__(self, part: slice) -> PointSet:
        features = self.features[part] if self.shift is None else self.features[part] - self.shift
        return PointSet(features, self.labels[part], self.weights[part])

    def blocks(self, width: int) -> Iterator[PointSet]:
        """Consecutive parts, in blocks for work that needs `width` numbers a point."""
        return (self[part] for part in blocks_of(len(self.features), width))


@dataclass(frozen=True)
class FittedHead:
    """A fitted head with its training points and the curvature there: where every influence starts."""

    head: SoftmaxHead
    problem: SoftmaxProblem
    points: PointSet
    V: Float[Tensor, "directions params"]
    curvature: Curvature

    @classmethod
    def of(cls, head: SoftmaxHead, train: Points, solver: Solver) -> FittedHead:
        """Check that the head belongs to these points, and factor its Hessian; warn if it is not at its minimum there."""
        if not isinstance(head, SoftmaxHead):
            raise InputError(f"head: got {type(head).__name__}; expected an augury.SoftmaxHead fitted to the training points")
        check_is_fitted(head)
        points = PointSet.of(train, head, "train")
        points = replace(points, shift=offset(points.features))
        problem = SoftmaxProblem(points.features, points.labels, points.weights, len(head.classes_), 1 / head.C, points.shift)
        state = cls(head, problem, points, head.directions(points.features, points.shift), head_curvature(head, problem, solver))
        if not head.converged_:
            warnings.warn("influence is a derivative at the minimum, and the head has not converged: see its own warning", stacklevel=3)
            return state
        step = state.curvature.solve(problem.gradient(state.V).reshape(1, -1)).abs().max()
        if step > NOT_A_MINIMUM * max(1.0, float(state.V.abs().max())):
            warnings.warn(
                f"influence is a derivative at the minimum, and the head is {float(step):.1e} away from it on these training points: "
                "fit the head to the same points and weights, or lower its tol",
                stacklevel=3,
            )
        return state

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
