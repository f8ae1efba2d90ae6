"""What holds for every selection and every choice of copies, whatever the numbers: properties, over drawn inputs."""

from __future__ import annotations

from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import augury
from augury.augmentation import CopiedFeatures
from augury.copies import CopyOrdering, choose_copies
from augury.copies.ordering import by_points, shared_weight, training_set
from augury.scores import Scores
from augury.selection import Order, Ordering, Preference, budget_size, rank

Values = npt.NDArray[np.float64]
ORDERS: tuple[Order, ...] = get_args(Order)
PREFERENCES: tuple[Preference, ...] = get_args(Preference)

points = st.integers(2, 25)
seeds = st.integers(0, 2**32)
preferences = st.sampled_from(PREFERENCES)


def scores(values: Values) -> Scores:
    n = len(values)
    return Scores(values, np.arange(n) % 2, np.zeros(n), np.ones(n), "influence", ("a", "b"), np.arange(n).astype(str))


def drawn(n: int, seed: int) -> tuple[Scores, Values]:
    """Positive scores that are all different, and features."""
    rng = np.random.default_rng(seed)
    return scores(rng.permutation(n) + rng.uniform(0.1, 0.9)), rng.normal(size=(n, 3))


@given(points, seeds, st.sampled_from(ORDERS), preferences, st.data())
def test_every_policy_orders_each_candidate_once_and_again_the_same(
    n: int, seed: int, order: Order, preference: Preference, data: st.DataObject
) -> None:
    made, features = drawn(n, seed)
    budget = data.draw(st.integers(1, n))
    found, again = (rank(made, preference, order, seed, features=features, budget=budget) for _ in range(2))
    assert sorted(found.indices.tolist()) == list(range(n))
    assert found.indices.tolist() == again.indices.tolist()
    assert len(found.selected) == len(set(found.selected.tolist())) == budget


@given(points, seeds, st.sampled_from(["sampled", "ranked", "stratified"]), preferences, st.data())
def test_budgets_nest(n: int, seed: int, order: Order, preference: Preference, data: st.DataObject) -> None:
    made, features = drawn(n, seed)
    whole = rank(made, preference, order, seed, features=features)
    small, large = sorted(data.draw(st.tuples(st.integers(1, n), st.integers(1, n))))
    assert whole.within(small).selected.tolist() == whole.within(large).selected.tolist()[:small]
    assert whole.within("100%").selected.tolist() == whole.indices.tolist()


@given(points, seeds, preferences)
def test_a_ranked_order_follows_the_candidates_wherever_they_stand(n: int, seed: int, preference: Preference) -> None:
    assume(preference != "uniform")  # all equal: then the candidates' own order counts
    made, _ = drawn(n, seed)
    moved = np.random.default_rng(seed + 1).permutation(n)
    there = rank(scores(made.values[moved]), preference, "ranked").indices
    assert moved[there].tolist() == rank(made, preference, "ranked").indices.tolist()


@given(points, seeds)
def test_inverse_and_proportional_are_each_others_mirror(n: int, seed: int) -> None:
    made, _ = drawn(n, seed)
    falling, rising = (rank(made, preference, "ranked").indices.tolist() for preference in ("proportional", "inverse"))
    assert falling == rising[::-1]
    reciprocal = scores(1 / made.values)
    assert rank(made, "inverse", "sampled", seed).indices.tolist() == rank(reciprocal, "proportional", "sampled", seed).indices.tolist()


@given(points, seeds, st.floats(1e-6, 1e6), st.sampled_from(["proportional", "inverse", "uniform"]))
def test_the_unit_of_the_scores_changes_no_draw(n: int, seed: int, unit: float, preference: Preference) -> None:
    made, _ = drawn(n, seed)
    scaled = scores(made.values * unit)
    assert rank(made, preference, "sampled", seed).indices.tolist() == rank(scaled, preference, "sampled", seed).indices.tolist()


@given(points, seeds, st.integers(0, 24), preferences)
def test_another_seed_changes_the_draw_but_not_the_rank(n: int, seed: int, other: int, preference: Preference) -> None:
    made, _ = drawn(n, seed)
    assert rank(made, preference, "ranked", seed).indices.tolist() == rank(made, preference, "ranked", other).indices.tolist()
    draws = {tuple(rank(made, "uniform", "sampled", seed + i).indices.tolist()) for i in range(40)}
    assert len(draws) > 1


