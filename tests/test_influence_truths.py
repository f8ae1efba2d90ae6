"""Influence against truth: real refits, dense autograd, a closed form, and other people's libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Task
from scipy.stats import linregress
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from augury.head import SoftmaxHead, minimise
from augury.influence import influence, leverage, self_influence
from augury.softmax import SoftmaxProblem, contrast, design, spreads

Array = npt.NDArray[Any]
POINTS = 40


class Fitted(NamedTuple):
    """A head fitted to a task's weighted training points."""

    task: Task
    head: SoftmaxHead
    V: Tensor

    @classmethod
    def to(cls, task: Task) -> Fitted:
        head = SoftmaxHead().fit(*task.train)
        return cls(task, head, head.directions(torch.zeros(0, dtype=torch.float64)))

    def problem(self, X: Array, y: Array, weights: Array) -> SoftmaxProblem:
        codes = torch.from_numpy(np.searchsorted(self.head.classes_, y))
        return SoftmaxProblem(torch.from_numpy(X), codes, torch.from_numpy(weights), len(self.head.classes_), 1 / self.head.C)

    def refit(self, X: Array, y: Array, weights: Array) -> Tensor:
        """V after these points, whose weights may be negative, have joined the training set."""
        task = self.task
        joined = self.problem(np.vstack([task.X, X]), np.append(task.y, y), np.append(task.weights, weights))
        found = minimise(joined, self.V, tol=1e-7, max_iter=20)  # convergence is quadratic: what is left is rounding
        assert found.failure is None
        return found.V

    def losses(self, V: Tensor, X: Array, y: Array) -> Array:
        """-log p[y], written otherwise than in the package, precise also where it is tiny."""
        scores = np.c_[X, np.ones(len(X))] @ V.numpy().T @ contrast(len(self.head.classes_), V).numpy().T
        codes = np.searchsorted(self.head.classes_, y)[:, None]
        above = np.exp(scores - np.take_along_axis(scores, codes, 1))
        np.put_along_axis(above, codes, 0, 1)
        return np.log1p(above.sum(1))

    def step(self, x: Array) -> float:
        """A weight that changes the Hessian by about 0.2 %: small enough for differences, too large for rounding to matter."""
        f = design(torch.from_numpy(x[None]))
        inverse = torch.linalg.inv(self.problem(*self.task.train).hessian(self.V)).reshape(*self.V.shape, *self.V.shape)
        basis = contrast(len(self.head.classes_), f)
        S = spreads(f @ self.V.T @ basis.T, basis)[0]
        return 0.002 / float(torch.einsum("ab,p,bpaq,q->", S, f[0], inverse, f[0]))


@pytest.fixture
def fitted(task: Task) -> Fitted:
    return Fitted.to(task)


def derivative(value: Callable[[float], Array], step: float) -> Array:
    """Central differences at two steps with Richardson's extrapolation: the error falls with the fourth power of `step`."""
    near, far = (value(step) - value(-step)) / (2 * step), (value(2 * step) - value(-2 * step)) / (4 * step)
    return (4 * near - far) / 3


def drawn(points: int) -> Array:
    return np.random.default_rng(3).choice(points, POINTS, replace=False)


# Truth 1. The extrapolated difference is right to about 1e-8 in theory and practice; the tolerance is the 1e-6 at the tenth part.


def test_influence_of_adding_is_the_derivative_of_the_target_loss_at_every_point(fitted: Fitted) -> None:
    task = fitted.task
    predicted = influence(fitted.head, task.train, task.candidates, task.target)
    for i in drawn(len(task.Xc)):

        def target_loss(weight: float, i: int = i) -> Array:
            return fitted.losses(fitted.refit(task.Xc[i : i + 1], task.yc[i : i + 1], np.array([weight])), *task.target).mean()

        assert predicted[i] == pytest.approx(derivative(target_loss, fitted.step(task.Xc[i])), rel=1e-7, abs=0)


