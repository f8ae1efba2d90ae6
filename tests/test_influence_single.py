"""Influences by products in single precision: against double precision, and where single does not do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from augury.arrays import ArrayLike
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import Influences, InfluenceWarning, self_influence
from augury.influence import head as asking
from conftest import Array, Task, steepest_leverage

LEVERAGE = pytest.mark.filterwarnings("ignore:a point has the leverage")  # it has, and plain influence is what is compared


def error(found: ArrayLike, exact: ArrayLike) -> float:
    """The largest difference by the largest value."""
    return float(np.abs(np.asarray(found) - np.asarray(exact)).max() / np.abs(np.asarray(exact)).max())


@pytest.mark.parametrize("classes", [2, 3, 10])
@LEVERAGE
def test_scores_by_single_precision_are_those_of_double_to_a_ten_thousandth_and_the_error_is_stated(classes: int, digits: Task) -> None:
    few, of_the_target = digits.y < classes, digits.yt < classes
    train, target = (digits.X[few], digits.y[few], digits.weights[few]), (digits.Xt[of_the_target], digits.yt[of_the_target])
    head = SoftmaxHead().fit(*train)
    single, double = Influences(head, train, dtype="float32"), Influences(head, train)
    own = single.own()
    assert own.values.dtype == np.float64  # type: ignore[union-attr]  # numpy for numpy
    assert error(own.values, double.own().values) < 1e-4
    assert 0 < own.trust.residual < 1e-4
    assert own.trust.solver == "single"
    assert own.trust.leverage == pytest.approx(steepest_leverage(head, train[0], train[2]), rel=1e-3)
    assert error(single.of(train, target).values, double.of(train, target).values) < 1e-7  # whose solve double precision corrects
    np.testing.assert_array_equal(self_influence(head, train, dtype="float32"), own.values)


@LEVERAGE
def test_single_precision_answers_tensors_of_single_precision(digits: Task) -> None:
    X, y = torch.from_numpy(digits.X).float(), torch.from_numpy(digits.y)
    head = SoftmaxHead().fit(X, y)
    found = Influences(head, (X, y), dtype="float32").own().values
    assert isinstance(found, torch.Tensor)
    assert error(found, self_influence(head, (X, y))) < 1e-4


@LEVERAGE
def test_features_far_from_zero_cost_single_precision_no_digits(digits_3v8: Task) -> None:
    X = digits_3v8.X + 1e4
    head = SoftmaxHead().fit(X, digits_3v8.y)
    found = Influences(head, (X, digits_3v8.y), dtype="float32").own()
    assert found.trust.solver == "single"
    assert error(found.values, self_influence(head, (X, digits_3v8.y))) < 1e-4


def test_a_hessian_that_single_precision_cannot_factor_is_factored_in_double() -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((300, 6))
    X[:, 5] = X[:, 4] + 1e-4 * X[:, 5]  # all but a duplicate
    y = (X[:, 0] + rng.standard_normal(300) > 0).astype(int)
    head = SoftmaxHead(C=1e6).fit(X, y)
    asked = Influences(head, (X, y), dtype="float32")
    with pytest.warns(InfluenceWarning, match="single precision cannot factor the Hessian: it is done in double; standardise"):
        found = asked.own()
    assert found.trust.solver == "exact"
    np.testing.assert_array_equal(found.values, Influences(head, (X, y)).own().values)


@LEVERAGE
def test_values_that_single_precision_misses_are_computed_in_double(digits: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SINGLE", 1e-12)
    head = SoftmaxHead().fit(*digits.train)
    asked = Influences(head, digits.train, dtype="float32")
    with pytest.warns(InfluenceWarning, match=r"single precision leaves an error of \d\.\de-\d\d: it is done in double"):
        found = asked.own()
    np.testing.assert_array_equal(found.values, self_influence(head, digits.train))
    assert found.trust.solver == "exact"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asked.own().trust.solver == "exact"  # said once


@LEVERAGE
def test_the_stated_error_of_single_precision_is_what_it_is(digits: Task) -> None:
    head = SoftmaxHead(C=1e3).fit(*digits.train)
    found = Influences(head, digits.train, dtype="float32").own()
    true = error(found.values, self_influence(head, digits.train))
    assert true / 20 < found.trust.residual < true * 1.01  # on a few points of all


def test_corrections_leverages_and_other_penalties_are_those_of_double_precision(digits_3v8: Task) -> None:
    head = SoftmaxHead().fit(*digits_3v8.train)
    single, double = Influences(head, digits_3v8.train, dtype="float32"), Influences(head, digits_3v8.train)
    np.testing.assert_array_equal(single.own("leverage").values, double.own("leverage").values)
    np.testing.assert_array_equal(single.own(penalty=1e-3).values, double.own(penalty=1e-3).values)
    np.testing.assert_array_equal(single.leverage(), double.leverage())
    asked = (digits_3v8.candidates, digits_3v8.target)
    np.testing.assert_array_equal(single.of(*asked, correction="leverage").values, double.of(*asked, correction="leverage").values)


def test_refits_verify_single_precision_too(digits_3v8: Task) -> None:
    head = SoftmaxHead().fit(*digits_3v8.train)
    verified = Influences(head, digits_3v8.train, dtype="float32").own(verify=4).trust.verified
    expected = Influences(head, digits_3v8.train).own(verify=4).trust.verified
    assert verified is not None
    assert expected is not None
    np.testing.assert_array_equal(verified.actual, expected.actual)
    np.testing.assert_allclose(verified.predicted, expected.predicted, rtol=1e-4)


@pytest.mark.parametrize("points", [40, 400])
@LEVERAGE
def test_wide_features_are_scored_in_their_span_in_single_precision_too(points: int) -> None:
    rng = np.random.default_rng(5)
    X: Array = rng.standard_normal((points, 60))
    y = np.arange(points) % 3
    head = SoftmaxHead(C=0.1).fit(X, y)
    found = Influences(head, (X, y), dtype="float32").own()
    assert found.trust.solver == "single"
    assert error(found.values, self_influence(head, (X, y))) < 1e-4


def test_an_unknown_precision_is_refused(digits_3v8: Task, without_type_checks: None) -> None:
    head = SoftmaxHead().fit(*digits_3v8.train)
    with pytest.raises(InputError, match="dtype: got 'half'; expected 'float64' or 'float32'"):
        Influences(head, digits_3v8.train, dtype="half")  # type: ignore[arg-type]  # what is tested
