"""Influence against truth: real refits, dense automatic differentiation, and a closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import linregress
from torch import Tensor

from augury.head import SoftmaxHead
from augury.influence import influence, leverage, self_influence
from augury.softmax import SoftmaxProblem, contrast, design, spreads
from conftest import Array, Task, digits_features, make_task

POINTS = 40


@dataclass(frozen=True)
class Fitted:
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
        """V after these points, whose weights may be negative, have joined the training set.

        Newton's method with a factor that is kept while it brings at least a digit a step, until the gradient is zero to rounding:
        nothing of the head's own method of fitting is used.
        """
        task, added = self.task, replace(self.problem(X, y, weights), penalty=0.0)
        joined = self.problem(np.vstack([task.X, X]), np.append(task.y, y), np.append(task.weights, weights))
        V, H, last = self.V, self.hessian + added.hessian(self.V), float("inf")
        factor = torch.linalg.cholesky(H)
        for _ in range(50):
            step = torch.cholesky_solve(joined.gradient(V).reshape(-1, 1), factor).reshape(V.shape)
            V, size = V - step, float(step.abs().max())
            if size < 1e-12:
                return V
            if size > last / 10:
                factor = torch.linalg.cholesky(joined.hessian(V))
            last = size
        raise AssertionError("this refit does not converge")

    def losses(self, V: Tensor, X: Array, y: Array) -> Array:
        """-log p[y], written otherwise than in the package, precise also where it is tiny."""
        scores = np.c_[X, np.ones(len(X))] @ V.numpy().T @ contrast(len(self.head.classes_), V).numpy().T
        codes = np.searchsorted(self.head.classes_, y)[:, None]
        above = np.exp(scores - np.take_along_axis(scores, codes, 1))
        np.put_along_axis(above, codes, 0, 1)
        return np.log1p(above.sum(1))

    @cached_property
    def hessian(self) -> Tensor:
        return self.problem(*self.task.train).hessian(self.V)

    @cached_property
    def inverse(self) -> Tensor:
        return torch.linalg.inv(self.hessian).reshape(*self.V.shape, *self.V.shape)

    def step(self, x: Array) -> float:
        """A weight that changes the Hessian by about 0.2 %: small enough for differences, too large for rounding to matter."""
        f = design(torch.from_numpy(x[None]))
        basis = contrast(len(self.head.classes_), f)
        S = spreads(f @ self.V.T @ basis.T, basis)[0]
        return 0.002 / float(torch.einsum("ab,p,bpaq,q->", S, f[0], self.inverse, f[0]))


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
    for i in range(POINTS):
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


LEVERAGE = pytest.mark.filterwarnings("ignore:a point has the leverage")  # the plain influences are here to be bettered


class Removals(NamedTuple):
    """Real refits without a point: which points, and how much the point's own and the target set's mean loss rose."""

    fitted: Fitted
    out: Array
    own: Array
    target: Array


@pytest.fixture(scope="module")
def removals() -> Removals:
    """1437 digits with weights in [0.5, 2); out go, one at a time, the 20 most influential and 40 others."""
    fitted = Fitted.to(make_task(*digits_features(), train=1437, candidates=60))
    task = fitted.task
    order = np.argsort(task.weights * self_influence(fitted.head, task.train))
    out = np.append(order[:20], np.random.default_rng(0).choice(order[20:], 40, replace=False))
    own, target = [], []
    before = fitted.losses(fitted.V, *task.target).mean()
    for i in out:
        point = task.X[i : i + 1], task.y[i : i + 1]
        V = fitted.refit(*point, -task.weights[i : i + 1])
        own.append((fitted.losses(V, *point) - fitted.losses(fitted.V, *point))[0])
        target.append(fitted.losses(V, *task.target).mean() - before)
    return Removals(fitted, out, np.array(own), np.array(target))


@LEVERAGE
def test_with_the_leverage_correction_the_own_loss_rises_by_what_was_predicted(removals: Removals) -> None:
    head, task, out = removals.fitted.head, removals.fitted.task, removals.out
    plain = -(task.weights * self_influence(head, task.train))[out]
    corrected = -self_influence(head, task.train, "leverage")[out]
    assert_predicts(corrected, plain, removals.own)
    assert np.corrcoef(corrected, removals.own)[0, 1] > 0.999


@LEVERAGE
def test_with_the_leverage_correction_the_target_loss_changes_by_what_was_predicted(removals: Removals) -> None:
    head, task = removals.fitted.head, removals.fitted.task
    points = tuple(values[removals.out] for values in task.train)
    plain = influence(head, task.train, points, task.target, "remove")
    corrected = influence(head, task.train, points, task.target, "remove", correction="leverage")
    assert_predicts(corrected, plain, removals.target)


def assert_predicts(corrected: Array, plain: Array, actual: Array) -> None:
    """Close in value: slope 1 within 3 %, correlation above 0.99, and less than half of the plain prediction's error."""
    line = linregress(corrected, actual)
    assert line.slope == pytest.approx(1, abs=0.03)
    assert line.rvalue > 0.99
    assert linregress(plain, actual).slope > 1.2  # without the correction, influential points are plainly underestimated
    assert np.abs(corrected - actual).sum() < np.abs(plain - actual).sum() / 2
