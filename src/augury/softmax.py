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


def local(z: Float[Tensor, "points directions"], labels: Int[Tensor, " points"], basis: Float[Tensor, "classes directions"]) -> Local:
    """Losses and residuals at the scores z, to full relative precision; with two classes by a short way."""
    if z.shape[1] > 1:
        return Local(point_losses(z @ basis.T, labels), slopes(z, labels, basis), z)
    return Local(softplus(_away(labels, z) * z, threshold=50)[:, 0], slopes(z, labels, basis), z)


def slopes(
    z: Float[Tensor, "points directions"], labels: Int[Tensor, " points"], basis: Float[Tensor, "classes directions"]
) -> Float[Tensor, "points directions"]:
    """The residuals r alone."""
    if z.shape[1] > 1:
        return residuals(z @ basis.T, labels) @ basis
    away = _away(labels, z)
    return away * torch.sigmoid(away * z)


def _away(labels: Tensor, z: Tensor) -> Float[Tensor, "points 1"]:
    """1 where a higher score is a higher loss, else -1."""
    return 1 - 2 * labels[:, None].to(z)


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
    mean = features.new_ones(len(features)) @ features / len(features)  # a product of matrices is several times faster than `mean`
    far = torch.nonzero(mean.abs() > 1)[:, 0]
    if len(far) == 0:
        return None
    spread = torch.std(features[:, far], dim=0, correction=0)
    return mean if bool((mean[far].abs() > FAR * spread + 1).any()) else None


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
    def _single_design(self) -> Float[Tensor, "points params"]:
        """The design matrix in single precision, kept where one block holds all points."""
        return design(self.rows(slice(None)).to(torch.float32))

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
        total, g = self._penalty(V), self._penalised(V)
        for X, labels, w in self.blocks():
            found = local(project(X, V), labels, self.basis)
            total = total + w @ found.losses
            g += collect(w[:, None] * found.r, X)
        return float(total), g

    def objective(self, V: Float[Tensor, "directions params"]) -> float:
        """J(V)."""
        total = self._penalty(V)
        for X, labels, w in self.blocks():
            total = total + w @ local(project(X, V), labels, self.basis).losses
        return float(total)

    def gradient(self, V: Float[Tensor, "directions params"]) -> Float[Tensor, "directions params"]:
        """dJ/dV."""
        g = self._penalised(V)
        for X, labels, w in self.blocks():
            g += collect(w[:, None] * slopes(project(X, V), labels, self.basis), X)
        return g

    def hessian(self, V: Float[Tensor, "directions params"], dtype: torch.dtype | None = None) -> Float[Tensor, "size size"]:
        """The dense Hessian of J in the flattened V: n (C - 1) C (d + 1)^2 operations, half of its blocks being computed once for two.

        `dtype`: in which the products are formed, V's own unless given; in single precision they take half the time.
        """
        k, p = self.shape
        H = V.new_zeros(k, p, k, p, dtype=dtype)
        for X, _, w in self.blocks(width=self.classes * k):
            f = self._single_design if dtype == torch.float32 and len(X) == len(self.features) else design(X).to(H.dtype)
            S = (spread(project(X, V), self.basis) * w[:, None, None]).to(H.dtype)
            for a in range(k):
                for b in range(a + 1):
                    H[a, :, b] += (f * S[:, a, b, None]).T @ f
        for a in range(k):
            for b in range(a):
                H[b, :, a] = H[a, :, b].T
            H[a, :, a].diagonal()[:-1].add_(self.penalty)
        return H.reshape(k * p, k * p)

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
        """The penalty's gradient lam D U: the intercepts, in the last column, are free."""
        image = self.penalty * U
        image[:, -1] = 0
        return image
