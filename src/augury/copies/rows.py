"""Every row that matters while copies join, in one table: training points, candidates, and the target's points if these are others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from augury.copies.pool import CopyPool
from augury.curvature import FittedHead, PointSet
from augury.softmax import blocks_of, slopes, spread
from augury.softmax.gram import FEW, HALVED, HalfGram, gram
from augury.softmax.pointwise import sides

GLANCE = 64  # rows that show most features that are in use


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows as a head sees them: f = [x, 1] in one precision, with only those features that some training point or candidate has.

    Parameters
    ----------
    f
        (rows, params) the training points first, then the candidates, then a target of other points.
    labels
        (rows,) indices of classes.
    used
        (params,) which of the head's columns are in f; the others are zero for every training point and candidate and change nothing.
    originals, own
        How many training points there are, and how many training points and candidates.
    aim
        The target's rows.
    shares
        (aimed,) what each of them counts for, float64, summing to 1.
    basis
        B of `augury.softmax`, in the precision of f.
    sides
        Of two classes: 1 where a higher score is a higher loss, else -1.
    """

    f: Float[Tensor, "rows params"]
    labels: Int[Tensor, " rows"]
    used: Int[Tensor, " params"]
    originals: int
    own: int
    aim: slice
    shares: Float[Tensor, " aimed"]
    basis: Float[Tensor, "classes directions"]
    sides: Float[Tensor, "rows 1"] | None

    @classmethod
    def of(cls, state: FittedHead, pool: CopyPool, target: PointSet | None, stands_for: float, dtype: torch.dtype) -> Rows:
        """All rows; without a target it is training points and candidates, each candidate counting for `stands_for`."""
        own = (state.points, pool.points)
        sets = own if target is None else (*own, target)
        weights = torch.cat([own[0].weights, own[1].weights * stands_for]) if target is None else target.weights
        f, labels = _designs(sets, dtype), torch.cat([points.labels for points in sets])
        end = len(own[0].labels) + len(pool)
        used = _used(f[:end])
        f = f if len(used) == f.shape[1] else f[:, used]
        basis = state.problem.basis.to(dtype)
        two = sides(labels, f) if len(basis) == 2 else None
        aim = slice(0, end) if target is None else slice(end, len(labels))
        return cls(f, labels, used, len(own[0].labels), end, aim, weights / weights.sum(), basis, two)

    def scores(self, V: Float[Tensor, "directions params"]) -> Float[Tensor, "rows directions"]:
        """The class scores' contrasts at the parameters V."""
        return self.f @ V.to(self.f).T

    def slopes(self, z: Float[Tensor, "rows directions"]) -> Float[Tensor, "rows directions"]:
        """The residuals r of all rows at the scores z."""
        return slopes(z, self.labels, self.basis) if self.sides is None else self.sides * torch.sigmoid(self.sides * z)

    def total(
        self, r: Float[Tensor, "part directions"], weights: Float[Tensor, " part"], part: slice
    ) -> Float[Tensor, "directions params"]:
        """The sum of weights r (x) f over some rows, in double precision."""
        return ((weights[:, None] * r).T @ self.f[part]).to(torch.float64)

    def hessian(
        self, z: Float[Tensor, "rows directions"], chosen: Int[Tensor, " some"], weights: Float[Tensor, " some"] | None, dtype: torch.dtype
    ) -> Float[Tensor, "size size"]:
        """The sum of (weights) S (x) f f^T over some rows at the scores z, its products formed in `dtype`."""
        if len(chosen) < FEW and z.shape[1] == 1:
            return self._hessian_of_few(z[chosen], chosen, weights, dtype)
        k, p = z.shape[1], self.f.shape[1]
        if k < HALVED:
            found = self.f.new_zeros(k * p, k * p, dtype=torch.float64)
            for f, some, w in self._parts(z, chosen, weights, dtype):
                found += gram(f, spread(some, self.basis.to(dtype)) * w[:, None, None])  # rounded only to dtype, or it could be indefinite
            return found
        total = HalfGram(self.basis, p, dtype)
        for f, some, w in self._parts(z, chosen, weights, dtype):
            total.add(f, torch.softmax(some @ self.basis.to(dtype).T, dim=1), w)
        return total.matrix().to(torch.float64)

    def _parts(self, z: Tensor, chosen: Tensor, weights: Tensor | None, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of some rows f, z and weights (1 where there are none), block by block."""
        for part in blocks_of(len(chosen), max(self.f.shape[1], len(self.basis) * z.shape[1])):
            rows = chosen[part]
            yield self.f[rows].to(dtype), z[rows].to(dtype), (torch.ones_like(z[rows, 0]) if weights is None else weights[part]).to(dtype)

    def _hessian_of_few(self, z: Tensor, chosen: Tensor, weights: Tensor | None, dtype: torch.dtype) -> Float[Tensor, "params params"]:
        """The same with two classes, in few operations."""
        f, S = self.f[chosen].to(dtype), torch.sigmoid(z.to(dtype)) * torch.sigmoid(-z.to(dtype))
        return (f.T @ (f * (S if weights is None else S * weights[:, None].to(dtype)))).to(torch.float64)


def _designs(sets: tuple[PointSet, ...], dtype: torch.dtype) -> Float[Tensor, "rows params"]:
    """[x, 1] of all points of some sets, one after the other."""
    first = sets[0].features
    f = first.new_ones(sum(len(points.labels) for points in sets), first.shape[1] + 1, dtype=dtype)
    start = 0
    for points in sets:
        for part in points.blocks(first.shape[1]):
            f[start : start + len(part.labels), :-1] = part.features
            start += len(part.labels)
    return f


def _used(f: Float[Tensor, "rows params"]) -> Int[Tensor, " used"]:
    """The columns that are not zero in every row."""
    doubtful = torch.nonzero((f[:GLANCE] == 0).all(dim=0))[:, 0]
    found = torch.ones(f.shape[1], dtype=torch.bool, device=f.device)
    if len(doubtful):
        found[doubtful] = (f[:, doubtful] != 0).any(dim=0)
    return torch.nonzero(found)[:, 0]