def test_self_influence_is_the_derivative_of_the_points_own_loss_at_every_point(fitted: Fitted) -> None:
    task = fitted.task
    predicted = self_influence(fitted.head, task.train)
    for i in drawn(len(task.X)):
        point = task.X[i : i + 1], task.y[i : i + 1]

        def own_loss(weight: float, point: tuple[Array, Array] = point) -> Array:
            return fitted.losses(fitted.refit(*point, np.array([weight])), *point)[0]

        assert predicted[i] == pytest.approx(derivative(own_loss, fitted.step(task.X[i])), rel=1e-7, abs=0)


def test_replacing_is_the_derivative_of_moving_weight_from_one_point_to_the_other(fitted: Fitted) -> None:
    task = fitted.task
    outgoing = task.X[:POINTS], task.y[:POINTS]
    incoming = task.Xc[:POINTS], task.yc[:POINTS]
    predicted = influence(fitted.head, task.train, incoming, task.target, "replace", replaced=outgoing)
    for i in range(0, POINTS, 4):
        pair = np.stack([task.Xc[i], task.X[i]]), np.array([task.yc[i], task.y[i]])

        def target_loss(weight: float, pair: tuple[Array, Array] = pair) -> Array:
            return fitted.losses(fitted.refit(*pair, np.array([weight, -weight])), *task.target).mean()

        step = min(fitted.step(task.Xc[i]), fitted.step(task.X[i]))
        assert predicted[i] == pytest.approx(derivative(target_loss, step), rel=1e-7, abs=0)
    added, removed = (influence(fitted.head, task.train, points, task.target) for points in (incoming, outgoing))
    np.testing.assert_allclose(predicted, added - removed, rtol=0, atol=1e-14 * np.abs(added).max())


# Truth 2. Dense derivatives of the symmetric softmax with all its C rows, whose null direction a pseudo-inverse leaves out.


def symmetric_objective(fitted: Fitted, W: Tensor) -> Tensor:
    """J(W) as DESIGN states it; with two classes the first class's row is zero and W has one row."""
    head, task = fitted.head, fitted.task
    rows = W if len(head.classes_) > 2 else torch.cat([torch.zeros_like(W), W])
    scores = torch.from_numpy(task.X) @ rows[:, :-1].T + rows[:, -1]
    own = torch.from_numpy(np.searchsorted(head.classes_, task.y))
    losses = torch.nn.functional.cross_entropy(scores, own, reduction="none")
    return torch.from_numpy(task.weights) @ losses + W[:, :-1].square().sum() / (2 * head.C)


def symmetric_gradients(fitted: Fitted, W: Tensor, X: Array, y: Array) -> Tensor:
    """Each point's gradient in the flattened W, by automatic differentiation."""
    binary = len(W) == 1

    def loss(W: Tensor, x: Tensor, code: Tensor) -> Tensor:
        rows = torch.cat([torch.zeros_like(W), W]) if binary else W
        return torch.nn.functional.cross_entropy((rows[:, :-1] @ x + rows[:, -1])[None], code[None])

    codes = torch.from_numpy(np.searchsorted(fitted.head.classes_, y))
    return torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(W, torch.from_numpy(X), codes).flatten(1)


def test_influence_is_that_of_the_dense_symmetric_softmax_by_autograd(fitted: Fitted) -> None:
    head, task = fitted.head, fitted.task
    W = torch.from_numpy(np.c_[head.coef_, head.intercept_])
    H = torch.func.jacrev(torch.func.grad(lambda W: symmetric_objective(fitted, W)))(W).reshape(W.numel(), W.numel())
    inverse = torch.linalg.pinv(H, hermitian=True, rtol=1e-12)
    g, g_candidate, g_target = (symmetric_gradients(fitted, W, X, y) for X, y in (task.train[:2], task.candidates, task.target))
    expected = -(g_candidate @ inverse @ g_target.mean(0)).numpy()
    got = influence(head, task.train, task.candidates, task.target)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())  # influences cancel: hence the second bound
    np.testing.assert_allclose(self_influence(head, task.train), -(g @ inverse * g).sum(1).numpy(), rtol=1e-10)


# Truth 3.


@pytest.fixture
def noisy(request: pytest.FixtureRequest) -> Task:
    """A two-class task whose features vary and whose labels are wrong at every tenth point, so that no plane separates the classes."""
    task: Task = request.getfixturevalue(request.param)
    kept = np.argsort(-task.X.std(0))[:20]
    y = np.where(np.random.default_rng(0).random(len(task.y)) < 0.1, task.y[::-1], task.y)
    return task._replace(X=task.X[:, kept], y=y)


