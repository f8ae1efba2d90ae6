"""Sums of S (x) f f^T over points, and their counterpart, f^T M f for each point: by halves, since both are symmetric twice over.

S of `augury.softmax` is a sum over pairs of classes c > e, S = sum p_c p_e (b_c - b_e) (b_c - b_e)^T with B's rows b: as many pairs as S
has numbers that differ, and weights of which no digits cancel where one class is nearly certain. f f^T is symmetric too: of the k^2 p^2
numbers of a point's term only those of a pair and i >= j differ, about a quarter. Either way is a product of matrices for a few i at a
time, with f_j (j <= i) as one factor and a row for each i and each pair in the other: k (k + 1) / 2 x p (p + 1) / 2 multiplications and
additions a point. Tiles of points keep what is formed on the way within the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

FEW = 100  # points of which all strips at once are as quick
STRIP = 24  # so many rows of a Hessian at once, or a sixteenth of all
HALVED = 3  # from so many class directions on, halves of all pairs together are quicker than a Gram matrix a pair
TILE_BYTES, TILE_ROWS = 6144, 192  # of a factor formed on the way: a row's bytes, and how many rows; 1.1 MiB
WASTE = 16  # strips of at most this share of the rows, since what a strip's square has above the diagonal is wasted


def lower_gram(f: Float[Tensor, "points params"], weights: Float[Tensor, " points"]) -> Float[Tensor, "params params"]:
    """On and below the diagonal, the sum of weights f f^T, strip by strip; what stands above it means nothing."""
    p, weighted = f.shape[1], f * weights[:, None]
    if len(f) < FEW:
        return f.T @ weighted
    step = max(STRIP, p // 16)
    found = f.new_zeros(p, p)
    for i in range(0, p, step):
        found[i : i + step, : i + step] = f[:, i : i + step].T @ weighted[:, : i + step]
    return found


def gram(f: Float[Tensor, "points params"], S: Float[Tensor, "points directions directions"]) -> Float[Tensor, "size size"]:
    """The sum of S (x) f f^T, differentiable: for few points or directions, and where gradients are wanted."""
    k, p = S.shape[1], f.shape[1]
    H = f.new_empty(k, p, k, p)
    for a in range(k):
        for b in range(a + 1):
            half = lower_gram(f, S[:, a, b])
            H[a, :, b] = H[b, :, a] = half.tril() + half.tril(-1).T
    return H.reshape(k * p, k * p)


@dataclass(frozen=True)
class _Layout:
    """So many symmetric matrices over the parameters i and j, of which the halves i >= j count, worked on in strips of i.

    Kept as one matrix with a row for each i and each of them, and a column for each j, or its transpose; the j above i mean nothing.
    """

    count: int
    params: int

    def strips(self) -> Iterator[tuple[slice, slice]]:
        """Consecutive i, and their rows of the matrix; j goes from 0 to the last i of a strip."""
        step = max(1, min(TILE_ROWS // self.count, self.params // WASTE))
        for start in range(0, self.params, step):
            stop = min(start + step, self.params)
            yield slice(start, stop), slice(start * self.count, stop * self.count)

    def buffer(self, f: Float[Tensor, "points params"]) -> Float[Tensor, " elements"]:
        """Room for a strip's rows, each as long as a tile of points."""
        return f.new_empty(max(TILE_ROWS, self.count) * min(len(f), _tile(f)))


def _tile(f: Float[Tensor, "points params"]) -> int:
    """How many points a tile has."""
    return TILE_BYTES // f.element_size()


def _tiles(f: Float[Tensor, "points params"]) -> Iterator[tuple[slice, Float[Tensor, "params tile"]]]:
    """Parts of the points, and the f of each as columns."""
    size = _tile(f)
    for start in range(0, len(f), size):
        part = slice(start, min(start + size, len(f)))
        yield part, f[part].T.contiguous()


class Grams:
    """The sums of t f f^T for several weights t at once, over parts of the points: n p^2 operations a weight, half of the plain sum's."""

    def __init__(self, count: int, params: int, like: Tensor) -> None:
        self._layout = _Layout(count, params)
        self._sums = like.new_zeros(params, params * count)  # a column for each i and weight: so the product is quick for few j, too

    def add(self, f: Float[Tensor, "points params"], weights: Float[Tensor, "points count"]) -> None:
        """Add some points."""
        buffer = self._layout.buffer(f)
        for part, columns in _tiles(f):
            t = weights[part].T.contiguous()
            for strip, rows in self._layout.strips():
                weighted = buffer[: (rows.stop - rows.start) * columns.shape[1]].view(-1, *t.shape)
                torch.mul(columns[strip, None], t, out=weighted)
                self._sums[: strip.stop, rows].addmm_(columns[: strip.stop], weighted.flatten(0, 1).T)

    def __getitem__(self, index: int) -> Float[Tensor, "params params"]:
        """The sum for one of the weights."""
        half = self._sums.view(self._layout.params, self._layout.params, -1)[:, :, index].T
        return half.tril() + half.tril(-1).T

    def row(self, i: int) -> Float[Tensor, "part count"]:
        """Of all weights, the sums of t f_i f_j for j = 0 to i."""
        return self._sums.view(self._layout.params, self._layout.params, -1)[: i + 1, i]


