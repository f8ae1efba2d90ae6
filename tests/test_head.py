from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

import augury.newton
import augury.softmax
from augury.errors import InputError
from augury.head import SoftmaxHead
from conftest import Array, Task


def noisy(task: Task, features: int) -> tuple[Array, Array, Array]:
    """The features that vary most, and wrong labels at every fifth point: no two classes can be told apart by a plane."""
    wrong = np.random.default_rng(5).random(len(task.y)) < 0.2
    return task.X[:, np.argsort(-task.X.std(0))[:features]], np.where(wrong, task.y[::-1], task.y), task.weights


def objective(C: float, coef: Array, intercept: Array, points: tuple[Array, Array, Array]) -> float:
    """scikit-learn's: sum_i w_i l_i + |coef|^2 / (2 C), written without augury."""
    X, y, weights = points
    scores = X @ coef.T + intercept
    scores = scores if scores.shape[1] > 1 else np.c_[np.zeros(len(X)), scores]
    own = scores[np.arange(len(X)), np.searchsorted(np.unique(y), y)]
    return float(weights @ (np.logaddexp.reduce(scores, axis=1) - own) + np.square(coef).sum() / (2 * C))


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3, np.inf])
@pytest.mark.parametrize("weights", ["equal", "different"])
def test_the_minimum_is_that_of_scikit_learn(task: Task, C: float, weights: str) -> None:
    X, y, different = noisy(task, 8)
    points = X, y, different if weights == "different" else np.ones(len(y))
    head = SoftmaxHead(C=C).fit(*points)
    other = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-11, max_iter=500).fit(*points)
    reached, expected = (objective(C, found.coef_, found.intercept_, points) for found in (head, other))
    assert head.converged_
    assert reached == pytest.approx(expected, rel=1e-12, abs=1e-9)
    assert reached <= expected * (1 + 1e-14)
    np.testing.assert_allclose(head.coef_, other.coef_, rtol=0, atol=1e-7 * np.abs(other.coef_).max())
    np.testing.assert_allclose(head.predict_proba(X), other.predict_proba(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(head.decision_function(X), other.decision_function(X), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(head.predict(X), other.predict(X))


def test_the_gradient_at_the_minimum_is_zero_to_rounding(task: Task) -> None:
    X, y, weights = task.train
    head = SoftmaxHead().fit(X, y, weights)
    error = head.predict_proba(X) - (y[:, None] == head.classes_)
    if len(head.classes_) == 2:
        error = error[:, 1:]
    np.testing.assert_allclose((weights[:, None] * error).T @ X, -head.coef_, rtol=0, atol=1e-11)
    np.testing.assert_allclose(weights @ error, 0, rtol=0, atol=1e-11)


def test_with_more_than_two_classes_the_rows_sum_to_zero(digits: Task) -> None:
    head = SoftmaxHead().fit(*digits.train)
    assert head.coef_.shape == (10, 64)
    assert head.intercept_.shape == (10,)
    np.testing.assert_allclose(head.coef_.sum(0), 0, atol=1e-13)
    np.testing.assert_allclose(head.intercept_.sum(), 0, atol=1e-13)


@parametrize_with_checks([SoftmaxHead()])
@pytest.mark.usefixtures("without_type_checks")
def test_the_head_keeps_every_rule_of_scikit_learn(estimator: SoftmaxHead, check: Callable[[Any], None]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one check takes a whole class away by its weights
        check(estimator)


def test_a_warm_start_reaches_the_same_minimum_in_fewer_steps(task: Task) -> None:
    X, y, weights = task.train
    cold = SoftmaxHead().fit(X, y, weights)
    warm = SoftmaxHead(warm_start=True).fit(X, y)
    steps = warm.n_iter_
    warm.fit(X, y, weights)
    assert warm.n_iter_ < min(steps, cold.n_iter_)
    np.testing.assert_allclose(warm.coef_, cold.coef_, rtol=0, atol=1e-11)
    assert warm.fit(X, y, weights).n_iter_ <= 2


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 4), (4, 2), (3, 2)])
def test_a_warm_start_from_other_classes_starts_anew(digits: Task, before: int, after: int) -> None:
    first, then = (digits.y < classes for classes in (before, after))
    head = SoftmaxHead(warm_start=True).fit(digits.X[first], digits.y[first]).fit(digits.X[then], digits.y[then])
    np.testing.assert_allclose(head.coef_, SoftmaxHead().fit(digits.X[then], digits.y[then]).coef_, rtol=0, atol=1e-11)


def test_a_warm_start_from_other_features_starts_anew(digits: Task) -> None:
    head = SoftmaxHead(warm_start=True).fit(digits.X, digits.y).fit(digits.X[:, :30], digits.y)
    np.testing.assert_allclose(head.coef_, SoftmaxHead().fit(digits.X[:, :30], digits.y).coef_, rtol=0, atol=1e-11)


def test_the_order_of_the_points_and_the_block_size_change_nothing(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    head = SoftmaxHead().fit(*task.train)
    order = np.random.default_rng(0).permutation(len(task.X))
    monkeypatch.setattr(augury.softmax, "BLOCK_ELEMENTS", 5000)
    other = SoftmaxHead().fit(*(values[order] for values in task.train))
    np.testing.assert_allclose(other.coef_, head.coef_, rtol=0, atol=1e-11)
    np.testing.assert_allclose(other.intercept_, head.intercept_, rtol=0, atol=1e-11)


def test_names_of_the_classes_change_only_their_order(digits: Task) -> None:
    renamed = np.array([9, 2, 4, 0, 7, 1, 3, 8, 5, 6])
    head, other = (SoftmaxHead().fit(digits.X, y, digits.weights) for y in (digits.y, renamed[digits.y]))
    np.testing.assert_allclose(other.coef_[renamed], head.coef_, rtol=0, atol=1e-11)
    np.testing.assert_allclose(other.predict_proba(digits.Xt)[:, renamed], head.predict_proba(digits.Xt), rtol=0, atol=1e-11)


def test_two_classes_may_change_places(digits_3v8: Task) -> None:
    X, y, weights = digits_3v8.train
    head, other = SoftmaxHead().fit(X, y, weights), SoftmaxHead().fit(X, 11 - y, weights)
    np.testing.assert_allclose(other.coef_, -head.coef_, rtol=0, atol=1e-11)


def test_a_point_given_twice_is_a_point_of_weight_two_and_weight_zero_is_absence(task: Task) -> None:
    twice = np.random.default_rng(1).random(len(task.y)) < 0.5
    doubled = SoftmaxHead().fit(np.vstack([task.X, task.X[twice]]), np.append(task.y, task.y[twice]))
    np.testing.assert_allclose(SoftmaxHead().fit(task.X, task.y, 1 + twice).coef_, doubled.coef_, rtol=0, atol=1e-11)
    absent = SoftmaxHead().fit(task.X, task.y, 1.0 * twice)
    np.testing.assert_allclose(absent.coef_, SoftmaxHead().fit(task.X[twice], task.y[twice]).coef_, rtol=0, atol=1e-11)


def test_without_penalty_any_invertible_change_of_the_features_changes_no_probability(task: Task) -> None:
    X, y, weights = noisy(task, 8)
    A = np.random.default_rng(2).standard_normal((8, 8))
    head = SoftmaxHead(C=np.inf).fit(X, y, weights)
    other = SoftmaxHead(C=np.inf).fit(X @ A + 3, y, weights)
    np.testing.assert_allclose(other.predict_proba(X @ A + 3), head.predict_proba(X), rtol=0, atol=1e-10)


@pytest.mark.parametrize("offset", [1e2, 1e4])
def test_an_offset_of_all_features_changes_the_intercepts_alone(task: Task, offset: float) -> None:
    X, y, weights = task.train
    head, other = SoftmaxHead().fit(X, y, weights), SoftmaxHead().fit(X + offset, y, weights)
    np.testing.assert_allclose(other.coef_, head.coef_, rtol=0, atol=1e-9)  # adding 1e4 rounds the features to 1e-12
    np.testing.assert_allclose(other.predict_proba(X + offset), head.predict_proba(X), rtol=0, atol=1e-9)


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_without_penalty_the_unit_of_a_feature_changes_no_probability(digits_3v8: Task, unit: float) -> None:
    X, y, weights = noisy(digits_3v8, 8)
    scaled = X * np.append(np.ones(7), unit)
    head = SoftmaxHead(C=np.inf).fit(X, y, weights)
    other = SoftmaxHead(C=np.inf).fit(scaled, y, weights)
    assert other.converged_
    np.testing.assert_allclose(other.predict_proba(scaled), head.predict_proba(X), rtol=0, atol=1e-9)


@pytest.mark.parametrize("labels", [["three", "eight"], [3, 8], [-1.0, 1.0], [False, True]])
def test_labels_of_any_kind_come_back_as_they_were(digits_3v8: Task, labels: list[Any]) -> None:
    names = np.array(labels)
    y = names[(digits_3v8.y == 8).astype(int)]
    head = SoftmaxHead().fit(digits_3v8.X, y)
    assert head.predict(digits_3v8.X).dtype == names.dtype
    assert (head.predict(digits_3v8.X) == y).mean() > 0.98
    np.testing.assert_array_equal(head.classes_, np.sort(names))


def test_torch_tensors_give_what_arrays_give(task: Task) -> None:
    X, weights = torch.from_numpy(task.X), torch.from_numpy(task.weights)
    head, other = SoftmaxHead().fit(*task.train), SoftmaxHead().fit(X, task.y, weights)
    assert isinstance(other.coef_, np.ndarray)
    np.testing.assert_array_equal(other.coef_, head.coef_)
    np.testing.assert_array_equal(other.predict(X), head.predict(task.X))
    np.testing.assert_array_equal(np.asarray(other.predict_proba(X)), head.predict_proba(task.X))
    single = SoftmaxHead().fit(X.float(), task.y, weights)
    np.testing.assert_allclose(single.coef_, SoftmaxHead().fit(task.X.astype(np.float32), task.y, task.weights).coef_, rtol=1e-12)


def test_features_from_a_network_may_still_carry_their_graph(digits: Task) -> None:
    X = torch.from_numpy(digits.X).requires_grad_()
    head = SoftmaxHead().fit(X, digits.y)
    np.testing.assert_array_equal(head.coef_, SoftmaxHead().fit(digits.X, digits.y).coef_)
    np.testing.assert_array_equal(np.asarray(head.predict_proba(X)), head.predict_proba(digits.X))


def test_above_the_dense_limit_conjugate_gradients_reach_the_same_minimum(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = SoftmaxHead().fit(*task.train)
    monkeypatch.setattr(augury.newton, "DENSE_PARAMS", 0)
    monkeypatch.setattr(augury.newton, "cholesky", None)
    other = SoftmaxHead().fit(*task.train)
    assert other.converged_
    np.testing.assert_allclose(other.coef_, dense.coef_, rtol=0, atol=1e-10)


# What cannot be fitted says so.


SEPARABLE = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.5], [3.0, 0.5]]), np.array([0, 0, 1, 1])


