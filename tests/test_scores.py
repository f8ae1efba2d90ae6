from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import influence, self_influence
from augury.scores import Method, Scores, score
from conftest import Task

Array = npt.NDArray[Any]
METHODS: tuple[Method, ...] = get_args(Method)
KINDS: dict[str, Callable[[Array], Any]] = {
    "integers": lambda codes: codes,
    "shifted integers": lambda codes: codes * 5 - 20,
    "strings": lambda codes: np.array([f"class {code}" for code in codes]),
    "string objects": lambda codes: np.array([f"class {code}" for code in codes], dtype=object),
    "a list": lambda codes: codes.tolist(),
    "a tensor": torch.as_tensor,
}


def dense_self_influence(P: Array, X: Array, codes: Array, penalty: float) -> Array:
    """g^T H^+ g of a softmax regression with a row of parameters for each class, from its textbook gradient and Hessian."""
    F = np.c_[X, np.ones(len(X))]
    C, p = P.shape[1], F.shape[1]
    H = np.kron(np.eye(C), np.diag([penalty] * (p - 1) + [0.0]))
    for probabilities, f in zip(P, F, strict=True):
        H += np.kron(np.diag(probabilities) - np.outer(probabilities, probabilities), np.outer(f, f))
    G = np.einsum("nc,np->ncp", P - np.eye(C)[codes], F).reshape(len(F), C * p)
    values: Array = np.einsum("ni,ij,nj->n", G, np.linalg.pinv(H, rcond=1e-13, hermitian=True), G)
    return values


def tiny(values: Array) -> Scores:
    n = len(values)
    labels, origin = np.arange(n) % 2, np.array([f"p{i}" for i in range(n)])
    return Scores(values, labels, np.ones(n), np.full(n, np.exp(-1)), "loss", ("a", "b"), origin, {"C": 1.0})


def test_the_influence_score_is_the_magnitude_of_self_influence(task: Task) -> None:
    X, y, _ = task.train
    head = SoftmaxHead().fit(X, y)
    values = score(X, y, "influence", head).values
    assert (values > 0).all()
    np.testing.assert_array_equal(values, np.abs(self_influence(head, (X, y))))


def test_the_influence_score_is_what_dense_linear_algebra_at_another_solvers_minimum_gives(digits: Task) -> None:
    X, y, _ = digits.train
    P = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(score(X, y).values, dense_self_influence(P, X, y, penalty=1.0), rtol=1e-4)


def test_the_binary_influence_score_is_that_of_the_logistic_loss(digits_3v8: Task) -> None:
    X, y, _ = digits_3v8.train
    p = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y).predict_proba(X)[:, 1]
    F = np.c_[X, np.ones(len(X))]
    H = F.T @ ((p * (1 - p))[:, None] * F) + np.diag([1.0] * X.shape[1] + [0.0])
    expected = (p - (y == 8)) ** 2 * np.einsum("ni,ij,nj->n", F, np.linalg.inv(H), F)
    np.testing.assert_allclose(score(X, y).values, expected, rtol=1e-4)


@pytest.mark.parametrize("penalty", [0.3, 1e-6])
def test_the_penalty_in_the_hessian_may_be_another_than_the_one_that_the_head_was_fitted_with(digits: Task, penalty: float) -> None:
    X, y, _ = digits.train
    X = X[:, X.std(axis=0) > 0]  # a pixel that is always white would leave H singular
    P = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y).predict_proba(X)
    found = score(X, y, penalty=penalty)
    np.testing.assert_allclose(found.values, dense_self_influence(P, X, y, penalty), rtol=1e-3)
    assert found.cause["penalty"] == penalty
    assert "penalty" not in score(X, y).cause


def test_without_the_penalty_the_binary_influence_is_exp_of_the_loss_less_one_times_the_leverage(mnist_3v8: Task) -> None:
    """So it is in paper 2's code, which fits with a penalty and adds 2e-10 to H."""
    X, y, _ = mnist_3v8.train
    X = X[:, (X > 0).sum(axis=0) > 20]  # of a pixel that is lit in a few images, even 2e-10 is some of the curvature
    p = LogisticRegression(tol=1e-12, max_iter=10_000).fit(X, y).predict_proba(X)[:, 1]
    A = np.sqrt(p * (1 - p))[:, None] * np.c_[X, np.ones(len(X))]
    leverage = np.einsum("ij,ij->i", *(2 * [np.linalg.svd(A, full_matrices=False)[0]]))
    found = score(X, y, penalty=2e-10)
    np.testing.assert_allclose(found.values, np.expm1(found.losses) * leverage, rtol=1e-4)


