"""Self-influence with another penalty in the Hessian, and with more features than points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from mpmath import mp

import augury.softmax
from augury.curvature import FittedHead
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import influence, leverage, self_influence
from conftest import Array

SLIGHT = 2e-10  # paper 2's own code


class Wide(NamedTuple):
    """A head fitted to noisy points."""

    head: SoftmaxHead
    X: Array
    y: Array
    weights: Array

    @property
    def train(self) -> tuple[Array, Array, Array]:
        return self.X, self.y, self.weights

    @property
    def odds(self) -> Array:
        """exp(loss) - 1 for two classes, without the cancellation."""
        scores = self.head.decision_function(self.X)
        return np.exp(np.where(self.y == 1, -scores, scores))


def wide(points: int, features: int, classes: int = 2, *, offset: float = 0.0) -> Wide:
    rng = np.random.default_rng(points + features)
    X = rng.standard_normal((points, features))
    y = (X[:, :classes] + rng.standard_normal((points, classes))).argmax(1)
    weights = rng.uniform(0.5, 2, points)
    return Wide(SoftmaxHead().fit(X + offset, y, weights), X + offset, y, weights)


def exact(task: Wide, penalty: float) -> Array:
    """-g^T H^-1 g with 60 digits, in C - 1 rows against the first class, for penalties that need no such care (two classes)."""
    with mp.workdps(60):
        f = mp.matrix(np.c_[task.X, np.ones(len(task.X))].tolist())
        w = mp.matrix(np.append(task.head.coef_[0], task.head.intercept_).tolist())
        p = [1 / (1 + mp.exp(-score)) for score in f * w]
        H = mp.diag([penalty] * task.X.shape[1] + [0])
        for i, weight in enumerate(task.weights.tolist()):
            H += weight * p[i] * (1 - p[i]) * f[i, :].T * f[i, :]
        inverse = H**-1
        quadratic = [(f[i, :] * inverse * f[i, :].T)[0] for i in range(f.rows)]
        return np.array([float(-((p[i] - int(y)) ** 2) * quadratic[i]) for i, y in enumerate(task.y)])


@pytest.mark.parametrize(("points", "features"), [(8, 30), (12, 12), (13, 12), (12, 11), (40, 5)])
def test_a_slight_penalty_gives_what_sixty_digits_give_whichever_the_shape(points: int, features: int) -> None:
    task = wide(points, features)
    np.testing.assert_allclose(self_influence(task.head, task.train, penalty=SLIGHT), exact(task, SLIGHT), rtol=1e-7)
    np.testing.assert_allclose(self_influence(task.head, task.train, penalty=0.3), exact(task, 0.3), rtol=1e-12)
    np.testing.assert_allclose(self_influence(task.head, task.train), exact(task, 1.0), rtol=1e-12)


@pytest.mark.parametrize(("points", "features"), [(60, 200), (60, 59), (60, 40), (300, 20)])
def test_with_a_slight_penalty_it_is_odds_times_the_leverage_of_an_orthogonal_basis(points: int, features: int) -> None:
    task = wide(points, features)
    p = task.head.predict_proba(task.X)
    root = np.sqrt(task.weights * p[:, 0] * p[:, 1])
    intercept = root / np.linalg.norm(root)
    rest = root[:, None] * task.X
    U, s, _ = np.linalg.svd(rest - np.outer(intercept, intercept @ rest), full_matrices=False)
    h = intercept**2 + U**2 @ (s**2 / (s**2 + SLIGHT))  # the intercept is not penalised
    np.testing.assert_allclose(-task.weights * self_influence(task.head, task.train, penalty=SLIGHT), task.odds * h, rtol=1e-7)
    if features + 1 >= points:
        np.testing.assert_allclose(h, 1, rtol=1e-4)


def test_where_parameters_outnumber_points_influence_and_loss_rank_alike() -> None:
    task = wide(200, 400)
    losses = np.log1p(task.odds)
    own = task.weights * self_influence(task.head, task.train, penalty=SLIGHT)
    np.testing.assert_array_equal(np.argsort(own), np.argsort(-losses))


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_more_features_than_points_give_the_same_as_the_hessian_over_all_features(classes: int, offset: float) -> None:
    task = wide(40, 90, classes, offset=offset)
    for correction in (None, "leverage"):
        primal = _primal(task, correction)
        np.testing.assert_allclose(self_influence(task.head, task.train, correction), primal, rtol=1e-10)
        by_products = None if correction else self_influence(task.head, task.train, solver="cg")
        np.testing.assert_allclose(primal if by_products is None else by_products, primal, rtol=1e-9)
    H = FittedHead.of(task.head, task.train, "exact").inverse()
    assert H.shape == (classes - 1, 91, classes - 1, 91)
    assert leverage(task.head, task.train).sum() < (classes - 1) * 40


def _primal(task: Wide, correction: str | None) -> Array:
    """Over all features: a point's influence on itself, and with the correction that of removing it."""
    one = [tuple(values[i : i + 1] for values in task.train) for i in range(len(task.X))]
    if correction is None:
        return np.array([influence(task.head, task.train, point[:2], point[:2])[0] for point in one])
    more = np.arange(100) % 40
    padded = task.X[more], task.y[more], np.append(task.weights, np.zeros(60))
    return self_influence(task.head, padded, "leverage")[:40]  # with 100 points, 60 of them weightless, the span is left alone


