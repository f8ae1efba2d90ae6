"""Softmax regression as mathematics on tensors: class scores, loss, gradient and Hessian of one weighted, penalised problem.

Class scores are B V f with f = [features, 1]. B (classes x directions) is a fixed contrast that takes out the direction in which all scores
rise together and no probability changes, and V (directions x features + 1) is what is fitted:

- two classes: B = (0, 1)^T, so that V is logistic regression's one weight vector;
- more classes: B's C - 1 columns are orthonormal and sum to zero, so that |V|^2 = |B V|^2, and the minimum of the symmetric, penalised
  softmax is found exactly, with (C - 1) (d + 1) parameters and a Hessian that is positive definite wherever the problem has one minimum.

The objective is J(V) = sum_i w_i l_i + (lam / 2) |V without the intercepts|^2 with l_i = -log p_i[y_i]. With r_i = B^T (p_i - y_i) and
S_i = B^T (diag(p_i) - p_i p_i^T) B, the gradient is sum_i w_i r_i (x) f_i + lam D V and the Hessian sum_i w_i S_i (x) f_i f_i^T + lam D.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

FAR = 16  # so many standard deviations from zero
FEW = 100  # points of which all strips at once are as quick
STRIP = 24  # so many rows of a Hessian at once, or a sixteenth of all
BLOCK_ELEMENTS = 1 << 21  # 16 MiB of float64: what one pass over a block of points may hold of the design matrix


def blocks_of(points: int, width: int) -> Iterator[slice]:
    """Consecutive parts of so many points, each of about `BLOCK_ELEMENTS` numbers at `width` numbers a point."""
    step = max(1, BLOCK_ELEMENTS // width)
    return (slice(start, start + step) for start in range(0, points, step))


def contrast(classes: int, like: Tensor) -> Float[Tensor, "classes directions"]:
    """B: for two classes (0, 1)^T, else Helmert's orthonormal contrasts, in the type and on the device of `like`."""
    if classes == 2:
        return like.new_tensor([[0.0], [1.0]])
    basis = like.new_zeros(classes, classes - 1)
    for j in range(1, classes):
        basis[:j, j - 1] = 1 / math.sqrt(j * (j + 1))
        basis[j, j - 1] = -j / math.sqrt(j * (j + 1))
    return basis


def design(features: Float[Tensor, "points features"]) -> Float[Tensor, "points params"]:
    """The design matrix: f = [features, 1] for each point."""
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def project(X: Float[Tensor, "points features"], rows: Float[Tensor, "rows params"]) -> Float[Tensor, "points rows"]:
    """Each point's f = [x, 1] along each of `rows`, without forming the design matrix."""
    return torch.addmm(rows[:, -1], X, rows[:, :-1].T)


def collect(values: Float[Tensor, "points rows"], X: Float[Tensor, "points features"]) -> Float[Tensor, "rows params"]:
    """The sum over points of `values` times f = [x, 1], the transpose of `project`."""
    return torch.cat([values.T @ X, values.sum(dim=0)[:, None]], dim=1)


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
    """The sum of S (x) f f^T: n k (k + 1) p^2 operations, half of its blocks, and of each block, being computed once for two."""
    k, p = S.shape[1], f.shape[1]
    H = f.new_empty(k, p, k, p)
    for a in range(k):
        for b in range(a + 1):
            half = lower_gram(f, S[:, a, b])
            H[a, :, b] = H[b, :, a] = half.tril() + half.tril(-1).T
    return H.reshape(k * p, k * p)


def point_losses(scores: Float[Tensor, "points classes"], labels: Int[Tensor, " points"]) -> Float[Tensor, " points"]:
    """-log p[y], in nats, to full relative precision also where p[y] is close to 1."""
    others = (scores - scores.gather(1, labels[:, None])).scatter(1, labels[:, None], -torch.inf)
    rest = torch.logsumexp(others, dim=1)
    return torch.logaddexp(torch.zeros_like(rest), rest)


def residuals(scores: Float[Tensor, "points classes"], labels: Int[Tensor, " points"]) -> Float[Tensor, "points classes"]:
    """Gradient of the loss in the class scores, p - y, to full relative precision also where p[y] is close to 1."""
    p = torch.softmax(scores, dim=1).scatter(1, labels[:, None], 0)
    return p.scatter(1, labels[:, None], -p.sum(dim=1, keepdim=True))


def spreads(
    scores: Float[Tensor, "points classes"], basis: Float[Tensor, "classes directions"]
) -> Float[Tensor, "points directions directions"]:
    """S = B^T (diag(p) - p p^T) B, the loss's Hessian in the class scores, along the contrasts.

    Computed as the covariance of B's rows under p, which is never indefinite and keeps its digits where one class is nearly certain.
    """
    p = torch.softmax(scores, dim=1)
    centred = basis - (p @ basis)[:, None, :]
    return (p[:, :, None] * centred).transpose(1, 2) @ centred


