"""Linear systems with a symmetric positive definite matrix: exact by Cholesky, or by conjugate gradients where no matrix fits in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


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
    if not (scale > 0).all():
        raise NotPositiveDefiniteError
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix / scale / scale[:, None])
    if failed or not factor.diagonal().square().min() > len(matrix) * torch.finfo(matrix.dtype).eps:
        raise NotPositiveDefiniteError
    return factor.mul_(scale[:, None])


@dataclass(frozen=True)
class IterativeSolution:
    """What conjugate gradients reached: the solutions and how well they solve.

    `residual` is the largest |matrix x - rhs| / |rhs| over the right-hand sides; `converged` says whether it is within the tolerance.
    """

    solution: Float[Tensor, "systems params"]
    residual: float
    iterations: int
    converged: bool


def conjugate_gradients(
    product: Callable[[Float[Tensor, "systems params"]], Float[Tensor, "systems params"]],
    rhs: Float[Tensor, "systems params"],
    diagonal: Float[Tensor, " params"],
    *,
    tol: float,
    max_iter: int,
) -> IterativeSolution:
    """Solve matrix x = rhs for each row of `rhs` at once, given the matrix's `product` with such rows and its `diagonal`.

    Preconditioned by the diagonal (Hestenes and Stiefel 1952; Jacobi). Each iteration costs one product; memory is four times `rhs`.
    """
    diagonal = diagonal.clamp(min=diagonal.max() * torch.finfo(diagonal.dtype).eps)
    scale = rhs.norm(dim=1, keepdim=True)
    scale = torch.where(scale > 0, scale, 1)
    x = torch.zeros_like(rhs)
    residual = rhs.clone()
    preconditioned = residual / diagonal
    direction = preconditioned.clone()
    rho = (residual * preconditioned).sum(1, keepdim=True)
    iterations = 0
    while iterations < max_iter and (residual.norm(dim=1, keepdim=True) / scale).max() > tol:
        image = product(direction)
        alpha = _ratio(rho, (direction * image).sum(1, keepdim=True))
        x += alpha * direction
        residual -= alpha * image
        preconditioned = residual / diagonal
        previous, rho = rho, (residual * preconditioned).sum(1, keepdim=True)
        direction = preconditioned + _ratio(rho, previous) * direction
        iterations += 1
    reached = float(((product(x) - rhs).norm(dim=1, keepdim=True) / scale).max())
    return IterativeSolution(x, reached, iterations, converged=reached <= 10 * tol)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Divide a by b, with 0 where a system is already solved (0 / 0)."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1), 0)