def test_the_multiclass_form_is_that_of_the_dense_inverse() -> None:
    task = wide(30, 50, 4)
    state = FittedHead.of(task.head, task.train, "exact").with_penalty(1e-3, "exact")
    H = state.problem.hessian(state.V)
    torch.testing.assert_close(state.curvature.product(torch.eye(len(H), dtype=torch.float64)), H, rtol=0, atol=1e-12)
    g = (state.residuals(state.points[:])[:, :, None] * torch.from_numpy(np.c_[task.X, np.ones(30)])[:, None, :]).flatten(1)
    expected = -(g * torch.linalg.solve(H, g.T).T).sum(1).numpy()
    np.testing.assert_allclose(self_influence(task.head, task.train, penalty=1e-3), expected, rtol=1e-9)


def test_duplicated_constant_and_weightless_input_leaves_finite_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    task = wide(60, 20)
    X = np.c_[task.X, task.X[:, :3], np.zeros((60, 2)), np.ones((60, 1))]
    weights = np.where(np.arange(60) < 5, 0.0, task.weights)
    head = SoftmaxHead().fit(X, task.y, weights)
    own = self_influence(head, (X, task.y, weights), penalty=SLIGHT)
    assert np.isfinite(own).all()
    assert (own <= 0).all()
    monkeypatch.setattr(augury.softmax, "BLOCK_ELEMENTS", 4000)
    np.testing.assert_allclose(self_influence(head, (X, task.y, weights), penalty=SLIGHT), own, rtol=1e-6)
    wide_head = SoftmaxHead(C=1e6).fit(wide(30, 80).X, wide(30, 80).y)  # nearly separated: the losses' curvature is below the penalty
    assert np.isfinite(self_influence(wide_head, wide(30, 80).train[:2], penalty=SLIGHT)).all()


def test_the_heads_own_penalty_is_what_no_penalty_means() -> None:
    task = wide(60, 20)
    expected = self_influence(task.head, task.train)
    np.testing.assert_allclose(self_influence(task.head, task.train, penalty=1.0), expected, rtol=1e-12)
    np.testing.assert_allclose(self_influence(task.head, task.train, penalty=1.0, solver="cg"), expected, rtol=1e-9)
    assert isinstance(self_influence(task.head, (torch.from_numpy(task.X), task.y, task.weights), penalty=SLIGHT), torch.Tensor)


@pytest.mark.parametrize("penalty", [-1.0, float("nan"), float("inf")])
def test_a_penalty_that_is_none_is_refused(penalty: float) -> None:
    task = wide(30, 5)
    with pytest.raises(InputError, match=r"penalty: got .*; expected a number that is not negative, such as 2e-10"):
        self_influence(task.head, task.train, penalty=penalty)


def test_a_penalty_that_leaves_the_hessian_singular_and_one_with_a_correction_are_refused() -> None:
    task = wide(30, 60)
    with pytest.raises(InputError, match="penalty: with 0 the Hessian over the training points is singular to working precision; raise it"):
        self_influence(task.head, task.train, penalty=0.0)
    with pytest.raises(InputError, match="leave out penalty, or correction"):
        self_influence(task.head, task.train, "leverage", penalty=SLIGHT)


@pytest.mark.filterwarnings("ignore:a point has the leverage")  # each of as many points as features has much
def test_a_head_of_other_points_is_noticed_although_only_the_span_is_looked_at() -> None:
    task, other = wide(30, 60), wide(31, 60)
    with pytest.warns(UserWarning, match="away from it on these training points"):
        self_influence(task.head, other.train)
    inside = SoftmaxHead().fit(*task.train)
    inside.coef_ = inside.coef_ + np.linalg.svd(task.X)[2][-1]  # along no training point, so that no training loss changes
    with pytest.warns(UserWarning, match="away from it on these training points"):
        self_influence(inside, task.train)


@pytest.mark.parametrize("penalty", [None, SLIGHT])
def test_features_may_be_a_tensor_that_is_being_learned(penalty: float | None) -> None:
    task = wide(20, 40)
    X = torch.from_numpy(task.X).requires_grad_()
    expected = self_influence(task.head, task.train, penalty=penalty)
    np.testing.assert_array_equal(self_influence(task.head, (X, task.y, task.weights), penalty=penalty).detach().numpy(), expected)