def unconverged(head: SoftmaxHead, X: Array, y: Array) -> str:
    with pytest.warns(ConvergenceWarning) as caught:
        head.fit(X, y)
    assert head.converged_ is False
    assert len(caught) == 1
    return str(caught[0].message)


@pytest.mark.parametrize(
    ("data", "dense_params"),
    [("four points", 12_000), ("two classes", 12_000), ("ten classes", 12_000), ("four points", 0), ("two classes", 0)],
)
def test_separable_classes_without_penalty_are_named_as_the_cause(
    digits: Task, data: str, dense_params: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augury.newton, "DENSE_PARAMS", dense_params)  # 0: by conjugate gradients
    X = digits.X + 1e-3 * np.random.default_rng(0).random(digits.X.shape)  # no column is constant
    X, y = {"four points": SEPARABLE, "two classes": (X, digits.y % 2), "ten classes": (X[:60, :20], digits.y[:60])}[data]
    head = SoftmaxHead(C=np.inf)
    message = unconverged(head, X, y)
    assert (head.predict(X) == y).all()
    assert np.isfinite(head.coef_).all()
    assert "separable" in message
    assert "give a finite C" in message


@pytest.mark.parametrize("extra", ["duplicated", "constant", "zero"])
def test_columns_that_leave_the_minimum_undetermined_are_named_as_the_cause(digits_3v8: Task, extra: str) -> None:
    X, y, _ = noisy(digits_3v8, 8)
    column = {"duplicated": X[:, :1], "constant": np.ones((len(X), 1)), "zero": np.zeros((len(X), 1))}[extra]
    message = unconverged(SoftmaxHead(C=np.inf), np.hstack([X, column]), y)
    assert "leave out constant or duplicated features, or give a finite C" in message