class HalfGram:
    """The sum of weights S (x) f f^T over parts of the points: n k (k + 1) p^2 / 2 operations, a quarter of the plain sum's."""

    def __init__(self, basis: Float[Tensor, "classes directions"], params: int, dtype: torch.dtype) -> None:
        self._basis, self.params = basis.to(dtype), params
        self._pairs = _pairs(len(basis))
        self._grams = Grams(self._pairs.shape[1], params, self._basis)

    def add(self, f: Float[Tensor, "points params"], p: Float[Tensor, "points classes"], weights: Float[Tensor, " points"]) -> None:
        """Add some points, p being their probabilities."""
        columns = p.T.contiguous()
        self._grams.add(f, (weights * columns[self._pairs[0]] * columns[self._pairs[1]]).T)

    def matrix(self) -> Float[Tensor, "size size"]:
        """The sum as a matrix: among classes the pairs' sums stand beside the diagonal, with a minus, and on it what makes rows vanish."""
        (classes, k), p, (c, e) = self._basis.shape, self.params, self._pairs
        H: Tensor = self._basis.new_empty((k, p, k, p))
        for i in range(p):
            between = self._basis.new_zeros(i + 1, classes, classes)
            between[:, c, e] = between[:, e, c] = -self._grams.row(i)
            between.diagonal(dim1=1, dim2=2).copy_(-between.sum(dim=2))
            part = self._basis.T @ between @ self._basis
            part = (part + part.mT) / 2  # also to the last bit
            H[:, i, :, : i + 1] = part.permute(1, 2, 0)
            H[:, : i + 1, :, i] = part.permute(1, 0, 2)
        return H.view(k * p, k * p)


class HalfForms:
    """f^T M f for points, with M = (b_c - b_e) along both directions of a symmetric matrix: n k (k + 1) p^2 / 2 operations for all pairs.

    Evaluated from M's elements: where M is an inverse and g^T M g cancels to far less than |M| |g|^2, digits are lost.
    """

    def __init__(self, M: Float[Tensor, "directions params directions params"], basis: Float[Tensor, "classes directions"]) -> None:
        self.basis, p = basis.to(M), M.shape[1]
        self._pairs = c, e = _pairs(len(basis))
        self._layout = _Layout(len(c), p)
        away = self.basis[c] - self.basis[e]
        self._elements = M.new_zeros(p, len(c), p)
        for i in range(p):
            once = (away @ M[:, i, :, : i + 1].flatten(1)).view(*away.shape, i + 1)
            self._elements[i, :, : i + 1] = 2 * torch.bmm(away[:, None], once)[:, 0]
            self._elements[i, :, i] /= 2
        self._elements = self._elements.flatten(0, 1)

    def of(self, f: Float[Tensor, "points params"]) -> Float[Tensor, "pairs points"]:
        """Of each pair of classes c > e, row by row of a lower triangle."""
        buffer, found = self._layout.buffer(f), f.new_zeros(self._layout.count, len(f))
        for part, columns in _tiles(f):
            total = f.new_zeros(len(found), columns.shape[1])
            for strip, rows in self._layout.strips():
                image = buffer[: (rows.stop - rows.start) * columns.shape[1]].view(-1, columns.shape[1])
                torch.mm(self._elements[rows, : strip.stop], columns[: strip.stop], out=image)
                for i, row in zip(range(strip.start, strip.stop), image.view(-1, *total.shape), strict=True):
                    total.addcmul_(columns[i], row)
            found[:, part] = total
        return found

    def products(self, values: Float[Tensor, "points classes"]) -> Float[Tensor, "pairs points"]:
        """v_c v_e of each pair.

        Times what `of` gives, and summed: minus the form of B^T v for v that sum to zero; for probabilities, the trace of A S, where A is
        the matrix over directions.
        """
        columns = values.T.contiguous()
        return columns[self._pairs[0]] * columns[self._pairs[1]]

    def matrices(self, forms: Float[Tensor, "pairs points"]) -> Float[Tensor, "points directions directions"]:
        """From what `of` gives, f^T M_ab f as a symmetric matrix over the directions a and b, for each point."""
        c, e = self._pairs
        between = forms.new_zeros(forms.shape[1], len(self.basis), len(self.basis))
        between[:, c, e] = between[:, e, c] = forms.T
        centred = torch.linalg.pinv(self.basis - self.basis.mean(dim=0))  # B^T where B's columns are orthonormal and sum to zero
        found: Tensor = centred @ between @ centred.T / -2
        return found


def _pairs(classes: int) -> Int[Tensor, "2 pairs"]:
    """All classes c > e."""
    return torch.tril_indices(classes, classes, -1)