@given(st.integers(2, 10**6), st.floats(0, 1, exclude_min=True))
def test_a_share_takes_from_one_to_all_and_never_less_for_more(n: int, share: float) -> None:
    size = budget_size(share, n)
    assert 1 <= size <= n
    assert abs(size - share * n) <= max(1, 0.5 + 1e-9 * n)
    assert budget_size(f"{share * 100:.17g}%", n) == pytest.approx(size, abs=1)
    assert size <= budget_size(min(1.0, share * 1.5), n)


@given(points, seeds, preferences)
def test_a_saved_selection_comes_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, n: int, seed: int, preference: Preference
) -> None:
    path = tmp_path_factory.mktemp("saved") / "selection.parquet"
    found = rank(drawn(n, seed)[0], preference, seed=seed).within(1 + n // 2)
    found.save(path)
    back = Ordering.load(path)
    assert back.indices.tolist() == found.indices.tolist()
    assert back.scores.values.tobytes() == found.scores.values.tobytes()
    assert (back.budget, back.seed, back.preference, back.order) == (found.budget, found.seed, found.preference, found.order)


@given(st.integers(1, 50), st.integers(0, 50), st.floats(1, 100))
def test_chosen_copies_weigh_from_one_to_the_most_and_together_at_most_as_much_as_all(total: int, taken: int, most: float) -> None:
    assume(taken <= total)
    weight = shared_weight(total, taken, most)
    assert 1 <= weight <= most
    assert weight * taken <= total * (1 + 1e-12)


def chosen(n: int, copies: int, seed: int) -> tuple[CopyOrdering, CopiedFeatures]:
    """An order of all copies of some drawn points, none of whose choices has been looked at."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 3)), np.arange(n) % 2
    made = X[:, None] + 0.3 * rng.normal(size=(n, copies, 3))
    return choose_copies(augury.SoftmaxHead().fit(X, y), (X, y), made, weight=2), CopiedFeatures(X, made, y)


@settings(max_examples=15)
@given(st.integers(4, 12), st.integers(1, 3), seeds, st.data())
def test_chosen_copies_are_each_there_once_and_belong_to_their_points(n: int, copies: int, seed: int, data: st.DataObject) -> None:
    found, train = chosen(n, copies, seed)
    assert sorted(found.candidates.tolist()) == list(range(n * copies))
    assert (found.candidates // copies).tolist() == found.point.tolist()
    assert (found.candidates % copies).tolist() == found.copy.tolist()
    small, large = sorted(data.draw(st.tuples(st.integers(1, n * copies), st.integers(1, n * copies))))
    assert found.within(small).selected.tolist() == found.within(large).selected.tolist()[:small]
    mask = found.within(small).mask((n, copies))
    assert mask.sum() == small
    assert sorted(np.flatnonzero(mask).tolist()) == sorted(found.within(small).selected.tolist())
    X, y, weights = training_set(train, found, small)
    assert (len(X), len(y)) == (n + small, n + small)
    np.testing.assert_array_equal(X[n:], train.copies[found.point[:small], found.copy[:small]])
    np.testing.assert_array_equal(y[n:], train.labels[found.point[:small]])
    np.testing.assert_array_equal(weights, [1.0] * n + [found.weight_at(small)] * small)


@given(points, st.integers(1, 4), seeds, st.data())
def test_copies_by_points_take_all_of_a_point_before_the_next(n: int, copies: int, seed: int, data: st.DataObject) -> None:
    made, _ = drawn(n, seed)
    budget = data.draw(st.integers(1, n))
    ordering = rank(made, seed=seed).within(budget)
    found = by_points(ordering, copies)
    assert found.budget == budget * copies
    assert sorted(found.candidates.tolist()) == list(range(n * copies))
    assert found.point[::copies].tolist() == ordering.indices.tolist()
    assert set(found.point[: found.budget].tolist()) == set(ordering.selected.tolist())


@given(n=points, copies=st.integers(1, 3), seed=seeds, downweight=st.booleans(), data=st.data())
def test_a_training_set_holds_every_original_once_and_each_point_weighs_one_if_told(
    *, n: int, copies: int, seed: int, downweight: bool, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    train = CopiedFeatures(rng.normal(size=(n, 2)), rng.normal(size=(n, copies, 2)), np.arange(n) % 2)
    some = np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True)), dtype=np.int64)
    X, y, weights = train.augmented(some, downweight=downweight)
    assert len(X) == n + copies * len(some)
    np.testing.assert_array_equal(X[:n], train.features)
    owner = np.concatenate([np.arange(n), np.repeat(some, copies)])
    np.testing.assert_array_equal(y, train.labels[owner])
    total = np.bincount(owner, weights, n)
    expected = np.ones(n)
    if not downweight:
        expected[some] += copies
    np.testing.assert_allclose(total, expected, rtol=1e-12)
