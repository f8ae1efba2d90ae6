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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from augury.softmax.blocks import ClassBlocks, class_blocks
from augury.softmax.gram import HALVED, HalfForms, HalfGram, gram
from augury.softmax.kronecker import Kronecker, kronecker
from augury.softmax.layout import collect, contrast, design, offset, project
from augury.softmax.pointwise import Local, local, misses, point_losses, residuals, sides, slopes, spread, spreads

__all__ = [
    "HALVED",
    "ClassBlocks",
    "HalfForms",
    "Kronecker",
    "Local",
    "SoftmaxProblem",
    "blocks_of",
    "class_blocks",
    "collect",
    "contrast",
    "design",
    "kronecker",
    "local",
    "misses",
    "offset",
    "point_losses",
    "project",
    "residuals",
    "slopes",
    "spread",
    "spreads",
]

BLOCKS, WIDE = 1 << 28, 1024  # numbers in all blocks of a preconditioner, 1 GiB of float32, and rows of each
BLOCK_ELEMENTS = 1 << 21  # 16 MiB of float64: what one pass over a block of points may hold of the design matrix


def blocks_of(points: int, width: int) -> Iterator[slice]:
    """Consecutive parts of so many points, each of about `BLOCK_ELEMENTS` numbers at `width` numbers a point."""
    step = max(1, BLOCK_ELEMENTS // width)
    return (slice(start, start + step) for start in range(0, points, step))


Probabilities = Float[Tensor, "points classes"]


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
        total, W = self._penalty(V), self._of_classes(V)
        g = torch.zeros_like(W)
        for X, labels, w in self.blocks():
            scores = project(X, W)
            total = total + w @ point_losses(scores, labels)
            g += collect(w[:, None] * residuals(scores, labels), X)
        return float(total.detach()), self._penalised(V) + self.basis.T @ g

    def _of_classes(self, rows: Float[Tensor, "*systems params"]) -> Float[Tensor, "*classes params"]:
        """B V, a row a class, for one V or several: a point's products with these cost less than its products with V and then with B."""
        return self.basis @ rows

    def _evaluate_two(self, V: Float[Tensor, "1 params"]) -> tuple[float, Float[Tensor, "1 params"]]:
        """The same for two classes and one block, in as few operations as there can be."""
        away, away_weighted = self._away
        margins, image = away * torch.mv(self._design, V[0]), self._ridge * V[0]
        value = torch.dot(self.weights, softplus(margins, threshold=50)) + torch.dot(image, V[0]) / 2
        return float(value.detach()), torch.addmv(image, self._design.T, away_weighted * torch.sigmoid(margins))[None]

    def objective(self, V: Float[Tensor, "directions params"]) -> float:
        """J(V)."""
        return self.evaluate(V)[0]

    def probabilities(self, V: Float[Tensor, "directions params"]) -> Float[Tensor, "points classes"]:
        """Those of all points; whatever asks for them too can be given them, which saves it a pass over the points."""
        W = self._of_classes(V)
        return torch.cat([torch.softmax(project(X, W), dim=1) for X, _, _ in self.blocks()])

    def gradient(
        self, V: Float[Tensor, "directions params"], probabilities: Probabilities | None = None
    ) -> Float[Tensor, "directions params"]:
        """dJ/dV; `probabilities`: at V, where they are known."""
        if probabilities is None:
            return self.evaluate(V)[1]
        g = torch.zeros_like(self._of_classes(V))
        for part in self.parts():
            g += collect(self.weights[part, None] * misses(probabilities[part], self.labels[part]), self.rows(part))
        return self._penalised(V) + self.basis.T @ g

    def hessian(
        self, V: Float[Tensor, "directions params"], dtype: torch.dtype | None = None, probabilities: Probabilities | None = None
    ) -> Float[Tensor, "size size"]:
        """The dense Hessian of J in the flattened V: n (C - 1) C (d + 1)^2 / 2 operations.

        `dtype`: in which the products are formed, V's own unless given; in single precision they take half the time. `probabilities`: at
        V, where they are known.
        """
        k = self.shape[0]
        if k >= HALVED and not (torch.is_grad_enabled() and (V.requires_grad or self.features.requires_grad)):
            H = self._hessian_by_halves(V, dtype or V.dtype, probabilities)
            H.diagonal().add_(self._ridge.repeat(k).to(H))
            return H
        H = torch.diag(self._ridge.repeat(k)).to(dtype or V.dtype)
        for part in self.parts(width=self.classes * k):
            f = self._design if self._whole else design(self.rows(part))
            S = spread(f[part] @ V.T if self._whole else f @ V.T, self.basis) * self.weights[part, None, None]
            H = H + gram((f[part] if self._whole else f).to(H.dtype), S.to(H.dtype))
        return H

    def _hessian_by_halves(self, V: Tensor, dtype: torch.dtype, probabilities: Probabilities | None) -> Float[Tensor, "size size"]:
        """The same without the penalty, a quarter of its products being formed; not differentiable."""
        total, W = HalfGram(self.basis, self.shape[1], dtype), self._of_classes(V)
        for part in self.parts(width=self.classes * self.shape[0]):
            X = self.rows(part)
            p = torch.softmax(project(X, W).to(dtype), dim=1) if probabilities is None else probabilities[part].to(dtype)
            total.add(design(X, dtype), p, self.weights[part].to(dtype))
        return total.matrix()

    def hessian_product(self, V: Float[Tensor, "directions params"], rows: Float[Tensor, "systems size"]) -> Float[Tensor, "systems size"]:
        """The Hessian times each of `rows` (flattened like V), without forming it; see `hessian_operator`."""
        return self.hessian_operator(V)(rows)

    def hessian_operator(
        self, V: Float[Tensor, "directions params"], probabilities: Probabilities | None = None
    ) -> Callable[[Tensor], Tensor]:
        """The function that multiplies rows by the Hessian at V, without forming it: 4 n C (d + 1) operations a row.

        The points' probabilities are computed once, unless they are given, and kept: n C numbers.
        """
        p_of = self.probabilities(V) if probabilities is None else probabilities

        def multiply(rows: Tensor) -> Tensor:
            U = rows.reshape(-1, *self.shape)
            W = self._of_classes(U).flatten(0, 1)
            image = torch.zeros_like(W)
            for part in self.parts(width=self.classes * len(rows)):
                X, p = self.rows(part), p_of[part, None, :]
                moved = p * project(X, W).reshape(len(X), len(rows), -1)
                moved -= p * moved.sum(dim=2, keepdim=True)
                image += collect((self.weights[part, None, None] * moved).flatten(1), X)
            return (self._penalised(U) + self.basis.T @ image.reshape(len(rows), self.classes, -1)).reshape(rows.shape)

        return multiply

    def hessian_diagonal(self, V: Float[Tensor, "directions params"]) -> Float[Tensor, " size"]:
        """The Hessian's diagonal, in the order of the flattened V."""
        diagonal = self._penalised(torch.ones_like(V))
        for X, _, w in self.blocks():
            p = torch.softmax(project(X, V) @ self.basis.T, dim=1)
            diagonal += collect(w[:, None] * (p @ self.basis.square() - (p @ self.basis).square()), X.square())
        return diagonal.flatten()

    def preconditioner(self, V: Float[Tensor, "directions params"]) -> ClassBlocks | Kronecker | None:
        """A matrix close to the Hessian at V, with which it is quicker to solve; None where forming it does not pay.

        A block a class (`augury.softmax.blocks`), unless the blocks are large themselves: then one Kronecker product.
        """
        k, p = self.shape
        if k < HALVED:
            return None
        points = ((design(X), torch.softmax(project(X, self._of_classes(V)), dim=1), w) for X, _, w in self.blocks())
        if self.classes * p**2 <= BLOCKS and p <= WIDE:
            return class_blocks(points, self.basis, self.penalty)
        return kronecker(points, self.basis, self.penalty)

    def _penalty(self, V: Float[Tensor, "directions params"]) -> Float[Tensor, ""]:
        """The penalty (lam / 2) |V without the intercepts|^2."""
        return self.penalty / 2 * V[:, :-1].square().sum()

    def _penalised(self, U: Float[Tensor, "*rows params"]) -> Float[Tensor, "*rows params"]:
        """The penalty's gradient, lam D U."""
        return self._ridge * U
