"""Linear systems with a symmetric positive definite matrix: exact by Cholesky, or by conjugate gradients where no matrix fits in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

WORTH = 10.0  # by which a step of refinement divides the residual, or it is not nearly an inverse
NEGATIVE = 1e-5  # curvature below this share of the largest one met, with a minus, is more than what rounding to float32 leaves


class NotPositiveDefiniteError(ArithmeticError):
    """The matrix has a direction without curvature; who knows where the matrix came from must say why, and the cure."""


def cholesky(matrix: Float[Tensor, "params params"]) -> Float[Tensor, "params params"]:
    """Lower triangular L with L L^T = `matrix`; one third params^3 operations.

    The parameters' units make no difference: the matrix is scaled to a diagonal of ones before it is factored.

    Raises
    ------
    NotPositiveDefiniteError
        If the matrix is singular to working precision: a pivot of the scaled matrix below params x epsilon.
    """
    scale = matrix.diagonal().clamp(min=0).sqrt()
    if not scale.min() > 0:
        raise NotPositiveDefiniteError
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix / torch.outer(scale, scale))
    if failed or not factor.diagonal().min() > math.sqrt(len(matrix) * torch.finfo(matrix.dtype).eps):
        raise NotPositiveDefiniteError
    return factor.mul_(scale[:, None])


def known_to(factor: Float[Tensor, "params params"]) -> float:
    """Bound on the relative error of g^T matrix^-1 g, whatever g is, by a matrix's Cholesky `factor` and rounding of epsilon an entry.

    With the matrix scaled to a diagonal of ones: epsilon x params x the trace of its inverse. One third params^3 operations.
    """
    scaled = factor / factor.norm(dim=1, keepdim=True)
    inverse: Tensor = torch.linalg.solve_triangular(scaled, torch.eye(len(factor)).to(factor), upper=False)
    return float(inverse.square().sum()) * len(factor) * torch.finfo(factor.dtype).eps


def upper_factor(first: Float[Tensor, "params params"], blocks: Iterable[Float[Tensor, "_ params"]]) -> Float[Tensor, "params params"]:
    """Upper triangular R with R^T R = A^T A, where A's rows are `first`, upper triangular, and all `blocks`, without forming A or A^T A.

    By Householder's QR factorisation, block after block: R is as well known as A allows, while a Cholesky factor of A^T A loses twice as
    many digits. Cost: 2 params^2 operations a row, and as many again for params rows a block.

    Raises
    ------
    NotPositiveDefiniteError
        If A^T A is singular beyond what R can tell: a diagonal entry of R below params x epsilon of its column's length.
    """
    R = first
    for block in blocks:
        R = torch.linalg.qr(torch.cat([R, block]), mode="r").R
    if not (R.diagonal().abs() > len(R) * torch.finfo(R.dtype).eps * R.norm(dim=0)).all():
        raise NotPositiveDefiniteError
    return R


@dataclass(frozen=True)
class IterativeSolution:
    """What conjugate gradients reached: the solutions and how well they solve.

    `residual` is the largest |matrix x - rhs| / |rhs| over the right-hand sides; `converged` says whether it is within the tolerance;
    `indefinite`, whether a direction of negative curvature turned up, at which the method stops; `condition`, the condition number of the
    preconditioned matrix as far as the first system's iterations met it (Lanczos' estimate, never above the true one).
    """

    solution: Float[Tensor, "systems params"]
    residual: float
    iterations: int
    converged: bool
    indefinite: bool = False
    condition: float = 1.0


def conjugate_gradients(
    product: Callable[[Float[Tensor, "systems params"]], Float[Tensor, "systems params"]],
    rhs: Float[Tensor, "systems params"],
    diagonal: Float[Tensor, " params"] | None,
    *,
    tol: float,
    max_iter: int,
    precondition: Callable[[Float[Tensor, "systems params"]], Float[Tensor, "systems params"]] | None = None,
) -> IterativeSolution:
    """Solve matrix x = rhs for each row of `rhs` at once, given the matrix's `product` with such rows and, where known, its `diagonal`.

    Preconditioned by the diagonal (Hestenes and Stiefel 1952; Jacobi), or by `precondition`, which multiplies rows by the inverse of a
    positive definite matrix close to this one. Each iteration costs one product; memory is four times `rhs`.
    """
    precondition = precondition or _by_diagonal(torch.ones_like(rhs[0]) if diagonal is None else diagonal)
    scale = rhs.norm(dim=1, keepdim=True)
    scale = torch.where(scale > 0, scale, 1)
    x = torch.zeros_like(rhs)
    residual = rhs.clone()
    preconditioned = precondition(residual)
    direction = preconditioned.clone()
    rho = (residual * preconditioned).sum(1, keepdim=True)
    steps: list[tuple[float, float]] = []
    steepest, indefinite = 0.0, False
    while len(steps) < max_iter and not indefinite and (residual.norm(dim=1, keepdim=True) / scale).max() > tol:
        image = product(direction)
        curvature = (direction * image).sum(1, keepdim=True)
        bend = _ratio(curvature, direction.square().sum(1, keepdim=True))
        steepest = max(steepest, float(bend.abs().max()))
        indefinite = float(bend.min()) < -NEGATIVE * steepest
        alpha = _ratio(rho, curvature)
        x += alpha * direction
        residual -= alpha * image
        preconditioned = precondition(residual)
        previous, rho = rho, (residual * preconditioned).sum(1, keepdim=True)
        beta = _ratio(rho, previous)
        direction = preconditioned + beta * direction
        steps.append((float(alpha[0]), float(beta[0])))
    reached = float(((product(x) - rhs).norm(dim=1, keepdim=True) / scale).max())
    arrived = reached <= 10 * tol and not indefinite
    return IterativeSolution(x, reached, len(steps), converged=arrived, indefinite=indefinite, condition=_condition_met(steps))


def refine(
    product: Callable[[Float[Tensor, "systems params"]], Float[Tensor, "systems params"]],
    rhs: Float[Tensor, "systems params"],
    solve: Callable[[Float[Tensor, "systems params"]], Float[Tensor, "systems params"]],
    *,
    tol: float,
) -> IterativeSolution:
    """The same by iterative refinement (Wilkinson 1963), x + solve(rhs - matrix x), `solve` being nearly the matrix's inverse.

    Each step costs one product, by which the last one is also checked; it ends where a step no longer divides the residual by `WORTH`.
    """
    scale = rhs.norm(dim=1, keepdim=True)
    scale = torch.where(scale > 0, scale, 1)
    x, residual, reached, steps = torch.zeros_like(rhs), rhs, math.inf, 0
    while True:
        moved = x + solve(residual)
        residual = rhs - product(moved)
        previous, reached, steps = reached, float((residual.norm(dim=1, keepdim=True) / scale).max()), steps + 1
        if not reached < previous / WORTH:
            return IterativeSolution(x, previous, steps, converged=previous <= tol)
        x = moved
        if reached <= tol:
            return IterativeSolution(x, reached, steps, converged=True)


def _by_diagonal(diagonal: Float[Tensor, " params"]) -> Callable[[Tensor], Tensor]:
    floored = diagonal.clamp(min=diagonal.max() * torch.finfo(diagonal.dtype).eps)
    return lambda rows: rows / floored


def _condition_met(steps: Iterable[tuple[float, float]]) -> float:
    """Ratio of the extreme eigenvalues of Lanczos' tridiagonal matrix, from the steps alpha and beta of conjugate gradients.

    Golub and Van Loan 2013, section 11.3.
    """
    met = [(alpha, beta) for alpha, beta in steps if alpha > 0]
    if not met:
        return 1.0
    a, b = torch.tensor(met, dtype=torch.float64).T
    diagonal = 1 / a
    diagonal[1:] += b[:-1] / a[:-1]
    beside = b[:-1].clamp(min=0).sqrt() / a[:-1]
    eigenvalues = torch.linalg.eigvalsh(diagonal.diag() + beside.diag(1) + beside.diag(-1))
    return float(eigenvalues[-1] / eigenvalues[0].clamp(min=torch.finfo(torch.float64).eps * eigenvalues[-1]))


def condition_of(matrix: Float[Tensor, "params params"], factor: Float[Tensor, "params params"], *, steps: int = 5) -> float:
    """Condition number of a matrix scaled to a diagonal of ones, by so many steps of the power method: never above the true one.

    `factor`: its Cholesky factor. Cost: 4 params^2 operations a step.
    """
    scale = factor.norm(dim=1)
    generator = torch.Generator(device="cpu").manual_seed(0)
    start = torch.randn(1, len(matrix), generator=generator, dtype=torch.float64).to(matrix)
    largest = largest_eigenvalue(lambda rows: (rows / scale) @ matrix / scale, start, steps=steps)
    slightest = largest_eigenvalue(lambda rows: torch.cholesky_solve((rows * scale).T, factor).T * scale, start, steps=steps)
    return float(largest * slightest)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Divide a by b, with 0 where a system is already solved (0 / 0)."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1), 0)


class DivergedError(ArithmeticError):
    """A stochastic solution grows without bound; who knows where the matrix came from must say why, and the cure."""


def largest_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Float[Tensor, "systems params"], *, steps: int
) -> Float[Tensor, " systems"]:
    """For each row's symmetric matrix, the largest |eigenvalue| as so many steps of the power method find it: never above it."""
    rows = start
    for _ in range(steps):
        rows = product(rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny))
    found: Tensor = rows.norm(dim=1)
    return found


