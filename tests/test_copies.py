from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import spearmanr

import augury.copies.growing
import augury.copies.rounds
import augury.curvature.fitted
import augury.softmax
from augury.copies import CopyOrdering, choose_copies, class_weighted, worst_group
from augury.copies.growing import SETTLED, GrowingFit
from augury.copies.leftout import left_out
from augury.copies.pool import CopyPool
from augury.copies.rounds import shares
from augury.copies.weighing import HEAVY
from augury.curvature import FittedHead
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import influence
from augury.softmax import SoftmaxProblem
from conftest import digits_features

Array = npt.NDArray[Any]
SHIFTS = [(1, 1), (1, -1), (-1, 1), (-1, -1)]


class Shifted(NamedTuple):
    """Digits and their copies shifted by a pixel, diagonally; test points with their copies among them."""

    X: Array
    y: Array
    copies: Array
    Xt: Array
    yt: Array

    @property
    def head(self) -> SoftmaxHead:
        return SoftmaxHead().fit(self.X, self.y)

    @property
    def train(self) -> tuple[Array, Array]:
        return self.X, self.y

    @property
    def target(self) -> tuple[Array, Array]:
        return self.Xt, self.yt

    @property
    def pool(self) -> tuple[Array, Array]:
        return self.copies.reshape(-1, self.X.shape[1]), np.repeat(self.y, len(SHIFTS))

    def refitted(self, chosen: Array, weight: float = 1.0) -> SoftmaxHead:
        """The head really retrained with some copies."""
        X, y = self.pool
        weights = np.concatenate([np.ones(len(self.y)), np.full(len(chosen), weight)])
        return SoftmaxHead().fit(np.concatenate([self.X, X[chosen]]), np.concatenate([self.y, y[chosen]]), weights)


def shifted(X: Array) -> Array:
    images = X.reshape(-1, 8, 8)
    return np.stack([np.roll(images, shift, axis=(1, 2)).reshape(-1, 64) for shift in SHIFTS], axis=1)


def make(labels: list[int], points: int) -> Shifted:
    X, y = digits_features()
    X, y = X[np.isin(y, labels)], y[np.isin(y, labels)]
    rest, rest_y = X[points : 2 * points], y[points : 2 * points]
    Xt = np.concatenate([rest, shifted(rest).reshape(-1, 64)])
    return Shifted(X[:points], y[:points], shifted(X[:points]), Xt, np.concatenate([rest_y, np.repeat(rest_y, len(SHIFTS))]))


@pytest.fixture(scope="module")
def two() -> Shifted:
    return make([3, 8], 120)


@pytest.fixture(scope="module")
def three() -> Shifted:
    return make([3, 8, 9], 90)


@pytest.fixture(scope="module", params=["two", "three"])
def task(request: pytest.FixtureRequest) -> Shifted:
    return request.getfixturevalue(request.param)


def losses(head: SoftmaxHead, X: Array, y: Array) -> Array:
    return -np.log(np.asarray(head.predict_proba(X))[np.arange(len(y)), np.searchsorted(head.classes_, y)])


@pytest.fixture(scope="module")
def chosen(two: Shifted) -> CopyOrdering:
    return choose_copies(two.head, two.train, two.copies, two.target, weight=1)


def test_the_first_round_taken_at_once_is_the_ranking_by_influence(task: Shifted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augury.copies.rounds, "LEAST", 30)
    ordering = choose_copies(task.head, task.train, task.copies, task.target, weight=1, steps=1)
    first = 30
    assert ordering.budgets[1] == first
    truth = np.asarray(influence(task.head, task.train, task.pool, task.target))
    best = np.argsort(truth, kind="stable")[:first]
    np.testing.assert_array_equal(ordering.candidates[:first], best)
    np.testing.assert_allclose(ordering.influence[:first], truth[best], rtol=1e-4)


def test_a_further_step_sees_the_head_moved_by_the_newton_step_of_the_copies_before(two: Shifted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augury.copies.rounds, "LEAST", 2)
    for limit in ("TURNED", "DOUBTFUL"):
        monkeypatch.setattr(augury.copies.growing, limit, np.inf)  # the whole step, wherever it ends
    ordering = choose_copies(two.head, two.train, two.copies, two.target, weight=3)
    assert ordering.budgets[1] == 2
    head, (X, y), (first, second) = two.head, two.pool, ordering.candidates[:2]
    f, F, T = (np.column_stack([values, np.ones(len(values))]) for values in (X, two.X, two.Xt))
    V = np.append(head.coef_[0], head.intercept_[0])
    q = 1 / (1 + np.exp(-F @ V))
    H = F.T @ (F * (q * (1 - q))[:, None]) + np.diag(np.append(np.ones(64), 0.0))
    p = 1 / (1 + np.exp(-f[first] @ V))
    H += 3 * p * (1 - p) * np.outer(f[first], f[first])
    V = V - np.linalg.solve(H, 3 * (p - (y[first] == 8)) * f[first])
    g = T.T @ (1 / (1 + np.exp(-T @ V)) - (two.yt == 8)) / len(T)
    residual = 1 / (1 + np.exp(-f @ V)) - (y == 8)
    worth = -residual * (f @ np.linalg.solve(H, g))
    assert ordering.influence[1] == pytest.approx(worth[second], rel=1e-4)