@pytest.mark.parametrize("noisy", ["digits_3v8", "mnist_3v8"], indirect=True)
@pytest.mark.parametrize(("C", "tolerance"), [(np.inf, 1e-10), (1e8, 1e-6)])  # C = 1e8 adds 1e-8 to curvatures of about 1e-1
def test_without_penalty_binary_self_influence_is_odds_times_an_independent_leverage(noisy: Task, C: float, tolerance: float) -> None:
    head = SoftmaxHead(C=C).fit(*noisy.train)
    p = head.predict_proba(noisy.X)
    design_matrix = np.c_[noisy.X, np.ones(len(noisy.X))]
    Q, R = np.linalg.qr(np.sqrt(noisy.weights * p[:, 0] * p[:, 1])[:, None] * design_matrix)
    h = np.square(Q).sum(1)
    assert np.linalg.cond(R) < 1e3  # else the leverages themselves would be known to fewer digits
    assert h.min() > 0
    assert h.max() <= 1
    second = noisy.y == head.classes_[1]
    odds = np.where(second, p[:, 0] / p[:, 1], p[:, 1] / p[:, 0])  # exp(loss) - 1, without the cancellation
    np.testing.assert_allclose(-noisy.weights * self_influence(head, noisy.train), odds * h, rtol=tolerance)
    np.testing.assert_allclose(leverage(head, noisy.train), h, rtol=tolerance)
    assert leverage(head, noisy.train).sum() == pytest.approx(design_matrix.shape[1], rel=tolerance)


# Truth 4.


@pytest.fixture(scope="session")
def removals(digits: Task) -> tuple[Fitted, Array, Array, Array]:
    """Real refits of digits without a point, for the 30 most influential points and 40 others: which, own and target losses' changes."""
    fitted = Fitted.to(digits)
    order = np.argsort(self_influence(fitted.head, digits.train))
    out = np.append(order[:30], np.random.default_rng(0).choice(order[30:], 40, replace=False))
    own, target = [], []
    for i in out:
        point = digits.X[i : i + 1], digits.y[i : i + 1]
        V = fitted.refit(*point, -digits.weights[i : i + 1])
        own.append((fitted.losses(V, *point) - fitted.losses(fitted.V, *point))[0])
        target.append(fitted.losses(V, *digits.target).mean() - fitted.losses(fitted.V, *digits.target).mean())
    return fitted, out, np.array(own), np.array(target)


def test_with_the_leverage_correction_the_own_loss_rises_by_what_was_predicted(removals: tuple[Fitted, Array, Array, Array]) -> None:
    fitted, out, own, _ = removals
    plain = -fitted.task.weights[out] * self_influence(fitted.head, fitted.task.train)[out]
    corrected = -self_influence(fitted.head, fitted.task.train, "leverage")[out]
    assert_predicts(corrected, plain, own)


def test_with_the_leverage_correction_the_target_loss_changes_by_what_was_predicted(removals: tuple[Fitted, Array, Array, Array]) -> None:
    fitted, out, _, target = removals
    points = tuple(values[out] for values in fitted.task.train)
    plain, corrected = (
        influence(fitted.head, fitted.task.train, points, fitted.task.target, "remove", correction=correction)
        for correction in (None, "leverage")
    )
    assert_predicts(corrected, plain, target)


def assert_predicts(corrected: Array, plain: Array, actual: Array) -> None:
    slope, before = linregress(corrected, actual), linregress(plain, actual)
    print(slope.slope, slope.rvalue, before.slope, before.rvalue)
    assert slope.slope == pytest.approx(1, abs=0.03)
    assert slope.rvalue > 0.99
    assert before.slope > 1.15  # without it, influential points are plainly underestimated
    assert np.abs(corrected - actual).sum() < np.abs(plain - actual).sum() / 4


# Truth 5.


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
    penalised = TensorDataset(torch.vstack([points[0], torch.zeros(1, 16, dtype=torch.float64)]), torch.cat([points[1], torch.tensor([10])]))
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
