"""Influence against other people's code: pyinfluence, captum, and ten lines of dense numpy."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from augury.head import SoftmaxHead
from augury.influence import influence, self_influence
from conftest import Array, Task


def test_binary_influence_is_that_of_pyinfluence(digits_3v8: Task) -> None:
    from pyinfluence import InfluenceFunctions

    train = digits_3v8.X, digits_3v8.y
    head = SoftmaxHead().fit(*train)
    other = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=200).fit(*train)
    scores = InfluenceFunctions(mode="loss", damping=0.0).fit(other, *train).explain(*digits_3v8.target)
    # its sign is the other one (positive: helpful); it answers for each target point apart
    np.testing.assert_allclose(influence(head, train, train, digits_3v8.target), -scores.mean(0), rtol=1e-9)


class ScoresAndPenalty(torch.nn.Module):
    """Class scores, and one column more with the penalty, which captum cannot know of otherwise."""

    def __init__(self, head: SoftmaxHead) -> None:
        super().__init__()
        self.penalty = 1 / head.C
        self.weight = torch.nn.Parameter(torch.from_numpy(head.coef_))
        self.bias = torch.nn.Parameter(torch.from_numpy(head.intercept_))

    def forward(self, X: Tensor) -> Tensor:
        penalty = self.penalty / 2 * self.weight.square().sum()
        return torch.cat([X @ self.weight.T + self.bias, penalty.expand(len(X), 1)], dim=1)


class CrossEntropyOrPenalty:
    """The cross-entropy of the class scores; for the label after the last class, the penalty alone."""

    reduction = "none"

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        scores, penalty = outputs[:, :-1], outputs[:, -1]
        ordinary = labels < scores.shape[1]
        losses = torch.nn.functional.cross_entropy(scores, torch.where(ordinary, labels, 0), reduction="none")
        return torch.where(ordinary, losses, penalty)


def test_multiclass_influence_is_that_of_captum(digits: Task) -> None:
    from captum.influence import NaiveInfluenceFunction

    X, Xt = (pixels.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) for pixels in (digits.X, digits.Xt))
    train, target = (X, digits.y), (Xt, digits.yt)
    head = SoftmaxHead().fit(*train)
    points, targets = (tuple(map(torch.from_numpy, part)) for part in (train, target))
    penalised = TensorDataset(
        torch.vstack([points[0], torch.zeros(1, 16, dtype=torch.float64)]), torch.cat([points[1], torch.tensor([10])])
    )
    other = NaiveInfluenceFunction(
        ScoresAndPenalty(head),
        DataLoader(TensorDataset(*points), batch_size=len(X)),
        checkpoint="",
        checkpoints_load_func=lambda *_: 1.0,
        loss_fn=CrossEntropyOrPenalty(),
        hessian_dataset=DataLoader(penalised, batch_size=len(X) + 1),
        projection_dim=10 * 17 - 1,  # all directions but the one that moves every intercept alike
        hessian_reg=0.0,
        hessian_inverse_tol=1e-9,
    )
    scores = other.influence(targets).mean(0).numpy()  # its sign is that of removing
    np.testing.assert_allclose(influence(head, train, train, target), -scores, rtol=1e-8, atol=1e-12 * np.abs(scores).max())


def dense_influence(
    head: SoftmaxHead, train: tuple[Array, Array, Array], points: tuple[Array, Array], target: tuple[Array, Array]
) -> Array:
    """All C rows, Kronecker products and a pseudo-inverse: the influence of each point (rows) on each target point (columns)."""
    classes, d = len(head.classes_), head.n_features_in_

    def parts(X: Array, y: Array) -> tuple[Array, Array, Array]:
        p, f = head.predict_proba(X), np.c_[X, np.ones(len(X))]
        return p, f, np.einsum("nc,np->ncp", p - (y[:, None] == head.classes_), f).reshape(len(X), -1)

    p, f, _ = parts(*train[:2])
    H = np.kron(np.eye(classes), np.diag(np.append(np.full(d, 1 / head.C), 0)))
    for w, q, x in zip(train[2], p, f, strict=True):
        H += w * np.kron(np.diag(q) - np.outer(q, q), np.outer(x, x))
    return -parts(*points)[2] @ np.linalg.pinv(H, rcond=1e-12, hermitian=True) @ parts(*target)[2].T


def test_multiclass_influence_is_that_of_dense_numpy(digits: Task) -> None:
    kept = [i for i in range(64) if digits.X[:, i].std() > 0.1][:20]
    train = digits.X[:, kept], digits.y, digits.weights
    candidates, target = (digits.Xc[:, kept], digits.yc), (digits.Xt[:, kept], digits.yt)
    head = SoftmaxHead(C=10.0).fit(*train)
    expected = dense_influence(head, train, candidates, target).mean(1)
    np.testing.assert_allclose(influence(head, train, candidates, target), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())
    own = dense_influence(head, train, train[:2], train[:2]).diagonal()
    np.testing.assert_allclose(self_influence(head, train), own, rtol=1e-9)