class Local(NamedTuple):
    """Of some points: the losses -log p[y], and r = B^T (p - y), at the scores z along the directions."""

    losses: Float[Tensor, " points"]
    r: Float[Tensor, "points directions"]
    z: Float[Tensor, "points directions"]


def local(
    z: Float[Tensor, "points directions"],
    labels: Int[Tensor, " points"],
    basis: Float[Tensor, "classes directions"],
    away: Float[Tensor, "points 1"] | None = None,
) -> Local:
    """Losses and residuals at the scores z, to full relative precision; with two classes by a short way, from `sides` if at hand."""
    if z.shape[1] > 1:
        return Local(point_losses(z @ basis.T, labels), slopes(z, labels, basis), z)
    away = sides(labels, z) if away is None else away
    margins = away * z
    return Local(softplus(margins, threshold=50)[:, 0], away * torch.sigmoid(margins), z)


def slopes(
    z: Float[Tensor, "points directions"], labels: Int[Tensor, " points"], basis: Float[Tensor, "classes directions"]
) -> Float[Tensor, "points directions"]:
    """The residuals r alone."""
    if z.shape[1] > 1:
        return residuals(z @ basis.T, labels) @ basis
    away = sides(labels, z)
    return away * torch.sigmoid(away * z)


def sides(labels: Int[Tensor, " points"], like: Tensor) -> Float[Tensor, "points 1"]:
    """Of two classes: 1 where a higher score is a higher loss, else -1, in the type of `like`."""
    return 1 - 2 * labels[:, None].to(like)


def spread(
    z: Float[Tensor, "points directions"], basis: Float[Tensor, "classes directions"]
) -> Float[Tensor, "points directions directions"]:
    """S, the loss's Hessian along the directions, at the scores z."""
    if z.shape[1] > 1:
        return spreads(z @ basis.T, basis)
    return (torch.sigmoid(z) * torch.sigmoid(-z))[:, :, None]


def offset(features: Float[Tensor, "points features"]) -> Float[Tensor, " features"] | None:
    """The features' means, if some feature lies far from zero for its spread; else None.

    Such features are nearly collinear with the intercept, which costs digits, and conjugate gradients their speed. Since the intercept is
    free, fitting features less their means is the same problem.
    """
    equal = features.new_full((len(features),), 1 / len(features))
    mean = equal @ features  # a product of matrices is several times faster than `mean`, or `std`
    if not bool((mean.abs() > 1).any()):
        return None
    spread = (equal @ features.square() - mean.square()).clamp(min=0).sqrt()  # what cancels is far all the same
    return mean if bool((mean.abs() > FAR * spread + 1).any()) else None


