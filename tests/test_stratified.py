from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info, threadpool_limits

from augury.errors import InputError
from augury.scores import Scores
from augury.selection import Ordering, rank, strata, stratify
from augury.selection.strata import cluster, take_turns

Array = npt.NDArray[Any]
BLOBS = np.array([2, 0, 1, 1, 2, 2, 2, 0, 1, 2, 2, 1])  # which of three far places each of twelve points lies at


def features_of(places: Array, dimensions: int = 3) -> Array:
    rng = np.random.default_rng(0)
    return 100 * np.eye(dimensions)[places] + rng.standard_normal((len(places), dimensions))


def scored(values: Array) -> Scores:
    n = len(values)
    return Scores(values, np.zeros(n, dtype=np.int64), np.ones(n), np.ones(n), "loss", ("a",), np.arange(n).astype(str))


def ranked(values: Array) -> Ordering:
    return rank(scored(values), "proportional", "ranked")


def rounds_by_hand(indices: list[int], numbers: Array) -> list[int]:
    """Queues, served in the order of their numbers until all are empty."""
    queues = [[i for i in indices if numbers[i] == number] for number in sorted(set(numbers.tolist()))]
    found = []
    while any(queues):
        found += [queue.pop(0) for queue in queues if queue]
    return found


def test_clusters_take_turns_and_each_gives_its_best_first() -> None:
    """The clusters by their first points: 0 4 5 6 9 10, then 1 7, then 2 3 8 11."""
    found = stratify(ranked(np.arange(12.0)[::-1]), features_of(BLOBS), clusters=3)
    assert found.indices.tolist() == [0, 1, 2, 4, 7, 3, 5, 8, 6, 11, 9, 10]
    backwards = stratify(ranked(np.arange(12.0)), features_of(BLOBS), clusters=3)
    assert backwards.indices.tolist() == [10, 7, 11, 9, 1, 8, 6, 3, 5, 2, 4, 0]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_taking_turns_is_serving_queues(numbers: list[int], random: Random) -> None:
    indices = random.sample(range(len(numbers)), len(numbers))
    found = take_turns(np.array(indices), np.array(numbers))
    assert found.tolist() == rounds_by_hand(indices, np.array(numbers))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_every_prefix_holds_as_equal_numbers_of_each_cluster_as_there_are(numbers: list[int], random: Random) -> None:
    sizes = Counter(numbers)
    found = take_turns(np.array(random.sample(range(len(numbers)), len(numbers))), np.array(numbers))
    for budget in range(1, len(numbers) + 1):
        taken = Counter(numbers[i] for i in found[:budget])
        most = max(taken.values())
        assert all(taken[number] >= min(size, most - 1) for number, size in sizes.items())