def stochastic_solution(
    draw: Callable[[Float[Tensor, "systems params"]], Float[Tensor, "systems params"]],
    rhs: Float[Tensor, "systems params"],
    *,
    scale: float,
    depth: int,
) -> Float[Tensor, "systems params"]:
    """Solve matrix x = rhs for each row, where each call of `draw` multiplies by other unbiased estimates A_j of the matrix (LiSSA).

    x_j = x_(j-1) + (rhs - A_j x_(j-1)) / scale: a partial sum of the Neumann series (Agarwal et al. 2017, Algorithm 1; Koh and Liang 2017,
    section 3). What is left of the series falls as (1 - smallest eigenvalue / scale)^depth. The mean of the last half of the steps is
    given, whose noise is far lower than the last step's (Polyak and Juditsky 1992).

    Raises
    ------
    DivergedError
        If some x_j is longer than any series of matrices between 0 and 2 `scale` can be, (j + 1) |rhs| / scale, and as much again.
    """
    x = rhs / scale
    bound = 2 * rhs.norm(dim=1) / scale
    total = torch.zeros_like(x)
    for step in range(depth):
        x = x + (rhs - draw(x)) / scale
        if not bool((x.norm(dim=1) <= (step + 2) * bound).all()):
            raise DivergedError
        if step >= depth // 2:
            total += x
    return total / (depth - depth // 2)