def test_the_hessian_grows_by_that_of_the_copies_that_join(task: Shifted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GrowingFit, "_move", lambda *_: None)
    state, fit, pool = started(task)
    picked = torch.arange(0, 60, 7)
    fit.join(picked, 3.0)
    added = pool.take(picked)
    features, labels = torch.cat([state.points[:].features, added.features]), torch.cat([state.points.labels, added.labels])
    weights = torch.cat([state.points.weights, 3 * added.weights])
    fresh = SoftmaxProblem(features, labels, weights, state.problem.classes, 1.0).hessian(state.V)
    kept = (task.X != 0).any(axis=0) | (task.copies != 0).any(axis=(0, 1))
    used = torch.as_tensor(np.tile(np.append(kept, True), len(state.V)))
    rows = torch.randn(3, int(used.sum()), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    truth = torch.linalg.solve(fresh[used][:, used], rows.T).T
    torch.testing.assert_close(fit.curvature.solve(rows), truth, rtol=1e-3, atol=1e-5)


def started(task: Shifted) -> tuple[FittedHead, GrowingFit, CopyPool]:
    state = FittedHead.of(task.head, task.train, "auto")
    pool = CopyPool.of(task.copies, state)
    return state, GrowingFit(state, pool), pool


def test_refits_from_where_the_head_stands_end_at_the_minimum(task: Shifted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augury.copies.growing, "SETTLED", 1e-12)
    _, fit, _ = started(task)
    fit.join(torch.arange(40), 3.0)
    for _ in range(3):
        fit.settle()
    truth = task.refitted(np.arange(40), 3.0).directions(fit.V)
    kept = np.flatnonzero((task.X != 0).any(axis=0) | (task.copies != 0).any(axis=(0, 1)))
    torch.testing.assert_close(fit.V, truth[:, [*kept, -1]], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("weight", [1.0, 30.0])
def test_no_step_raises_the_objective_by_more_than_rounding(two: Shifted, weight: float) -> None:
    _, fit, _ = started(two)
    taken: list[int] = []
    for start in range(0, 480, 60):
        fit.join(torch.arange(start, start + 60), weight)
        taken += range(start, start + 60)
        before = objective(fit, two, taken, weight)
        fit.settle()
        assert objective(fit, two, taken, weight) <= before * (1 + 1e-5)
    best = objective_of(two.refitted(np.array(taken), weight), two, taken, weight)
    assert objective(fit, two, taken, weight) == pytest.approx(best, abs=2 * augury.copies.growing.SETTLED * 600, rel=0.01)


def objective(fit: GrowingFit, task: Shifted, taken: list[int], weight: float) -> float:
    head = task.head
    kept = (task.X != 0).any(axis=0) | (task.copies != 0).any(axis=(0, 1))
    head.coef_ = np.zeros_like(head.coef_)
    head.coef_[0, kept], head.intercept_ = fit.V[0, :-1].numpy(), fit.V[:, -1].numpy()
    return objective_of(head, task, taken, weight)


def objective_of(head: SoftmaxHead, task: Shifted, taken: list[int], weight: float) -> float:
    X, y = task.pool
    own = losses(head, task.X, task.y).sum() + weight * losses(head, X[taken], y[taken]).sum()
    return float(own + np.square(head.coef_).sum() / 2)


def test_copies_that_a_sure_head_gets_wrong_do_not_throw_it_far_off(three: Shifted) -> None:
    """Their gradient is large and their curvature next to nothing: a whole Newton step would be thousands of times too long."""
    sure = Shifted(*(30 * part if part.ndim > 1 else part for part in three))
    head = SoftmaxHead(C=100.0).fit(*sure.train)
    pool, labels = sure.pool
    assert losses(head, pool, labels).max() > 20
    assert losses(head, *sure.train).max() < 1e-2
    found = choose_copies(head, sure.train, sure.copies, "self", weight=1)
    together = np.concatenate([sure.X, pool]), np.concatenate([sure.y, labels])
    real = losses(SoftmaxHead(C=100.0).fit(*together), *together).mean()
    assert found.loss[0] > 100 * real
    assert found.loss[-1] < real + 2 * SETTLED


@pytest.mark.parametrize("weight", [1, 4])
def test_the_predicted_curve_is_the_one_that_retraining_gives(task: Shifted, weight: float) -> None:
    ordering = choose_copies(task.head, task.train, task.copies, task.target, weight=weight)
    heads = [task.refitted(ordering.candidates[:b], ordering.weight_at(int(b))) for b in ordering.budgets]
    real = np.array([losses(head, task.Xt, task.yt).mean() for head in heads])
    np.testing.assert_allclose(ordering.loss, real, rtol=0.05)
    assert spearmanr(ordering.loss, real).statistic > 0.97
    accuracy = [np.mean(head.predict(task.Xt) == task.yt) for head in heads]
    np.testing.assert_allclose(ordering.accuracy, accuracy, atol=0.01)


def test_few_chosen_copies_bring_more_than_as_many_random_ones(two: Shifted) -> None:
    X, y = digits_features()
    kept = np.isin(y, [3, 8])
    unseen, unseen_y = X[kept][240:], y[kept][240:]
    T, t = np.concatenate([unseen, shifted(unseen).reshape(-1, 64)]), np.concatenate([unseen_y, np.repeat(unseen_y, len(SHIFTS))])
    for target in (two.target, None, "folds"):
        ordering = choose_copies(two.head, two.train, two.copies, target, weight=1)
        for budget in (10, 48):
            best = two.refitted(ordering.candidates[:budget]).score(T, t)
            draws = [np.random.default_rng(seed).permutation(480)[:budget] for seed in range(5)]
            random = [two.refitted(draw).score(T, t) for draw in draws]
            assert best > np.mean(random) + np.std(random)
            assert sum(best > other for other in random) >= 4


def test_a_copy_chosen_twice_is_not_worth_twice_one(two: Shifted) -> None:
    doubled = np.concatenate([two.copies, two.copies], axis=1)
    ordering = choose_copies(two.head, two.train, doubled, two.target, weight=1, steps=8)
    rank = np.empty(len(ordering), dtype=int)
    rank[ordering.candidates] = np.arange(len(ordering))
    rows = np.arange(len(ordering)).reshape(-1, 2, len(SHIFTS))
    pairs = np.sort(rank[rows.swapaxes(1, 2).reshape(-1, 2)], axis=1)
    helpful = pairs[pairs[:, 0] < 4]  # those of the first round, which is taken one by one
    worth = ordering.influence[helpful]
    assert (np.diff(helpful, axis=1) > 1).any()
    assert (worth[:, 1] > worth[:, 0]).all()
    assert np.median(worth[:, 1] / worth[:, 0]) < 0.8


@pytest.mark.parametrize("target", ["points", "self", "folds"])
def test_the_order_of_the_points_changes_nothing(two: Shifted, target: str) -> None:
    aim: Any = two.target if target == "points" else target
    order = np.random.default_rng(3).permutation(len(two.y))
    here = choose_copies(two.head, two.train, two.copies, aim, weight=1)
    there = choose_copies(SoftmaxHead().fit(two.X[order], two.y[order]), (two.X[order], two.y[order]), two.copies[order], aim, weight=1)
    np.testing.assert_array_equal(order[there.point[:100]], here.point[:100])
    np.testing.assert_array_equal(there.copy[:100], here.copy[:100])
    np.testing.assert_allclose(there.loss, here.loss, rtol=1e-3)


def test_the_same_input_gives_the_same_bits(two: Shifted) -> None:
    one, other = (choose_copies(two.head, two.train, two.copies, two.target) for _ in range(2))
    np.testing.assert_array_equal(one.candidates, other.candidates)
    np.testing.assert_array_equal(one.influence, other.influence)
    np.testing.assert_array_equal(one.loss, other.loss)


def test_small_blocks_of_work_give_the_same_ordering(two: Shifted, chosen: CopyOrdering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augury.softmax, "BLOCK_ELEMENTS", 2000)
    found = choose_copies(two.head, two.train, two.copies, two.target, weight=1)
    np.testing.assert_array_equal(found.candidates[:200], chosen.candidates[:200])
    np.testing.assert_allclose(found.loss, chosen.loss, rtol=1e-6)


def test_a_head_too_large_for_a_factor_is_followed_by_conjugate_gradients(
    two: Shifted, chosen: CopyOrdering, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = two.head
    monkeypatch.setattr(augury.curvature.fitted, "dense_fits", lambda _: False)
    found = choose_copies(head, two.train, two.copies, two.target, weight=1)
    np.testing.assert_array_equal(found.candidates[:2], chosen.candidates[:2])
    np.testing.assert_allclose(found.loss, chosen.loss, rtol=0.05)
    assert choose_copies(head, two.train, two.copies).weight == 1
    with pytest.raises(InputError, match="too many parameters"):
        choose_copies(head, two.train, two.copies, "folds", weight=1)


def test_a_list_of_copies_of_any_kinds_is_chosen_from_like_a_grid(two: Shifted, chosen: CopyOrdering) -> None:
    X, y = two.pool
    point = np.repeat(np.arange(len(two.y)), len(SHIFTS))
    found = choose_copies(two.head, two.train, (X, y, point), two.target, weight=1)
    np.testing.assert_array_equal(found.candidates, chosen.candidates)
    np.testing.assert_array_equal(found.copy, chosen.copy)
    some = np.random.default_rng(0).permutation(len(X))[:150]
    mixed = choose_copies(two.head, two.train, (X[some], y[some], point[some]), "folds", weight=1)
    np.testing.assert_array_equal(mixed.point, point[some][mixed.candidates])
    assert {(p, c) for p, c in zip(mixed.point, mixed.copy, strict=True)} == {
        (p, c) for p in range(len(two.y)) for c in range((point[some] == p).sum())
    }


def test_tensors_strings_and_features_far_from_zero_give_the_same_ordering(two: Shifted, chosen: CopyOrdering) -> None:
    X, y = two.X + 1000.0, np.where(two.y == 3, "three", "v")
    head = SoftmaxHead().fit(X, y)
    copies = torch.as_tensor(two.copies + 1000.0)
    found = choose_copies(head, (X, y), copies, (two.Xt + 1000.0, np.where(two.yt == 3, "three", "v")), weight=1)
    np.testing.assert_array_equal(found.candidates[:100], chosen.candidates[:100])


def test_points_left_out_are_scored_as_one_newton_step_without_them_and_their_copies_says(
    task: Shifted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augury.copies.growing, "SETTLED", 1e-18)
    state, fit, pool = started(task)
    taken = torch.arange(0, len(pool), 3)
    fit.join(taken, 2.0)
    for _ in range(3):
        fit.settle()
    fit.refresh()
    moved = left_out(fit, pool)
    kept = [*np.flatnonzero((task.X != 0).any(axis=0) | (task.copies != 0).any(axis=(0, 1))), 64]
    V = torch.zeros_like(state.V)
    V[:, kept] = fit.V
    X, y = task.pool
    for i in (0, 5, 17):
        own = np.arange(4 * i, 4 * i + 4)
        rest = np.setdiff1d(taken.numpy(), own)
        features = torch.as_tensor(np.concatenate([np.delete(task.X, i, axis=0), X[rest]]))
        labels = np.searchsorted(np.unique(task.y), np.concatenate([np.delete(task.y, i), y[rest]]))
        weights = torch.as_tensor(np.concatenate([np.ones(len(task.y) - 1), np.full(len(rest), 2.0)]))
        problem = SoftmaxProblem(features, torch.as_tensor(labels), weights, state.problem.classes, 1.0)
        step = torch.linalg.solve(problem.hessian(V), problem.gradient(V).flatten()).reshape(V.shape)
        rows = torch.as_tensor(np.column_stack([np.concatenate([task.X[[i]], X[own]]), np.ones(5)]))
        found = moved[torch.cat([torch.tensor([i]), len(task.y) + torch.as_tensor(own)])]
        torch.testing.assert_close(found, -(rows @ step.T), rtol=1e-2, atol=1e-4)


def test_the_cross_fitted_curve_is_close_to_that_of_heads_trained_without_the_point(two: Shifted) -> None:
    ordering = choose_copies(two.head, two.train, two.copies, "folds", weight=1)
    chosen, (X, y), real = ordering.candidates, two.pool, []
    for i in range(len(two.y)):
        rest = chosen[chosen // 4 != i]
        head = SoftmaxHead().fit(np.concatenate([np.delete(two.X, i, axis=0), X[rest]]), np.concatenate([np.delete(two.y, i), y[rest]]))
        real.append(losses(head, np.concatenate([two.X[[i]], two.copies[i]]), np.repeat(two.y[i], 5)).mean())
    assert ordering.loss[-1] == pytest.approx(np.mean(real), rel=0.1)


def test_copies_weigh_more_only_where_the_penalty_holds_the_head_back(two: Shifted) -> None:
    found = {}
    for C in (0.003, 100.0):
        head = SoftmaxHead(C=C).fit(two.X, two.y)
        for target in (two.target, None):
            found[C, target is None] = choose_copies(head, two.train, two.copies, target).weight
    assert found == {(0.003, False): HEAVY, (0.003, True): HEAVY, (100.0, False): 1, (100.0, True): 1}


def test_a_class_weighted_target_counts_each_class_the_same(three: Shifted) -> None:
    X, y, weight = class_weighted(three.Xt[:100], three.yt[:100])
    totals = [weight[y == label].sum() for label in (3, 8, 9)]
    np.testing.assert_allclose(totals, 100 / 3)
    uneven = class_weighted(X, y, {3: 1, 8: 0, 9: 3})[2]
    np.testing.assert_allclose([uneven[y == label].sum() for label in (3, 8, 9)], [25, 0, 75])
    ordering = choose_copies(three.head, three.train, three.copies, (X, y, uneven), weight=1)
    assert not np.isin(three.y[ordering.point[:5]], [8]).any() or ordering.loss[-1] < ordering.loss[0]
    with pytest.raises(InputError, match="weights: expected one number for each"):
        class_weighted(X, y, {3: 1.0})


def test_a_worst_group_target_looks_at_the_group_with_the_highest_loss(three: Shifted) -> None:
    head = three.head
    groups = np.arange(len(three.yt)) % 5
    means = [losses(head, three.Xt[groups == g], three.yt[groups == g]).mean() for g in range(5)]
    _, _, weight = worst_group(head, three.Xt, three.yt, groups)
    assert set(groups[weight > 0]) == {int(np.argmax(means))}
    _, _, soft = worst_group(head, three.Xt, three.yt, groups, temperature=0.1)
    share = np.exp(np.array(means) / 0.1)
    np.testing.assert_allclose([soft[groups == g].sum() for g in range(5)], len(groups) * share / share.sum())
    worst = worst_group(head, three.Xt, three.yt)[2]
    by_class = [losses(head, three.Xt[three.yt == label], three.yt[three.yt == label]).mean() for label in (3, 8, 9)]
    assert set(three.yt[worst > 0]) == {(3, 8, 9)[int(np.argmax(by_class))]}


def test_a_step_takes_its_share_of_a_round() -> None:
    assert shares(10, 4) == [3, 3, 2, 2]
    assert shares(2, 4) == [1, 1]


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"copies": np.zeros((120, 64))}, "copies: shape"),
        ({"copies": np.zeros((119, 4, 64))}, "120 training points"),
        ({"copies": np.zeros((120, 4, 63))}, "63 features"),
        ({"copies": np.full((120, 4, 64), np.nan)}, "NaN"),
        ({"copies": (np.zeros((3, 64)), np.array([3, 8, 3]))}, "tuple of 2"),
        ({"copies": (np.zeros((3, 64)), np.array([3, 8, 3]), np.array([0, 1, 120]))}, r"copies\[2\]"),
        ({"copies": (np.zeros((3, 64)), np.array([3, 8, 3]), np.array([0.5, 1, 2]))}, r"copies\[2\]"),
        ({"copies": (np.zeros((3, 64)), np.array([3, 8, 7]), np.array([0, 1, 2]))}, "none of the head's classes"),
        ({"target": "train"}, "target: got 'train'"),
        ({"target": (np.zeros((1, 64)), np.array([4]))}, "target"),
        ({"budget": 0}, "budget"),
        ({"budget": 481}, "budget"),
        ({"weight": 0.5}, "weight: got 0.5"),
        ({"weight": "more"}, "weight: got 'more'"),
        ({"growth": 0.0}, "growth"),
        ({"steps": 0}, "steps"),
        ({"head": "head"}, "head: got str"),
    ],
)
def test_bad_input_is_named_with_its_cure(two: Shifted, change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"head": two.head, "train": two.train, "copies": two.copies, "target": two.target}
    with pytest.raises(InputError, match=message):
        choose_copies(**arguments | change)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda task: worst_group(task.head, *task.target, temperature=-1.0), "temperature"),
        (lambda task: worst_group(task.head, task.Xt, np.zeros(len(task.yt))), "none of the head's classes"),
        (lambda task: worst_group(task.head, *task.target, groups=[1, 2]), "groups"),
        (lambda task: class_weighted(task.Xt, task.yt[:-1]), "y: labels of shape"),
    ],
)
def test_a_target_that_cannot_be_weighed_is_refused(two: Shifted, call: Callable[[Shifted], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(two)