@pytest.mark.parametrize("points", [60, 9])
def test_the_clusters_are_those_of_k_means_numbered_by_their_first_points(points: int) -> None:
    """With fewer points than features, k-means works in the space that the points span."""
    X = np.random.default_rng(0).standard_normal((points, 12))
    numbers = cluster(X, 5, seed=3)
    assert list(dict.fromkeys(numbers.tolist())) == [0, 1, 2, 3, 4]
    means = np.stack([X[numbers == number].mean(axis=0) for number in range(5)])
    nearest = ((X[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, numbers)  # what k-means converges to: every point belongs to the nearest mean
    inertia = ((X - means[numbers]) ** 2).sum()
    assert inertia < 1.15 * KMeans(5, n_init=50, random_state=0).fit(X).inertia_


def test_a_budget_of_as_many_points_as_clusters_takes_one_of_each() -> None:
    X = np.random.default_rng(0).standard_normal((200, 4))
    for budget in (1, 7, 50, 200):
        found = rank(scored(np.ones(200)), "uniform", "stratified", 2, features=X, budget=budget)
        assert len(set(cluster(X, budget, 2)[found.selected].tolist())) == found.budget == budget
        assert found.settings["clusters"] == budget


def test_within_a_cluster_the_order_is_that_of_the_ordering(order_of_twelve: Ordering) -> None:
    found = stratify(order_of_twelve, features_of(BLOBS), clusters=3)
    for place in range(3):
        inside = [i for i in found.indices if BLOBS[i] == place]
        assert inside == [i for i in order_of_twelve.indices if BLOBS[i] == place]
    assert found.settings == {"clusters": 3, "kmeans_seed": order_of_twelve.seed, "within": order_of_twelve.order}
    assert (found.order, found.preference, found.seed) == ("stratified", order_of_twelve.preference, order_of_twelve.seed)


@pytest.fixture(params=["sampled", "ranked"])
def order_of_twelve(request: pytest.FixtureRequest) -> Ordering:
    return rank(scored(np.random.default_rng(1).exponential(size=12)), "inverse", request.param, seed=5)


def test_the_policy_is_the_sampled_order_of_the_same_seed_within_clusters() -> None:
    scores, X = scored(np.random.default_rng(1).exponential(size=12)), features_of(BLOBS)
    found = rank(scores, "proportional", "stratified", 5, features=X, clusters=3)
    expected = stratify(rank(scores, "proportional", "sampled", 5), X, 3)
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert found.settings == expected.settings


@pytest.mark.usefixtures("without_type_checks")  # thousands of draws
def test_the_first_of_each_cluster_is_drawn_in_proportion_to_the_odds() -> None:
    """Two clusters with the scores 1, 3 and 1, 1, 2: what is drawn from one does not depend on the other."""
    X = features_of(np.array([0, 0, 1, 1, 1]), 2)
    scores = scored(np.array([1.0, 3, 1, 1, 2]))
    firsts = np.stack([rank(scores, "proportional", "stratified", seed, features=X, clusters=2).indices[:2] for seed in range(1500)])
    assert (firsts[:, 0] < 2).all()
    found = np.array([[((firsts == [i, j]).all(axis=1)).mean() for j in (2, 3, 4)] for i in (0, 1)])
    expected = np.outer([1 / 4, 3 / 4], [1 / 4, 1 / 4, 1 / 2])
    np.testing.assert_array_less(np.abs(found - expected), 4 * np.sqrt(expected * (1 - expected) / 1500))


def test_a_seed_of_its_own_clusters_alike_where_draws_differ() -> None:
    X = np.random.default_rng(0).standard_normal((60, 4))
    draws = [stratify(rank(scored(np.ones(60)), "uniform", "sampled", seed), X, 6, seed=9) for seed in range(3)]
    partition = cluster(X, 6, 9)
    assert all((partition[draw.indices[:6]] == np.arange(6)).all() for draw in draws)
    assert len({tuple(draw.indices) for draw in draws}) == 3
    assert {draw.settings["kmeans_seed"] for draw in draws} == {9}


def test_the_numbers_of_clusters_and_of_their_seeds_are_what_is_asked_for() -> None:
    X = np.random.default_rng(0).standard_normal((60, 4))
    partitions = [cluster(X, 6, seed) for seed in (0, 1, 2**40)]
    assert all(len(set(partition.tolist())) == 6 for partition in partitions)
    assert not np.array_equal(partitions[0], partitions[1])
    np.testing.assert_array_equal(cluster(X, 6, 2**40), partitions[2])
    np.testing.assert_array_equal(cluster(X, 60, 0), np.arange(60))
    np.testing.assert_array_equal(cluster(X, 1, 0), np.zeros(60))


def test_clusters_are_found_with_one_thread_so_that_sums_come_out_alike_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []

    class Watched(KMeans):  # type: ignore[misc]  # scikit-learn ships no types
        def fit(self, X: Array) -> Watched:
            seen.append({library["num_threads"] for library in threadpool_info()})
            return super().fit(X)  # type: ignore[no-any-return]

    monkeypatch.setattr(strata, "KMeans", Watched)
    with threadpool_limits(2):
        cluster(np.eye(6), 2, 0)
        assert {library["num_threads"] for library in threadpool_info()} == {2}
    assert seen == [{1}]


def test_points_that_coincide_are_no_fault_though_there_be_fewer_places_than_clusters() -> None:
    X = np.repeat([[0.0, 1], [5, 5]], 4, axis=0)
    found = stratify(ranked(np.arange(8.0)), X, 5)
    assert found.indices.tolist() == [3, 7, 2, 6, 1, 5, 0, 4]


def test_without_clusters_and_budget_there_are_ten_or_as_many_as_points() -> None:
    for points, clusters in ((4, 4), (10, 10), (30, 10)):
        X = np.random.default_rng(0).standard_normal((points, 2))
        assert rank(scored(np.ones(points)), "uniform", "stratified", features=X).settings["clusters"] == clusters


@pytest.mark.usefixtures("without_type_checks")
def test_what_cannot_be_clustered_is_refused() -> None:
    ordering, X = ranked(np.ones(6)), np.ones((6, 2))
    refused: list[tuple[Callable[[], object], str]] = [
        *((lambda c=c: stratify(ordering, X, c), r"clusters: got .*; expected a whole number from 1 to 6") for c in (0, 7, -1, 2.0, True)),
        (lambda: stratify(ordering, X[:5], 2), r"features: 5 rows for 6 scored points; expected one row for each point"),
        (lambda: stratify(ordering, X * np.nan, 2), r"features: point 0 has a NaN or infinite feature"),
        (lambda: stratify(ordering, "many", 2), r"features: expected numbers"),
        (lambda: stratify(ordering, X, 2, seed=-1), r"seed: got -1; expected a whole number, 0 or more"),
    ]
    for call, message in refused:
        with pytest.raises(InputError, match=message):
            call()
