"""The softmax Hessian's blocks on its diagonal, a class each, for heads so large that the Hessian itself fits nowhere.

In class space the Hessian has the blocks G_c = sum_i w_i p_ic (1 - p_ic) f_i f_i^T + lam I on its diagonal. With many classes most of it
lies there, since p_ic p_ie is small for c other than e. The inverse of the blocks along the contrasts, B^T diag(G_c^-1) B, stands for the
Hessian's inverse. In single precision, which is enough for a preconditioner.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from augury.softmax.gram import Grams

LIFT = 1e-6  # added to the diagonal of a block scaled to ones, so that single precision can factor it


@dataclass(frozen=True)
class ClassBlocks:
    """The inverses of the blocks: vectors are rows, flattened like V (see `augury.softmax`)."""

    inverses: Float[Tensor, "classes params params"]
    basis: Float[Tensor, "classes directions"]

    def solve(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """The blocks' inverse times each row: 2 C (d + 1)^2 operations a row."""
        W = self.basis @ rows.reshape(len(rows), -1, self.inverses.shape[1])
        solved = torch.bmm(W.transpose(0, 1).to(self.inverses), self.inverses).to(rows)
        return (self.basis.T @ solved.transpose(0, 1)).reshape(rows.shape)

    def quadratic(self, f: Float[Tensor, "points params"], r: Float[Tensor, "points directions"]) -> Float[Tensor, " points"]:
        """g^T P^-1 g for g = r (x) f: 2 C (d + 1)^2 operations a point."""
        squares = (r @ self.basis.T).square()
        single, total = f.to(self.inverses), f.new_zeros(len(f))
        for c, inverse in enumerate(self.inverses):
            total += squares[:, c] * ((single @ inverse) * single).sum(1)
        return total


def class_blocks(
    points: Iterable[tuple[Float[Tensor, "part params"], Float[Tensor, "part classes"], Float[Tensor, " part"]]],
    basis: Float[Tensor, "classes directions"],
    penalty: float,
) -> ClassBlocks:
    """The blocks from parts of f, probabilities and weights: n C (d + 1)^2 operations, and C (d + 1)^3 for the inverses."""
    grams: Grams | None = None
    for f, p, w in points:
        grams = grams or Grams(len(basis), f.shape[1], f.new_empty(0, dtype=torch.float32))
        grams.add(f.to(torch.float32), (w[:, None] * p * (1 - p)).to(torch.float32))
    assert grams is not None
    return ClassBlocks(torch.stack([_inverse(grams[c], penalty) for c in range(len(basis))]), basis)


def _inverse(block: Float[Tensor, "params params"], penalty: float) -> Float[Tensor, "params params"]:
    """The inverse of one block with its penalty, through a diagonal of ones."""
    block.diagonal().add_(penalty).clamp_(min=torch.finfo(block.dtype).tiny)
    scale = block.diagonal().sqrt()
    scaled = block / scale / scale[:, None]
    scaled.diagonal().add_(LIFT)
    factor, failed = torch.linalg.cholesky_ex(scaled)
    if failed:
        return torch.diag(1 / scale.square())
    inverse: Tensor = torch.cholesky_inverse(factor) / scale / scale[:, None]
    return inverse
