"""A Kronecker product close to the softmax Hessian, for heads so large that the Hessian itself fits nowhere.

H = sum_i w_i S_i (x) f_i f_i^T + lam D is a sum of Kronecker products; one product S (x) G stands for the sum where the points' spreads S_i
and their features tell little about each other. G = sum_i w_i tr(S_i) f_i f_i^T counts a point as much as its loss bends, and S is the
weighted mean of S_i / tr(S_i) on the same scale, so that traces agree (as with K-FAC, Martens and Grosse 2015, section 3, whose factors are
not weighted). The penalty is added to the product's eigenvalues, also the intercept's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Kronecker:
    """P = (Q (x) U) diag(eigenvalues) (Q (x) U)^T, orthogonal Q and U: vectors are rows, flattened like V."""

    Q: Float[Tensor, "directions directions"]
    U: Float[Tensor, "params params"]
    eigenvalues: Float[Tensor, "directions params"]

    def solve(self, rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """P^-1 times each row: 4 size (directions + params) operations a row."""
        inner = self.Q.T @ rows.reshape(-1, *self.eigenvalues.shape) @ self.U
        return (self.Q @ (inner / self.eigenvalues) @ self.U.T).reshape(rows.shape)

    def quadratic(self, f: Float[Tensor, "points params"], r: Float[Tensor, "points directions"]) -> Float[Tensor, " points"]:
        """g^T P^-1 g for g = r (x) f: 2 size operations a point."""
        return ((f @ self.U).square() @ (1 / self.eigenvalues).T * (r @ self.Q).square()).sum(1)


def kronecker(
    blocks: Iterable[tuple[Float[Tensor, "part params"], Float[Tensor, "part classes"], Float[Tensor, " part"]]],
    basis: Float[Tensor, "classes directions"],
    penalty: float,
) -> Kronecker:
    """The approximation from blocks of f, probabilities and weights: n (d + 1)^2 + n C^2 operations, and some d^3 + C^3."""
    G: Tensor | float = 0.0
    spread: Tensor | float = 0.0
    for f, p, w in blocks:
        bend = w * (1 - p.square().sum(1)).clamp(min=0)
        G = G + (f * bend[:, None]).T @ f
        weighted = p * w[:, None]
        spread = spread + weighted.sum(0).diag() - weighted.T @ p
    assert isinstance(G, Tensor)
    assert isinstance(spread, Tensor)
    S = basis.T @ spread @ basis / spread.trace().clamp(min=torch.finfo(G.dtype).tiny)
    sigma, Q = torch.linalg.eigh(S)
    gamma, U = torch.linalg.eigh(G)
    eigenvalues = torch.outer(sigma.clamp(min=0), gamma.clamp(min=0)) + penalty
    return Kronecker(Q, U, eigenvalues.clamp(min=torch.finfo(G.dtype).eps * float(eigenvalues.max())))