@dataclass(frozen=True)
class SoftmaxProblem:
    """The weighted, penalised problem over one set of points.

    Parameters
    ----------
    features
        (points, features), float64 where exactness matters.
    labels
        (points,) integers from 0 to `classes` - 1.
    weights
        (points,) not negative.
    classes
        Number of classes, at least 2.
    penalty
        lam = 1 / C, in sum form; 0: no penalty.
    shift
        What is subtracted from every point's features (see `offset`), block by block; None: nothing.
    """

    features: Float[Tensor, "points features"]
    labels: Int[Tensor, " points"]
    weights: Float[Tensor, " points"]
    classes: int
    penalty: float
    shift: Float[Tensor, " features"] | None = None

    @cached_property
    def basis(self) -> Float[Tensor, "classes directions"]:
        """B, the contrast."""
        return contrast(self.classes, self.features)

    @cached_property
    def _away(self) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"]]:
        """Of two classes: 1 where a higher score is a higher loss, else -1; and the same times the weights."""
        away = sides(self.labels, self.weights)[:, 0]
        return away, away * self.weights

    @cached_property
    def _ridge(self) -> Float[Tensor, " params"]:
        """The penalty lam of each of V's columns: the intercepts, in the last one, are free."""
        ridge = self.features.new_full((self.shape[1],), self.penalty)
        ridge[-1] = 0
        return ridge

    @property
    def _whole(self) -> bool:
        """Whether one block holds all points."""
        return len(self.features) * self.shape[1] <= BLOCK_ELEMENTS

    @cached_property
    def _design(self) -> Float[Tensor, "points params"]:
        """The design matrix of all points, kept where they are one block."""
        return design(self.rows(slice(None)))

    def single(self) -> SoftmaxProblem | None:
        """The same in single precision, if one block holds all points."""
        if not self._whole:
            return None
        X, w = self.rows(slice(None)).to(torch.float32), self.weights.to(torch.float32)
        return SoftmaxProblem(X, self.labels, w, self.classes, self.penalty)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of V: directions, features + 1."""
        return self.classes - 1, self.features.shape[1] + 1

    def parts(self, width: int = 0) -> Iterator[slice]:
        """Consecutive parts of the points, so that memory does not grow with their number.

        A point counts for its features and class scores, or for `width` numbers if these are more.
        """
        return blocks_of(len(self.features), max(self.shape[1], self.classes, width))

    def blocks(self, width: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Features, labels and weights of one part after another."""
        return ((self.rows(part), self.labels[part], self.weights[part]) for part in self.parts(width))

    def rows(self, part: slice) -> Float[Tensor, "part features"]:
        """The features of one part, shifted."""
        return self.features[part] if self.shift is None else self.features[part] - self.shift

    def evaluate(self, V: Float[Tensor, "directions params"]) -> tuple[float, Float[Tensor, "directions params"]]:
        """J(V) and dJ/dV, by one pass over the points."""
        if self.classes == 2 and self._whole:
            return self._evaluate_two(V)
        total, g = self._penalty(V), self._penalised(V)
        for X, labels, w in self.blocks():
            found = local(project(X, V), labels, self.basis)
            total = total + w @ found.losses
            g += collect(w[:, None] * found.r, X)
        return float(total.detach()), g

    def _evaluate_two(self, V: Float[Tensor, "1 params"]) -> tuple[float, Float[Tensor, "1 params"]]:
        """The same for two classes and one block, in as few operations as there can be."""
        away, away_weighted = self._away
        margins, image = away * torch.mv(self._design, V[0]), self._ridge * V[0]
        value = torch.dot(self.weights, softplus(margins, threshold=50)) + torch.dot(image, V[0]) / 2
        return float(value.detach()), torch.addmv(image, self._design.T, away_weighted * torch.sigmoid(margins))[None]

    def objective(self, V: Float[Tensor, "directions params"]) -> float:
        """J(V)."""
        return self.evaluate(V)[0]

    def gradient(self, V: Float[Tensor, "directions params"]) -> Float[Tensor, "directions params"]:
        """dJ/dV."""
        return self.evaluate(V)[1]

    def hessian(self, V: Float[Tensor, "directions params"], dtype: torch.dtype | None = None) -> Float[Tensor, "size size"]:
        """The dense Hessian of J in the flattened V: n (C - 1) C (d + 1)^2 operations.

        `dtype`: in which the products are formed, V's own unless given; in single precision they take half the time.
        """
        H = torch.diag(self._ridge.repeat(self.shape[0])).to(dtype or V.dtype)
        for part in self.parts(width=self.classes * self.shape[0]):
            f = self._design if self._whole else design(self.rows(part))
            S = spread(f[part] @ V.T if self._whole else f @ V.T, self.basis) * self.weights[part, None, None]
            H = H + gram((f[part] if self._whole else f).to(H.dtype), S.to(H.dtype))
        return H

    def hessian_product(self, V: Float[Tensor, "directions params"], rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """The Hessian times each of `rows` (flattened like V), without forming it; see `hessian_operator`."""
        return self.hessian_operator(V)(rows)

    def hessian_operator(self, V: Float[Tensor, "directions params"]) -> Callable[[Tensor], Tensor]:
        """The function that multiplies rows by the Hessian at V, without forming it: 4 n (C - 1) (d + 1) operations a row.

        The points' probabilities are computed once and kept: n C numbers.
        """
        probabilities = torch.cat([torch.softmax(project(X, V) @ self.basis.T, dim=1) for X, _, _ in self.blocks()])

        def multiply(rows: Tensor) -> Tensor:
            U = rows.reshape(-1, self.shape[1])
            image = self._penalised(U)
            for part in self.parts(width=self.classes * len(rows)):
                X, p = self.rows(part), probabilities[part, None, :]
                moved = p * (project(X, U).reshape(len(X), len(rows), -1) @ self.basis.T)
                moved -= p * moved.sum(dim=2, keepdim=True)
                image += collect((self.weights[part, None, None] * (moved @ self.basis)).flatten(1), X)
            return image.reshape(rows.shape)

        return multiply

    def hessian_diagonal(self, V: Float[Tensor, "directions params"]) -> Float[Tensor, " size"]:
        """The Hessian's diagonal, in the order of the flattened V."""
        diagonal = self._penalised(torch.ones_like(V))
        for X, _, w in self.blocks():
            p = torch.softmax(project(X, V) @ self.basis.T, dim=1)
            diagonal += collect(w[:, None] * (p @ self.basis.square() - (p @ self.basis).square()), X.square())
        return diagonal.flatten()

    def _penalty(self, V: Float[Tensor, "directions params"]) -> Float[Tensor, ""]:
        """The penalty (lam / 2) |V without the intercepts|^2."""
        return self.penalty / 2 * V[:, :-1].square().sum()

    def _penalised(self, U: Float[Tensor, "rows params"]) -> Float[Tensor, "rows params"]:
        """The penalty's gradient, lam D U."""
        return self._ridge * U