def test_the_loss_score_is_scikit_learns_log_loss_of_each_point(task: Task) -> None:
    X, y, _ = task.train
    found = score(X, y, "loss")
    model = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y)
    P = model.predict_proba(X)
    expected = [log_loss([label], [row], labels=model.classes_) for label, row in zip(y, P, strict=True)]
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    np.testing.assert_array_equal(found.losses, found.values)
    np.testing.assert_allclose(found.probabilities, P[np.arange(len(y)), found.labels], rtol=1e-5)


def test_the_validation_score_is_the_fall_of_the_target_loss_that_real_refits_show(digits_3v8: Task) -> None:
    X, y, _ = digits_3v8.train
    Xt, yt = digits_3v8.target
    found = score(X, y, "validation", target=(Xt, yt)).values
    eps = 1e-4

    def target_loss(point: int, weight: float) -> float:
        weights = np.ones(len(y))
        weights[point] = weight
        head = SoftmaxHead().fit(X, y, weights)
        return log_loss(yt, head.predict_proba(Xt), labels=head.classes_)

    assert min(found) < 0 < max(found)
    for point in [int(found.argmax()), int(found.argmin()), 0, 1]:
        slope = (target_loss(point, 1 + eps) - target_loss(point, 1 - eps)) / (2 * eps)
        assert found[point] == pytest.approx(-slope, rel=1e-5)


def test_the_validation_score_takes_weights_of_the_target_points(digits: Task) -> None:
    X, y, _ = digits.train
    head = SoftmaxHead().fit(X, y)
    weights = np.random.default_rng(0).uniform(size=len(digits.yt))
    target = (*digits.target, weights)
    expected = -np.asarray(influence(head, (X, y), (X, y), target))
    np.testing.assert_array_equal(score(X, y, "validation", head, target).values, expected)


def test_the_uniform_score_prefers_no_point(digits: Task) -> None:
    found = score(digits.X, digits.y, "uniform")
    np.testing.assert_array_equal(found.values, np.ones(len(digits.y)))
    assert found.losses.std() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_the_kind_of_labels_changes_nothing_but_the_names_of_the_classes(digits: Task, kind: str, method: Method) -> None:
    kept, target = digits.y > 5, digits.yt > 5
    X, codes = digits.X[kept], digits.y[kept]
    goal = (digits.Xt[target], digits.yt[target])
    plain = score(X, codes, method, target=goal if method == "validation" else None)
    labels, goals = KINDS[kind](codes), (goal[0], KINDS[kind](goal[1]))
    found = score(X, labels, method, target=goals if method == "validation" else None)
    np.testing.assert_array_equal(found.values, plain.values)
    np.testing.assert_array_equal(found.labels, codes - 6)
    assert found.classes == tuple(dict.fromkeys(str(name) for name in np.unique(np.asarray(labels))))


@pytest.mark.parametrize("method", ["influence", "loss", "margin", "support"])
def test_features_may_be_a_tensor_that_is_being_learned(digits_3v8: Task, method: Method) -> None:
    X, y, _ = digits_3v8.train
    plain, found = score(X, y, method), score(torch.tensor(X, requires_grad=True), y, method)
    assert isinstance(found.values, np.ndarray)
    np.testing.assert_allclose(found.values, plain.values, rtol=1e-9)


def test_scoring_leaves_the_head_as_it_was(digits: Task) -> None:
    head = SoftmaxHead(C=0.3).fit(digits.X, digits.y)
    before = {name: np.copy(value) for name, value in vars(head).items()}
    for method in METHODS:
        score(digits.X, digits.y, method, head, digits.target if method == "validation" else None)
    assert all(np.array_equal(before[name], value) for name, value in vars(head).items())


@pytest.mark.parametrize("method", METHODS)
def test_scores_come_back_from_a_file_bit_for_bit(digits: Task, tmp_path: Path, method: Method) -> None:
    labels = np.array([f"Ziffer „{digit}“, " for digit in digits.y])
    goal = (digits.Xt, np.array([f"Ziffer „{digit}“, " for digit in digits.yt])) if method == "validation" else None
    origin = [f"a/{i}.png" for i in range(len(labels))]
    saved = score(digits.X, labels, method, SoftmaxHead(C=np.float64(0.7)).fit(digits.X, labels), goal, origin=origin, cause={"data": "x"})
    found = Scores.load(saved.save(tmp_path / "scores.parquet"))
    for name in ("values", "labels", "losses", "probabilities", "origin"):
        np.testing.assert_array_equal(getattr(found, name), getattr(saved, name), strict=name != "origin")
    assert (found.method, found.classes, found.cause) == (saved.method, saved.classes, saved.cause)
    assert found.cause == {"C": 0.7, "converged": True, "data": "x"}
    again = found.save(tmp_path / "again.parquet")
    assert again.read_bytes() == (tmp_path / "scores.parquet").read_bytes()


