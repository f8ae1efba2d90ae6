from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import augury.softmax
from augury.head import SoftmaxHead
from augury.influence import Correction, Effect, influence, leverage, self_influence
from conftest import Array, Task, make_task

Shuffled = tuple[SoftmaxHead, tuple[Array, Array, Array]]
CORRECTIONS = pytest.mark.parametrize("correction", [None, "leverage"])
EFFECTS = pytest.mark.parametrize("effect", ["add", "remove", "replace"])


@pytest.fixture(scope="module")
def head(task: Task) -> SoftmaxHead:
    return SoftmaxHead().fit(*task.train)


@pytest.fixture(scope="module")
def shuffled(task: Task) -> Shuffled:
    """The same training points in another order, and a head fitted to them."""
    order = np.random.default_rng(0).permutation(len(task.X))
    train = task.X[order], task.y[order], task.weights[order]
    return SoftmaxHead().fit(*train), train


def small_task(classes: int, seed: int) -> Task:
    """Points of random classes at random places: nothing that could hide a wrong term."""
    rng = np.random.default_rng(seed)
    y = np.append(np.arange(classes), rng.integers(0, classes, 60 - classes))
    return make_task(rng.standard_normal((60, 3)) + y[:, None] / 2, y, train=30, candidates=15)


TASKS = st.builds(small_task, st.integers(2, 4), st.integers(0, 2**31))
few = settings(max_examples=8, phases=(Phase.explicit, Phase.generate))  # a smaller seed is no simpler: no shrinking


def close(actual: Array, expected: Array) -> None:
    """To 1e-11 of the largest: what rounding leaves of sums that cancel."""
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-11 * np.abs(expected).max())


# What must hold for any data.


@few
@given(TASKS, st.floats(1e-3, 1e3))
def test_influence_is_linear_in_the_candidates_weight(task: Task, factor: float) -> None:
    head = SoftmaxHead().fit(*task.train)
    once = influence(head, task.train, task.candidates, task.target)
    weights = factor * np.random.default_rng(0).uniform(1, 2, len(task.yc))
    close(influence(head, task.train, (*task.candidates, weights), task.target), weights * once)
    close(influence(head, task.train, (*task.candidates, np.array(factor)), task.target), factor * once)
    close(influence(head, task.train, task.candidates, task.target, "remove"), -once)


@few
@given(TASKS)
def test_influence_on_a_set_is_the_weighted_mean_of_the_influences_on_its_points(task: Task) -> None:
    head = SoftmaxHead().fit(*task.train)
    single = np.stack([influence(head, task.train, task.candidates, (x[None], y[None])) for x, y in zip(*task.target, strict=True)])
    close(influence(head, task.train, task.candidates, task.target), single.mean(0))
    weights = np.random.default_rng(0).uniform(0, 5, len(task.yt))
    close(influence(head, task.train, task.candidates, (*task.target, weights)), np.average(single, axis=0, weights=weights))


@few
@given(TASKS)
def test_self_influence_is_the_influence_of_a_point_on_itself_and_never_positive(task: Task) -> None:
    head = SoftmaxHead().fit(*task.train)
    own = self_influence(head, task.train)
    points = list(zip(task.X, task.y, strict=True))
    close(own, np.array([influence(head, task.train, (x[None], y[None]), (x[None], y[None]))[0] for x, y in points]))
    assert (own <= 0).all()
    assert (self_influence(head, task.train, "leverage") <= task.weights * own).all()  # without the point its loss rises by more than that


@few
@given(TASKS)
def test_the_weighted_influences_of_all_training_points_sum_to_that_of_the_penalty(task: Task) -> None:
    head = SoftmaxHead(C=0.5).fit(*task.train)
    total = task.weights @ influence(head, task.train, task.train[:2], task.target)
    # to let every weight grow alike is to let C grow: the sum is lam mean_g^T H^-1 D W, the derivative by log C
    step = 1e-3
    log_loss = [
        -np.log(moved.predict_proba(task.Xt)[np.arange(len(task.yt)), task.yt]).mean()
        for moved in (SoftmaxHead(C=0.5 * np.exp(k * step)).fit(*task.train) for k in (1, -1, 2, -2))
    ]
    derivative = (8 * (log_loss[0] - log_loss[1]) - (log_loss[2] - log_loss[3])) / (12 * step)
    assert total == pytest.approx(derivative, rel=1e-6, abs=1e-9)


@EFFECTS
@few
@given(TASKS)
def test_the_correction_is_the_second_order_effect_of_one_newton_step_on_the_changed_set(effect: Effect, task: Task) -> None:
    head = SoftmaxHead().fit(*task.train)
    incoming = (*task.candidates, np.random.default_rng(1).uniform(0.5, 2, 15))
    outgoing = tuple(values[:15] for values in task.train)
    points = outgoing if effect == "remove" else incoming
    target = (*task.target, np.random.default_rng(2).uniform(0, 3, len(task.yt)))
    got = influence(head, task.train, points, target, effect, replaced=outgoing if effect == "replace" else None, correction="leverage")
    signed = {"add": [(1, incoming)], "remove": [(-1, outgoing)], "replace": [(1, incoming), (-1, outgoing)]}[effect]
    H = dense(head, task.train)[1] + penalty(head)
    g_target, H_target = (part / target[2].sum() for part in dense(head, target))
    for i in range(15):
        changes = [(sign, *dense(head, tuple(values[i : i + 1] for values in point))) for sign, point in signed]
        moved = -np.linalg.solve(H + sum(sign * h for sign, _, h in changes), sum(sign * g for sign, g, _ in changes))
        assert got[i] == pytest.approx(g_target @ moved + moved @ H_target @ moved / 2, rel=1e-9, abs=1e-13)


