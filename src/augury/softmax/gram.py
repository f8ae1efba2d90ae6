"""Sums of S (x) f f^T over points, and their counterpart, f^T M_ab f for each point: by halves, since both are symmetric twice over.

S is symmetric, and so is f f^T: of the k^2 p^2 numbers of a point's term only those with a >= b and i >= j differ, about a quarter. Either
way is a product of matrices for a few i at a time, with f_j (j <= i) as one factor and a row for each i and each pair a >= b in the other:
k (k + 1) / 2 x p (p + 1) / 2 multiplications and additions a point. Tiles of points keep what is formed on the way within the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
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

    Kept as one matrix (params x count, params): a row for each i and each of them, a column for each j; those above i mean nothing.
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
        self._sums = like.new_zeros(params * count, params)

    def add(self, f: Float[Tensor, "points params"], weights: Float[Tensor, "points count"]) -> None:
        """Add some points."""
        buffer = self._layout.buffer(f)
        for part, columns in _tiles(f):
            t = weights[part].T.contiguous()
            for strip, rows in self._layout.strips():
                weighted = buffer[: (rows.stop - rows.start) * columns.shape[1]].view(-1, *t.shape)
                torch.mul(columns[strip, None], t, out=weighted)
                self._sums[rows, : strip.stop].addmm_(weighted.flatten(0, 1), columns[: strip.stop].T)

    def __getitem__(self, index: int) -> Float[Tensor, "params params"]:
        """The sum for one of the weights."""
        half = self._sums.view(self._layout.params, -1, self._layout.params)[:, index]
        return half.tril() + half.tril(-1).T


class HalfGram:
    """The sum of S (x) f f^T over parts of the points: n k (k + 1) p^2 / 2 operations, a quarter of the plain sum's."""

    def __init__(self, directions: int, params: int, like: Tensor) -> None:
        self.shape = directions, params
        self._pairs = torch.tril_indices(directions, directions)
        self._grams = Grams(self._pairs.shape[1], params, like)
        self._empty = like.new_empty

    def add(self, f: Float[Tensor, "points params"], S: Float[Tensor, "points directions directions"]) -> None:
        """Add some points."""
        self._grams.add(f, S[:, self._pairs[0], self._pairs[1]])

    def matrix(self) -> Float[Tensor, "size size"]:
        """The sum as a matrix."""
        k, p = self.shape
        H: Tensor = self._empty((k, p, k, p))
        for pair, (a, b) in enumerate(self._pairs.T.tolist()):
            H[a, :, b] = H[b, :, a] = self._grams[pair]
        return H.view(k * p, k * p)


class HalfForms:
    """f^T M_ab f for points and all pairs of directions a, b, of a symmetric M: n k (k + 1) p^2 / 2 operations.

    Evaluated from M's elements: where M is an inverse and g^T M g cancels to far less than |M| |g|^2, digits are lost.
    """

    def __init__(self, M: Float[Tensor, "directions params directions params"]) -> None:
        self.directions, p = M.shape[:2]
        self._pairs = torch.tril_indices(self.directions, self.directions)
        self._layout = _Layout(self._pairs.shape[1], p)
        self._elements = M.new_empty(p * self._layout.count, p)
        for pair, (a, b) in enumerate(self._pairs.T.tolist()):
            both = (M[a, :, b] + M[a, :, b].T).tril()
            both.diagonal().div_(2)
            self._elements.view(p, -1, p)[:, pair] = both

    def of(self, f: Float[Tensor, "points params"]) -> Float[Tensor, "pairs points"]:
        """For each pair a >= b, row by row of a lower triangle, f^T M_ab f."""
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

    def matrices(self, f: Float[Tensor, "points params"]) -> Float[Tensor, "points directions directions"]:
        """f^T M_ab f as a symmetric matrix over a and b, for each point."""
        a, b = self._pairs
        forms = self.of(f).T
        found = f.new_empty(len(f), self.directions, self.directions)
        found[:, a, b] = forms
        found[:, b, a] = forms
        return found