def test_the_table_tells_of_each_point_where_it_came_from_and_its_class_by_name() -> None:
    frame = tiny(np.array([0.5, 2.0, 0.0])).to_frame()
    assert frame.columns.tolist() == ["index", "origin", "label", "score", "loss", "probability"]
    assert frame.loc[1].tolist() == [1, "p1", "b", 2.0, 1.0, np.exp(-1)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_finite_number_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match=rf"scores: the score of point 1 is {bad}; expected finite numbers"):
        tiny(np.array([1.0, bad, bad]))


def test_a_head_so_far_off_that_scores_overflow_is_told(digits_3v8: Task) -> None:
    X, y, _ = digits_3v8.train
    head = SoftmaxHead().fit(X, y)
    head.coef_ = np.full_like(head.coef_, np.inf)
    with pytest.raises(InputError, match="scores: the score of point 0 is nan"):
        score(X, y, "loss", head)


@pytest.mark.usefixtures("without_type_checks")
def test_columns_of_scores_that_do_not_fit_together_are_named() -> None:
    one, two = np.ones(1), np.ones(2)
    labels = np.zeros(2, dtype=np.int64)
    with pytest.raises(InputError, match="origin: 1 entries for 2 scores"):
        Scores(two, labels, two, two, "loss", ("a",), np.array(["p"]))
    with pytest.raises(InputError, match="losses: 1 entries for 2 scores"):
        Scores(two, labels, one, two, "loss", ("a",), np.array(["p", "q"]))
    with pytest.raises(InputError, match="labels: a label has no class; expected 0 to 0 for 1 classes"):
        Scores(two, labels + 1, two, two, "loss", ("a",), np.array(["p", "q"]))


@pytest.mark.usefixtures("without_type_checks")
def test_what_cannot_be_scored_is_refused_with_the_argument_named(digits_3v8: Task) -> None:
    X, y, _ = digits_3v8.train
    head = SoftmaxHead().fit(X, y)
    unknown = np.where(np.arange(len(y)) == 7, 5, y)
    rare = np.where(np.arange(len(y)) < 2, 9, y)
    refused: list[tuple[Callable[[], Scores], str]] = [
        (lambda: score(X, y, "los"), r"method: got 'los'; expected one of influence, loss, validation, margin, support, uniform"),
        (lambda: score(X, y, "validation"), r"target: expected \(X, y\) of a target set with method='validation'"),
        (lambda: score(X, y, "loss", target=(X, y)), r"target: expected \(X, y\) of a target set with method='validation', and only there"),
        (lambda: score(X, y, "validation", target=(X, unknown)), r"target: label .*5.* is none of the head's classes"),
        (lambda: score(X, unknown, "loss", head), r"y: label 5 is none of the head's classes; fit the head"),
        (lambda: score(X, y.astype(str), "loss", head), r"y: label '[38]' is none of the head's classes"),
        (lambda: score(X, y[:-1], "loss", head), r"y: labels of shape \(199,\) for 200 points"),
        (lambda: score(X, y[:, None], "loss", head), r"y: labels of shape \(200, 1\) for 200 points"),
        (lambda: score(X[:, 1:], y, "loss", head), r"X: 63 features; the head was fitted to 64"),
        (lambda: score(X, y, "loss", LogisticRegression().fit(X, y)), r"head: got LogisticRegression; expected an augury.SoftmaxHead"),
        (lambda: score(X, rare, "margin"), r"y: a class has 2 points; the linear SVM is tuned by 4 folds and needs 4 of each"),
        (lambda: score(X, rare, "support"), r"y: a class has 2 points; the linear SVM is tuned by 4 folds and needs 4 of each"),
        (lambda: score(X, y, "loss", penalty=0.1), r"penalty: given, and method is 'loss'; only the Hessian of method='influence'"),
        (lambda: score(X, y, penalty=-1.0), r"penalty: got -1.0; expected a number that is not negative"),
        (lambda: score(X, y, "loss", origin=["one"]), r"origin: 1 entries for 200 scores"),
        (lambda: score(X, np.zeros(200)), r"y: only one class"),
    ]
    for call, message in refused:
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        score(X, y, "loss", SoftmaxHead())
