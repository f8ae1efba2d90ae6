"""Where points and parameters lie: class contrasts, the design matrix, and products with either that form neither."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

FAR = 16  # so many standard deviations from zero


def contrast(classes: int, like: Tensor) -> Float[Tensor, "classes directions"]:
    """B: for two classes (0, 1)^T, else Helmert's orthonormal contrasts, in the type and on the device of `like`."""
    if classes == 2:
        return like.new_tensor([[0.0], [1.0]])
    basis = like.new_zeros(classes, classes - 1)
    for j in range(1, classes):
        basis[:j, j - 1] = 1 / math.sqrt(j * (j + 1))
        basis[j, j - 1] = -j / math.sqrt(j * (j + 1))
    return basis


def design(features: Float[Tensor, "points features"], dtype: torch.dtype | None = None) -> Float[Tensor, "points params"]:
    """The design matrix: f = [features, 1] for each point; in the features' type unless another is given."""
    f = features.new_ones(len(features), features.shape[1] + 1, dtype=dtype or features.dtype)
    f[:, :-1] = features
    return f


def project(X: Float[Tensor, "points features"], rows: Float[Tensor, "rows params"]) -> Float[Tensor, "points rows"]:
    """Each point's f = [x, 1] along each of `rows`, without forming the design matrix."""
    return torch.addmm(rows[:, -1], X, rows[:, :-1].T)


def collect(values: Float[Tensor, "points rows"], X: Float[Tensor, "points features"]) -> Float[Tensor, "rows params"]:
    """The sum over points of `values` times f = [x, 1], the transpose of `project`."""
    return torch.cat([values.T @ X, values.sum(dim=0)[:, None]], dim=1)


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
