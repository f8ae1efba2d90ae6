"""What influence refuses, what it warns of, what it needs in memory, and what it leaves differentiable."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import augury.softmax
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import Correction, Effect, influence, leverage, self_influence
from conftest import Array, PeakMemory, Task


@pytest.fixture
def head(digits_3v8: Task) -> SoftmaxHead:
    return SoftmaxHead().fit(*digits_3v8.train)


def changed(values: Array, index: int | tuple[int, int], value: float | str) -> Array:
    """A copy with one element changed."""
    copy = np.array(values, dtype=object if isinstance(value, str) else None)
    copy[index] = value
    return copy


Changes = Callable[[Task], dict[str, Any]]

BAD: dict[str, tuple[Changes, str]] = {
    "effect": (lambda t: {"effect": "augment"}, "effect: got 'augment'; expected 'add', 'remove' or 'replace'"),
    "correction": (lambda t: {"correction": "newton"}, "correction: got 'newton'; expected None or 'leverage'"),
    "solver": (lambda t: {"solver": "lissa"}, "solver: got 'lissa'; expected 'auto', 'exact' or 'cg'"),
    "no pair": (lambda t: {"train": t.X}, r"train: expected a tuple \(X, y\) or \(X, y, weight\)"),
    "four": (lambda t: {"target": (*t.train, 1)}, r"target: expected a tuple \(X, y\)"),
    "replaced missing": (lambda t: {"effect": "replace"}, r"replaced: missing; effect='replace' needs \(X, y\) of the training points"),
    "replaced length": (
        lambda t: {"effect": "replace", "replaced": (t.X[:3], t.y[:3])},
        "replaced: 3 points for 60 candidates; give one for each",
    ),
    "replaced unused": (lambda t: {"replaced": t.candidates}, "replaced: "),
    "unseen label": (lambda t: {"candidates": (t.Xc, changed(t.yc, 0, 7))}, "candidates: label 7 is none of the head's classes"),
    "label above all": (lambda t: {"candidates": (t.Xc, changed(t.yc, 0, 9))}, "candidates: label 9 is none of the head's classes"),
    "label of another kind": (lambda t: {"target": (t.Xt, t.yt.astype(str))}, "target: label '(3|8)' is none of the head's classes"),
    "label missing": (lambda t: {"target": (t.Xt, [None, *t.yt[1:]])}, "target: label None is none of the head's classes"),
    "feature count": (lambda t: {"candidates": (t.Xc[:, :9], t.yc)}, "candidates: 9 features; the head was fitted to 64"),
    "features flat": (lambda t: {"candidates": (t.Xc[0], t.yc[:1])}, r"candidates\[0\]: shape \(64,\); expected \(points, features\)"),
    "no point": (lambda t: {"target": (t.Xt[:0], t.yt[:0])}, r"target\[0\]: shape \(0, 64\); .* at least one point"),
    "text": (lambda t: {"candidates": (changed(t.Xc, (0, 0), "dark"), t.yc)}, r"candidates\[0\]: "),
    "ragged": (lambda t: {"candidates": ([[1.0, 2.0], [1.0]], [3, 8])}, r"candidates\[0\]: "),
    "NaN": (lambda t: {"train": (changed(t.X, (5, 2), np.nan), t.y)}, r"train\[0\]: point 5 has a NaN or infinite feature"),
    "infinite": (lambda t: {"target": (changed(t.Xt, (4, 2), np.inf), t.yt)}, r"target\[0\]: point 4 has a NaN or infinite feature"),
    "label count": (lambda t: {"candidates": (t.Xc, t.yc[:5])}, r"candidates: labels of shape \(5,\) for 60 points"),
    "labels in a column": (lambda t: {"target": (t.Xt, t.yt[:, None])}, "target: labels of shape"),
    "weight count": (lambda t: {"candidates": (*t.candidates, np.ones(3))}, r"candidates\[2\]: shape \(3,\) for 60 points"),
    "negative weight": (
        lambda t: {"train": (t.X, t.y, changed(t.weights, 1, -1.0))},
        r"train\[2\]: expected finite weights that are not neg",
    ),
    "infinite weight": (lambda t: {"train": (t.X, t.y, changed(t.weights, 1, np.inf))}, r"train\[2\]: expected finite weights"),
    "no weight": (lambda t: {"target": (*t.target, np.zeros(len(t.yt)))}, r"target\[2\]: every weight is zero"),
    "another head": (lambda t: {"head": LogisticRegression().fit(*t.train)}, "head: .*SoftmaxHead"),
    "more out than in": (
        lambda t: {"effect": "remove", "correction": "leverage", "candidates": (t.X, t.y, np.full(len(t.y), 1e4))},
        r"candidates(\[2\])?: .*weight",
    ),
}


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused_with_the_argument_and_the_cure(digits_3v8: Task, head: SoftmaxHead, bad: str) -> None:
    changes, message = BAD[bad]
    arguments = {"head": head, "train": digits_3v8.train, "candidates": digits_3v8.candidates, "target": digits_3v8.target}
    with pytest.raises(InputError, match=f"^{message}"):
        influence(**(arguments | changes(digits_3v8)))


@pytest.mark.usefixtures("without_type_checks")
def test_self_influence_refuses_an_unknown_correction_too(digits_3v8: Task, head: SoftmaxHead) -> None:
    with pytest.raises(InputError, match="correction: got 'newton'; expected None or 'leverage'"):
        self_influence(head, digits_3v8.train, "newton")


def test_a_head_that_is_not_fitted_is_refused(digits_3v8: Task) -> None:
    with pytest.raises(NotFittedError, match="SoftmaxHead instance is not fitted yet"):
        self_influence(SoftmaxHead(), digits_3v8.train)


def test_points_to_which_the_head_was_not_fitted_are_warned_of_where_the_call_stands(digits_3v8: Task, head: SoftmaxHead) -> None:
    others = digits_3v8.X[:50], digits_3v8.y[:50]
    unweighted = digits_3v8.X, digits_3v8.y
    for train in (others, unweighted):
        for call in (self_influence, leverage, lambda h, t: influence(h, t, digits_3v8.candidates, digits_3v8.target)):
            with pytest.warns(UserWarning, match="fit the head to the same points and weights"):
                call(head, train)


def test_a_fit_to_the_default_tolerance_is_not_warned_of(task: Task) -> None:
    for C in (1e-4, 1.0, 1e6):
        head = SoftmaxHead(C=C).fit(*task.train)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "a point has the leverage")  # which a weak penalty allows
            self_influence(head, task.train)


def test_influence_can_be_differentiated_by_the_candidates_features(task: Task) -> None:
    head = SoftmaxHead().fit(*task.train)
    X = torch.from_numpy(task.Xc[:5].copy()).requires_grad_()
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(X.shape))

    def value(X: Tensor) -> Tensor:
        result = influence(head, task.train, (X, task.yc[:5]), task.target)
        assert isinstance(result, Tensor)
        return result.sum()

    value(X).backward()
    assert X.grad is not None
    step = 1e-4
    moved = [float(value((X + k * step * direction).detach())) for k in (1, -1, 2, -2)]
    difference = (8 * (moved[0] - moved[1]) - (moved[2] - moved[3])) / (12 * step)
    assert float((X.grad * direction).sum()) == pytest.approx(difference, rel=1e-8)


BLOCK = 1 << 15


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> tuple[Array, Array]:
    """20,000 points of 64 features and 4 classes, to be handled in small blocks."""
    monkeypatch.setattr(augury.softmax, "BLOCK_ELEMENTS", BLOCK)
    rng = np.random.default_rng(0)
    return rng.standard_normal((20_000, 64)), rng.integers(0, 4, 20_000)


def bound(points: int) -> int:
    """A few blocks, a few Hessians, and a few numbers for each point (labels, weights, results)."""
    return 8 * BLOCK + 3 * (3 * 65) ** 2 + 4 * points


@pytest.mark.parametrize(("effect", "correction"), [("add", None), ("replace", "leverage")])
def test_influence_needs_memory_for_a_block_and_the_hessian_alone(
    many: tuple[Array, Array], effect: Effect, correction: Correction
) -> None:
    X, y = many
    train, replaced = (X[:1000], y[:1000]), (many if effect == "replace" else None)
    head = SoftmaxHead().fit(*train)
    with PeakMemory(X) as memory:
        influence(head, train, (X, y), train, effect, replaced=replaced, correction=correction)
    assert memory.peak < bound(20_000) < X.size / 2


@pytest.mark.parametrize("work", ["fit", "self_influence", "corrected self_influence", "leverage"])
def test_work_on_the_training_points_needs_memory_for_a_block_and_the_hessian_alone(many: tuple[Array, Array], work: str) -> None:
    X, y = (values[:10_000] for values in many)
    features = torch.from_numpy(X)  # scikit-learn copies numpy arrays when it checks them
    head = SoftmaxHead().fit(features, y)
    with PeakMemory(X) as memory:
        {
            "fit": lambda: head.fit(features, y),
            "self_influence": lambda: self_influence(head, (X, y)),
            "corrected self_influence": lambda: self_influence(head, (X, y), "leverage"),
            "leverage": lambda: leverage(head, (X, y)),
        }[work]()
    assert memory.peak < bound(10_000) < X.size * 2 / 3


def test_self_influence_by_conjugate_gradients_needs_memory_for_a_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augury.softmax, "BLOCK_ELEMENTS", 1 << 12)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 4)), rng.integers(0, 3, 300)
    head = SoftmaxHead().fit(X, y)
    with PeakMemory(X) as memory:
        self_influence(head, (X, y), solver="cg")
    assert memory.peak < 12 * (1 << 12)
