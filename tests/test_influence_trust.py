"""What stands beside influences: residual, condition number, leverage, doubts, and refits; and scoring of many points."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import augury.curvature.dense
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import Influences, InfluenceWarning, influence, leverage, self_influence
from augury.influence import own as ways
from conftest import Array, Task, steepest_leverage


def blobs(points: int, features: int, classes: int, seed: int = 0) -> tuple[Array, Array]:
    """Overlapping classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(points) % classes
    return rng.standard_normal((classes, features))[y] + rng.standard_normal((points, features)), y


def test_scores_of_many_points_are_those_of_triangular_solves(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs(900, 12, 6)
    w = np.random.default_rng(1).uniform(0.5, 2, 900)
    head = SoftmaxHead().fit(X, y, w)
    fast = Influences(head, (X, y, w)).own()
    assert 0 < fast.trust.residual < 1e-12  # the two ways were compared
    monkeypatch.setattr(ways, "HALVED", 100)
    slow = Influences(head, (X, y, w)).own()
    assert slow.trust.leverage is None
    np.testing.assert_allclose(fast.values, slow.values, rtol=1e-11)
    assert fast.trust.leverage == pytest.approx(steepest_leverage(head, X, w), rel=1e-8)


def test_where_the_two_ways_disagree_the_slower_and_safer_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs(900, 12, 6)
    head = SoftmaxHead().fit(X, y)
    expected = self_influence(head, (X, y))
    monkeypatch.setattr(ways, "AGREED", 0.0)
    assert Influences(head, (X, y)).own().trust.leverage is None
    np.testing.assert_allclose(self_influence(head, (X, y)), expected, rtol=1e-11)


def test_with_two_classes_the_leverage_comes_with_the_values(digits_3v8: Task) -> None:
    head = SoftmaxHead().fit(*digits_3v8.train)
    found = Influences(head, digits_3v8.train).own()
    assert found.trust.leverage == pytest.approx(leverage(head, digits_3v8.train).max(), rel=1e-8)


def test_one_factorisation_answers_what_the_functions_answer(digits: Task) -> None:
    head = SoftmaxHead().fit(*digits.train)
    asked = Influences(head, digits.train)
    np.testing.assert_allclose(
        asked.of(digits.candidates, digits.target).values, influence(head, digits.train, digits.candidates, digits.target), rtol=1e-9
    )
    np.testing.assert_allclose(asked.own().values, self_influence(head, digits.train), rtol=1e-10)
    np.testing.assert_allclose(asked.own("leverage").values, self_influence(head, digits.train, "leverage"), rtol=1e-10)
    np.testing.assert_allclose(asked.leverage(), leverage(head, digits.train), rtol=1e-10)


def test_a_sound_answer_says_so(digits_3v8: Task) -> None:
    head = SoftmaxHead().fit(*digits_3v8.train)
    trust = Influences(head, digits_3v8.train).of(digits_3v8.candidates, digits_3v8.target).trust
    assert trust.solver == "exact"
    assert trust.residual < 1e-12
    assert 1 < trust.condition < 1e4
    assert trust.converged
    assert trust.step < 1e-9
    assert trust.doubts == ()
    assert trust.verified is None


def test_conjugate_gradients_tell_their_residual_and_the_condition_they_met(digits: Task) -> None:
    head = SoftmaxHead().fit(*digits.train)
    trust = Influences(head, digits.train, "cg").of(digits.candidates, digits.target).trust
    assert trust.solver == "cg"
    assert 0 < trust.residual < 1e-11
    assert trust.condition > 1


def test_refits_confirm_the_corrected_influence_and_show_how_far_the_plain_one_is_off(digits_3v8: Task) -> None:
    X, y = digits_3v8.X, digits_3v8.y
    head = SoftmaxHead().fit(X, y)
    asked = Influences(head, (X, y))
    plain, corrected = (asked.of((X, y), digits_3v8.target, "remove", correction=c, verify=8).trust.verified for c in (None, "leverage"))
    assert plain is not None
    assert corrected is not None
    assert plain.indices[0] == np.abs(influence(head, (X, y), (X, y), digits_3v8.target, "remove")).argmax()
    assert len(set(plain.indices)) == 8
    assert plain.slope > 1.2
    assert corrected.slope == pytest.approx(1, abs=0.05)
    assert corrected.correlation > 0.99


def test_the_actual_change_is_that_of_refits_of_the_head(digits_3v8: Task) -> None:
    X, y, w = digits_3v8.train
    head = SoftmaxHead().fit(X, y, w)
    asked = Influences(head, digits_3v8.train)

    def target_loss(fitted: SoftmaxHead) -> float:
        p = fitted.predict_proba(digits_3v8.Xt)
        return float(-np.log(p[np.arange(len(p)), np.searchsorted(fitted.classes_, digits_3v8.yt)]).mean())

    found = asked.of(digits_3v8.candidates, digits_3v8.target, verify=2).trust.verified
    assert found is not None
    for row, actual in zip(found.indices, found.actual, strict=True):
        added = SoftmaxHead().fit(np.r_[X, digits_3v8.Xc[[row]]], np.r_[y, digits_3v8.yc[[row]]], np.r_[w, 1])
        assert actual == pytest.approx(target_loss(added) - target_loss(head), abs=1e-10)
    own = asked.own("leverage", verify=2).trust.verified
    assert own is not None
    row = own.indices[0]
    without = SoftmaxHead().fit(np.delete(X, row, 0), np.delete(y, row), np.delete(w, row))
    column = np.searchsorted(head.classes_, y[row])
    rise = np.log(head.predict_proba(X[[row]])[0, column]) - np.log(without.predict_proba(X[[row]])[0, column])
    assert own.actual[0] == pytest.approx(-rise, abs=1e-9)
    assert own.predicted[0] == pytest.approx(own.actual[0], rel=0.1)


def test_more_refits_than_points_are_refused(digits_3v8: Task) -> None:
    head = SoftmaxHead().fit(*digits_3v8.train)
    with pytest.raises(InputError, match="verify: got 61; expected a number of refits from 0 to 60"):
        Influences(head, digits_3v8.train).of(digits_3v8.candidates, digits_3v8.target, verify=61)


def test_a_leverage_near_one_is_a_doubt_unless_it_is_corrected_for() -> None:
    X, y = blobs(40, 2, 2)
    X = np.c_[X, np.zeros(40)]
    X[0, 2] = 5.0  # a feature that one point alone has
    train = (X, y)
    head = SoftmaxHead(C=1e11).fit(*train)
    assert np.max(leverage(head, train)) > 0.95
    with pytest.warns(InfluenceWarning, match="a point has the leverage 0.9.*use correction='leverage'"):
        found = Influences(head, train).own()
    assert len(found.trust.doubts) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Influences(head, train).own("leverage")


def test_an_ill_conditioned_hessian_is_a_doubt() -> None:
    X, y = blobs(200, 3, 2)
    X = np.c_[X, X[:, 0] + 1e-6 * np.random.default_rng(0).standard_normal(200)]
    head = SoftmaxHead(C=1e12).fit(X, y)
    with pytest.warns(InfluenceWarning, match=r"the Hessian is ill-conditioned \(.*e\+1.*standardise the features"):
        trust = Influences(head, (X, y)).of((X, y), (X, y)).trust
    assert trust.condition > 1e10


def test_where_no_hessian_fits_self_influence_is_an_estimate_that_states_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs(300, 6, 8)
    head = SoftmaxHead().fit(X, y)
    exact = self_influence(head, (X, y), solver="cg")
    np.testing.assert_allclose(exact, self_influence(head, (X, y), solver="exact"), rtol=1e-9)
    monkeypatch.setattr(augury.curvature.dense, "SURE", 0)
    monkeypatch.setattr(augury.curvature.dense, "free_memory", lambda: 0)
    with pytest.warns(InfluenceWarning, match=r"self-influence is an estimate: .* off by up to \d+%; solver='cg' computes it exactly"):
        found = Influences(head, (X, y)).own()
    assert found.trust.solver == "estimate"
    error = np.abs(found.values - exact) / np.abs(exact)
    assert np.median(error) < found.trust.residual < error.max() * 1.01
    assert np.corrcoef(found.values, exact)[0, 1] > 0.98


def test_the_way_for_one_question_gives_the_same_influence_and_falls_back_on_a_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = blobs(400, 10, 5)
    head = SoftmaxHead().fit(X, y)
    exact = influence(head, (X, y), (X, y), (X, y), solver="exact")
    monkeypatch.setattr(augury.curvature.fitted, "QUICK", 0)
    assert Influences(head, (X, y), once=True).of((X, y), (X, y)).trust.solver == "cg"
    np.testing.assert_allclose(influence(head, (X, y), (X, y), (X, y)), exact, rtol=1e-9, atol=1e-12 * np.abs(exact).max())
    monkeypatch.setattr(augury.curvature.matrix, "MOST", 1)
    monkeypatch.setattr(augury.curvature.fitted, "ROUGHLY", 1e9)
    assert Influences(head, (X, y), once=True).of((X, y), (X, y)).trust.solver == "exact"


def test_torch_features_give_torch_values(digits_3v8: Task) -> None:
    X = torch.from_numpy(digits_3v8.X)
    head = SoftmaxHead().fit(X, digits_3v8.y)
    assert isinstance(Influences(head, (X, digits_3v8.y)).own().values, torch.Tensor)
