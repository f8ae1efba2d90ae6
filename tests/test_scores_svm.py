from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from augury.scores import boundary_distance, score, support
from augury.selection import rank
from conftest import Task

Array = npt.NDArray[Any]


def tuned_svm(X: Array, y: Array) -> SVC:
    """Paper 2's search, done by hand: the first of five C's with the highest mean accuracy over four folds."""
    grid = [0.01, 0.1, 1.0, 10.0, 100.0]
    folds = list(StratifiedKFold(4).split(X, y))
    accuracies = [np.mean([SVC(C=C, kernel="linear").fit(X[a], y[a]).score(X[b], y[b]) for a, b in folds]) for C in grid]
    return SVC(C=grid[int(np.argmax(accuracies))], kernel="linear").fit(X, y)


def test_the_margin_score_of_two_classes_is_one_over_the_tuned_svms_decision_value(digits_3v8: Task) -> None:
    X, y, _ = digits_3v8.train
    decisions = tuned_svm(X, y).decision_function(X)
    np.testing.assert_allclose(score(X, y, "margin").values, 1 / np.abs(decisions), rtol=1e-10)


def test_the_margin_score_of_many_classes_looks_at_the_boundaries_of_the_own_class_alone(digits: Task) -> None:
    kept = digits.y < 4
    X, y = digits.X[kept], digits.y[kept]
    C = tuned_svm(X, y).C
    expected = np.full(len(y), np.inf)
    for a, b in combinations(range(4), 2):
        own = (y == a) | (y == b)
        decisions = SVC(C=C, kernel="linear").fit(X[own], y[own]).decision_function(X[own])
        expected[own] = np.minimum(expected[own], np.abs(decisions))
    np.testing.assert_allclose(boundary_distance(X, y), expected, rtol=1e-3)


def test_the_margin_of_points_on_a_line_is_what_the_drawing_shows() -> None:
    """Separable, and with enough points for every C: boundaries half way, at 2, 10 and 12.5, and 1 on the nearest point of either class."""
    x, y = np.repeat([-1.0, 0, 4, 5, 20, 25], 16), np.repeat([0, 0, 1, 1, 2, 2], 16)
    # From the point at -1: (2 + 1) / 2 to the middle class, (10 + 1) / 10 to the last. That 4 and 5 are near 10 concerns the outer classes.
    expected = np.repeat([1.1, 1, 1, 1, 1, 1.5], 16)
    np.testing.assert_allclose(boundary_distance(x[:, None], y), expected, rtol=1e-2)


def test_a_point_on_the_boundary_has_a_finite_margin_score() -> None:
    X = np.repeat([[-1.0], [1.0], [0.0], [0.0]], 4, axis=0)
    values = score(X, np.repeat([0, 1, 0, 1], 4), "margin").values
    assert np.isfinite(values).all()
    assert values[8:].min() > 100 * values[:8].max()


def pairwise_coefficients(X: Array, y: Array, C: float) -> Array:
    """The sum over all pairs of classes of each point's dual coefficient in the machine that is fitted to this pair alone."""
    total = np.zeros(len(y))
    for a, b in combinations(np.unique(y), 2):
        own = np.flatnonzero((y == a) | (y == b))
        machine = SVC(C=C, kernel="linear").fit(X[own], y[own])
        total[own[machine.support_]] += np.abs(machine.dual_coef_[0])
    return total


def test_the_support_score_of_two_classes_is_the_tuned_svms_dual_coefficient(digits_3v8: Task) -> None:
    X, y, _ = digits_3v8.train
    machine = tuned_svm(X, y)
    expected = np.zeros(len(y))
    expected[machine.support_] = np.abs(machine.dual_coef_[0])
    found = score(X, y, "support")
    np.testing.assert_allclose(found.values, expected, rtol=1e-10)
    assert found.positive == len(machine.support_) < len(y) / 2


def test_the_support_score_of_many_classes_sums_over_the_machines_of_the_own_class(digits: Task) -> None:
    kept = digits.y < 4
    X, y = digits.X[kept], digits.y[kept]
    np.testing.assert_allclose(support(X, y), pairwise_coefficients(X, y, tuned_svm(X, y).C), atol=1e-3)


def test_the_coefficients_make_the_boundary(digits_3v8: Task) -> None:
    """f(x) = sum_i sign_i alpha_i x_i . x + b, hence the weights of the machine from the scores alone; and sum_i sign_i alpha_i = 0."""
    X, y, _ = digits_3v8.train
    signed = np.where(y == 8, 1, -1) * support(X, y)
    np.testing.assert_allclose(signed @ X, tuned_svm(X, y).coef_[0], atol=1e-9)
    assert signed.sum() == pytest.approx(0, abs=1e-9)


def test_only_the_points_nearest_to_the_boundary_support_it() -> None:
    """On a line, separable: the points at 0 and 4 share a force of 1 / (half the distance)^2 / 2 on either side; those behind have none."""
    x, y = np.repeat([-1.0, 0, 4, 5], 16), np.repeat([0, 0, 1, 1], 16)
    values = support(x[:, None], y)
    assert (values[(x == -1) | (x == 5)] == 0).all()
    assert values[x == 0].sum() == pytest.approx(1 / 8, rel=1e-3)
    assert values[x == 4].sum() == pytest.approx(1 / 8, rel=1e-3)


def test_ranking_by_support_takes_the_support_vectors_and_no_others(digits: Task) -> None:
    kept = digits.y < 4
    X, y = digits.X[kept], digits.y[kept]
    scores = score(X, y, "support")
    taken = rank(scores, "proportional", "ranked", budget=scores.positive).selected
    np.testing.assert_array_equal(np.sort(taken), np.sort(tuned_svm(X, y).support_))


def test_proportional_margin_takes_the_points_nearest_to_the_boundary_first_and_inverse_the_farthest(digits_3v8: Task) -> None:
    X, y, _ = digits_3v8.train
    scores, distance = score(X, y, "margin"), np.abs(tuned_svm(X, y).decision_function(X))
    for preference, expected in (("proportional", np.argsort(distance)), ("inverse", np.argsort(-distance))):
        np.testing.assert_array_equal(rank(scores, preference, "ranked").indices, expected)
