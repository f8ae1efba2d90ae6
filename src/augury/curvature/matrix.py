"""A symmetric positive definite matrix that can be multiplied by and solved with: by its factor, or by its products alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from augury.errors import InputError
from augury.softmax import ClassBlocks, Kronecker
from augury.solvers import IterativeSolution, condition_of, conjugate_gradients, refine

MOST = 20_000  # iterations, of which a system that is not close to singular needs far fewer


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

    @cached_property
    def condition(self) -> float:
        """Condition number of H scaled to a diagonal of ones, by a few steps of the power method: never above the true one."""
        return condition_of(self.hessian.detach(), self.factor.detach())

    def quadratic(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, " systems"]:
        """g^T H^-1 g = |L^-1 g|^2 for each row g."""
        whitened: Tensor = torch.linalg.solve_triangular(self.factor, rows.T, upper=False)
        return whitened.square().sum(0)

    def inverse(self) -> Float[Tensor, "size size"]:
        """H^-1 as a matrix."""
        return torch.cholesky_inverse(self.factor)


@dataclass(frozen=True)
class SingleFactor:
    """H's Cholesky factor in single precision: close to H, so that a few products with H itself make its solves exact."""

    factor: Float[Tensor, "size size"]
    condition: float

    def solve(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H^-1 times each row, to single precision; in the type of `rows`."""
        return torch.cholesky_solve(rows.T.to(self.factor), self.factor).T.to(rows)

    def inverse(self) -> Float[Tensor, "size size"]:
        """H^-1 as a matrix, in single precision."""
        return torch.cholesky_inverse(self.factor)


@dataclass(frozen=True)
class IterativeCurvature:
    """H known by its products alone: conjugate gradients to the relative residual `tol`, memory of a few vectors.

    `close`: a matrix close to H, which preconditions it; None: H's `diagonal`. A factor in single precision is so close that its solves are
    refined first, a product a step. `probabilities`: of the points that H is a sum over, where they came with the products.
    """

    multiply: Callable[[Tensor], Tensor]
    diagonal: Float[Tensor, " size"]
    tol: float = 1e-12
    close: ClassBlocks | Kronecker | SingleFactor | None = None
    probabilities: Float[Tensor, "points classes"] | None = None

    def product(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H times each row."""
        return self.multiply(rows)

    def solve(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """H^-1 times each row; an `InputError` if conjugate gradients do not get there."""
        return self.solution(rows).solution

    def solution(self, rows: Float[Tensor, "systems size"], tol: float | None = None) -> IterativeSolution:
        """The same, to another tolerance perhaps, with what conjugate gradients tell of how they got there."""
        if isinstance(self.close, SingleFactor):
            refined = refine(self.multiply, rows, self.close.solve, tol=tol or self.tol)
            if refined.converged:
                return replace(refined, condition=self.close.condition)
        limit = min(10 * rows.shape[1], MOST)
        precondition = None if self.close is None else self.close.solve
        found = conjugate_gradients(self.multiply, rows, self.diagonal, tol=tol or self.tol, max_iter=limit, precondition=precondition)
        if not found.converged:
            raise InputError(
                f"solver: conjugate gradients stopped at the relative residual {found.residual:.1e} after {found.iterations} steps; the "
                "Hessian is close to singular: lower C, leave out constant or duplicated features, or use solver='exact'"
            )
        return found

    def quadratic(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, " systems"]:
        """g^T H^-1 g for each row g."""
        return (rows * self.solve(rows)).sum(1)

    def inverse(self) -> Float[Tensor, "size size"]:
        """Refused: the matrix is not formed because it would not fit."""
        raise InputError("solver: the correction needs the inverse Hessian as a matrix; use solver='exact'")