def test_too_few_steps_are_named_as_the_cause(digits: Task) -> None:
    assert "raise max_iter" in unconverged(SoftmaxHead(max_iter=1), digits.X, digits.y)


def test_a_warning_at_a_finite_C_does_not_advise_a_finite_C(digits_3v8: Task) -> None:
    message = unconverged(SoftmaxHead(C=1.0, max_iter=1), digits_3v8.X, digits_3v8.y)
    assert "give a finite C" not in message
    assert "lower C" in message


def test_a_class_without_weight_is_named_as_the_cause(digits: Task) -> None:
    with pytest.raises((InputError, ConvergenceWarning), match="weight"):  # its intercept would go to minus infinity
        SoftmaxHead().fit(digits.X, digits.y, (digits.y != 3).astype(float))


X4, Y4 = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("settings", "X", "y", "weights", "message"),
    [
        ({"C": 0.0}, X4, Y4, None, r"C: got 0\.0; expected a positive number, or numpy\.inf for no penalty"),
        ({"C": -1.0}, X4, Y4, None, r"C: got -1\.0"),
        ({"C": float("nan")}, X4, Y4, None, "C: got nan"),
        ({"tol": -1.0}, X4, Y4, None, "tol"),
        ({"tol": float("nan")}, X4, Y4, None, "tol"),
        ({"max_iter": 0}, X4, Y4, None, "max_iter"),
        ({}, X4, Y4, [1.0, 1.0], r"sample_weight: shape \(2,\) for 4 points; expected one weight for each point"),
        ({}, X4, Y4, [1.0, -1.0, 1.0, 1.0], "sample_weight: expected finite weights that are not negative"),
        ({}, X4, Y4, [1.0, np.inf, 1.0, 1.0], "sample_weight: expected finite weights"),
        ({}, X4, Y4, [0.0] * 4, "sample_weight: every weight is zero"),
        ({}, X4, np.zeros(4, int), None, r"y: only one class, 0; expected at least two"),
        ({}, X4, np.array(["a"] * 4), None, r"y: only one class, 'a'; expected"),
        ({}, torch.tensor([[0.0], [np.nan], [1.0], [2.0]]), Y4, None, "X: point 1 has a NaN or infinite feature"),
        ({}, torch.zeros(4), Y4, None, r"X: shape \(4,\); expected \(points, features\)"),
        ({}, torch.zeros(0, 3), [], None, r"X: shape \(0, 3\)"),
        ({}, torch.from_numpy(X4), Y4[:3], None, r"y: labels of shape \(3,\) for 4 points; expected one label for each point"),
        ({}, torch.from_numpy(X4), Y4[:, None], None, "y: "),
        ({}, torch.from_numpy(X4), None, None, "y: "),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_bad_input_is_refused_with_the_argument_and_the_cure(settings: dict[str, Any], X: Any, y: Any, weights: Any, message: str) -> None:  # noqa: ANN401 - anything may be wrong
    with pytest.raises(InputError, match=f"^{message}"):
        SoftmaxHead(**settings).fit(X, y, weights)


def test_predicting_for_other_features_is_refused(digits: Task) -> None:
    head = SoftmaxHead().fit(digits.X, digits.y)
    for X in (digits.X[:, :5], torch.from_numpy(digits.X[:, :5])):
        with pytest.raises(ValueError, match="5 features"):
            head.predict(X)