def dense(head: SoftmaxHead, points: tuple[Array, ...]) -> tuple[Array, Array]:
    """Weighted sum of the losses' gradients and Hessians, in C - 1 rows against the first class: any parameters give the same steps."""
    X, y, weights = points
    p, f = head.predict_proba(X)[:, 1:], np.c_[X, np.ones(len(X))]
    g = np.einsum("n,nc,np->cp", weights, p - (y[:, None] == head.classes_[1:]), f).ravel()
    S = np.einsum("nc,cd->ncd", p, np.eye(p.shape[1])) - p[:, :, None] * p[:, None, :]
    size = g.size
    return g, np.einsum("n,ncd,np,nq->cpdq", weights, S, f, f).reshape(size, size)


def penalty(head: SoftmaxHead) -> Array:
    """lam D in these rows: the symmetric rows' squares, after their mean has been taken out, are the rows' through I - 1 1^T / C."""
    classes, d = len(head.classes_), head.n_features_in_
    rows = np.eye(1) if classes == 2 else np.eye(classes - 1) - 1 / classes
    return np.kron(rows, np.diag(np.append(np.ones(d), 0))) / head.C


# What must change nothing.


@EFFECTS
@CORRECTIONS
def test_order_names_kind_and_blocks_change_nothing(
    task: Task, head: SoftmaxHead, shuffled: Shuffled, effect: Effect, correction: Correction, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = tuple(values[:20] for values in (task.train if effect == "remove" else task.candidates))
    outgoing = tuple(values[40:60] for values in task.train) if effect == "replace" else None
    settings = {"replaced": outgoing, "correction": correction}
    expected = influence(head, task.train, points, task.target, effect, **settings)
    close(influence(*shuffled, points, task.target, effect, **settings), expected)
    tensors = torch.from_numpy(points[0]), *points[1:]
    result = influence(head, task.train, tensors, task.target, effect, **settings)
    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.float64
    np.testing.assert_array_equal(result.numpy(), expected)
    monkeypatch.setattr(augury.softmax, "BLOCK_ELEMENTS", 4000)
    close(influence(head, task.train, points, task.target, effect, **settings), expected)


@CORRECTIONS
def test_renaming_the_classes_changes_nothing(task: Task, head: SoftmaxHead, correction: Correction) -> None:
    names = np.random.default_rng(0).permutation([f"class {i}" for i in range(len(head.classes_))])

    def renamed(points: tuple[Array, ...]) -> tuple[Array, ...]:
        return points[0], names[np.searchsorted(head.classes_, points[1])], *points[2:]

    other = SoftmaxHead().fit(*renamed(task.train))
    close(self_influence(other, renamed(task.train), correction), self_influence(head, task.train, correction))
    moved = influence(other, *map(renamed, (task.train, task.candidates, task.target)), correction=correction)
    close(moved, influence(head, task.train, task.candidates, task.target, correction=correction))
    np.testing.assert_allclose(leverage(other, renamed(task.train)), leverage(head, task.train), rtol=0, atol=1e-11)


def test_self_influence_and_leverage_come_back_as_what_came_in_whatever_the_block(
    task: Task, head: SoftmaxHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = (self_influence, lambda *a: self_influence(*a, "leverage"), leverage)
    expected = [function(head, task.train) for function in functions]
    monkeypatch.setattr(augury.softmax, "BLOCK_ELEMENTS", 4000)
    for function, values in zip(functions, expected, strict=True):
        assert values.shape == (len(task.X),)
        close(function(head, task.train), values)
        assert isinstance(function(head, (torch.from_numpy(task.X), *task.train[1:])), torch.Tensor)


def test_a_point_twice_is_a_point_of_weight_two(task: Task) -> None:
    train = task.X, task.y, 1.0 + (np.arange(len(task.y)) < 50)
    twice = np.vstack([task.X, task.X[:50]]), np.append(task.y, task.y[:50])
    one, other = SoftmaxHead().fit(*train), SoftmaxHead().fit(*twice)
    close(influence(other, twice, task.candidates, task.target), influence(one, train, task.candidates, task.target))
    close(self_influence(other, twice)[: len(task.X)], self_influence(one, train))
    np.testing.assert_allclose(2 * leverage(other, twice)[:50], leverage(one, train)[:50], rtol=0, atol=1e-11)


@CORRECTIONS
@pytest.mark.parametrize("offset", [1e2, 1e4])
def test_an_offset_of_all_features_changes_nothing(task: Task, head: SoftmaxHead, offset: float, correction: Correction) -> None:
    train, candidates, target = ((points[0] + offset, *points[1:]) for points in (task.train, task.candidates, task.target))
    other = SoftmaxHead().fit(*train)
    expected = influence(head, task.train, task.candidates, task.target, correction=correction)
    moved = influence(other, train, candidates, target, correction=correction)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-8 * np.abs(expected).max())  # adding 1e4 rounds the features to 1e-12
    np.testing.assert_allclose(self_influence(other, train, correction), self_influence(head, task.train, correction), rtol=1e-6)
    np.testing.assert_allclose(leverage(other, train), leverage(head, task.train), rtol=1e-6)


def test_leverages_sum_to_the_effective_number_of_parameters(task: Task, head: SoftmaxHead) -> None:
    h = leverage(head, task.train)
    assert (h >= 0).all()
    assert (h < len(head.classes_) - 1).all()
    _, losses_hessian = dense(head, task.train)
    assert h.sum() == pytest.approx(np.trace(np.linalg.solve(losses_hessian + penalty(head), losses_hessian)), rel=1e-9)
