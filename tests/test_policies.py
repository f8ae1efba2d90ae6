"""What holds for every policy: each preference with each order."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from augury.errors import InputError
from augury.files import read_table, write_table
from augury.scores import Scores
from augury.selection import Order, Ordering, Preference, budget_size, rank
from augury.selection.strata import cluster

Array = npt.NDArray[Any]
PREFERENCES: tuple[Preference, ...] = get_args(Preference)
ORDERS: tuple[Order, ...] = get_args(Order)
BY_CHANCE = tuple(order for order in ORDERS if order != "ranked")

extremes = st.sampled_from([0.0, -0.0, 5e-324, 1e-310, 1e-20, 1.0, 1e20, 1e300, 1.7e308, -1.7e308, -5e-324, -1.0])
some_scores = st.lists(st.floats(allow_nan=False, allow_infinity=False) | extremes, min_size=1, max_size=25)
seeds = st.integers(0, 2**40)
every_policy = pytest.mark.parametrize(("preference", "order"), list(product(PREFERENCES, ORDERS)))


def scored(values: Array | list[float]) -> Scores:
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    origin = np.array([f"image {i}.png" for i in range(n)])
    return Scores(array, np.arange(n) % 2, np.linspace(0, 1, n), np.linspace(1, 0.5, n), "influence", ("a", "b"), origin, {"C": 2.0})


def features_of(points: int, features: int = 5) -> Array:
    """Every third point without features, and every seventh like the first."""
    X = np.random.default_rng(0).standard_normal((points, features))
    X[2::3] = 0
    X[6::7] = X[0]
    return X


def ordered(values: Array | list[float], preference: Preference, order: Order, seed: int = 0, **settings: object) -> Ordering:
    """With all that any order may need; half of the points as the budget."""
    n = len(values)
    needed: dict[str, Any] = {"features": features_of(n), "budget": -(-n // 2)}
    return rank(scored(values), preference, order, seed, **(needed | settings))


@every_policy
def test_a_policy_orders_every_candidate_once(preference: Preference, order: Order) -> None:
    for values in ([0.0] * 12, [3.5] * 12, np.arange(12.0), -np.arange(12.0), np.geomspace(1e-300, 1e300, 12), [7.0], [0.0], [2.0, 1.0]):
        found = ordered(values, preference, order, seed=3)
        assert sorted(found.indices.tolist()) == list(range(len(values)))
        assert found.indices.dtype == np.int64
        assert (found.preference, found.order, found.seed, found.budget) == (preference, order, 3, -(-len(values) // 2))


@given(some_scores, st.sampled_from(PREFERENCES), st.sampled_from(ORDERS), seeds)
def test_extreme_scores_and_any_seed_give_an_ordering_and_again_the_same(
    values: list[float], preference: Preference, order: Order, seed: int
) -> None:
    found = ordered(values, preference, order, seed)
    assert sorted(found.indices.tolist()) == list(range(len(values)))
    np.testing.assert_array_equal(found.indices, ordered(values, preference, order, seed).indices)


@every_policy
def test_another_seed_gives_another_draw_where_there_is_chance(preference: Preference, order: Order) -> None:
    values, X = np.linspace(1, 2, 50), np.random.default_rng(0).standard_normal((50, 5))
    draws = {tuple(ordered(values, preference, order, seed, features=X).indices.tolist()) for seed in range(20)}
    taken = {tuple(sorted(ordered(values, preference, order, seed, features=X).selected.tolist())) for seed in range(20)}
    assert (len(draws), len(taken)) == ((20, 20) if order in BY_CHANCE else (1, 1))


@every_policy
def test_numpys_global_generator_is_left_alone(preference: Preference, order: Order) -> None:
    np.random.seed(0)  # noqa: NPY002  (the legacy generator is what must stay untouched)
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002  (likewise)
    ordered(np.arange(9.0), preference, order)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]  # noqa: NPY002  (likewise)


@every_policy
def test_scores_features_and_generators_are_not_written_to(preference: Preference, order: Order) -> None:
    scores, X = scored(np.arange(9.0)), features_of(9)
    scores.values.flags.writeable = X.flags.writeable = False
    rank(scores, preference, order, features=X, budget=3)


@given(st.permutations(range(12)), st.sampled_from([name for name in PREFERENCES if name != "uniform"]))
def test_naming_the_points_otherwise_renames_them_in_a_ranking(names: list[int], preference: Preference) -> None:
    values = np.linspace(0.5, 2, 12) ** 3
    before, after = ordered(values, preference, "ranked"), ordered(values[names], preference, "ranked")
    np.testing.assert_array_equal(np.array(names)[after.indices], before.indices)


@pytest.mark.parametrize("order", BY_CHANCE)
@pytest.mark.parametrize("preference", PREFERENCES)
@pytest.mark.usefixtures("without_type_checks")  # hundreds of draws each
def test_naming_the_points_otherwise_leaves_their_chances_as_they_were(preference: Preference, order: Order) -> None:
    """How often each of eight points is among three, over 400 seeds, by old names and by new ones."""
    values, X, names = np.linspace(0.5, 2, 8), np.random.default_rng(0).standard_normal((8, 3)), np.random.default_rng(1).permutation(8)
    if order == "stratified":
        X = 100 * np.eye(3)[[0, 0, 0, 0, 1, 1, 1, 2]] + X  # so far apart that k-means finds the same clusters from any start
    taken = np.zeros((2, 8))
    for seed in range(400):
        taken[0, ordered(values, preference, order, seed, features=X, budget=3).selected] += 1
        taken[1, names[ordered(values[names], preference, order, seed, features=X[names], budget=3).selected]] += 1
    share = taken.sum(axis=0) / 800
    assert (np.abs(taken[0] - taken[1]) / 400 < 4 * np.sqrt(2 * share * (1 - share) / 400) + 1e-12).all()


@pytest.mark.parametrize("preference", ["proportional", "softmax", "inverse"])
@pytest.mark.parametrize("order", ORDERS)
def test_points_that_are_not_wanted_come_last(preference: Preference, order: Order) -> None:
    """Under `proportional` scores of zero, under the others scores as far away; in a stratified order last of each cluster."""
    X = np.random.default_rng(0).standard_normal((12, 12))
    unwanted = np.arange(12) % 3 == 0
    worst, best = {"proportional": (0.0, 1.0), "softmax": (0.0, 60.0), "inverse": (1e30, 1.0)}[preference]
    for seed in range(30):
        found = ordered(np.where(unwanted, worst, best), preference, order, seed, features=X, budget=6, **_clusters(order, 3))
        groups = cluster(X, 3, seed) if order == "stratified" else np.zeros(12)
        for group in np.unique(groups):
            inside = unwanted[[i for i in found.indices if groups[i] == group]]
            np.testing.assert_array_equal(inside, np.sort(inside))


def _clusters(order: Order, clusters: int) -> dict[str, int]:
    return {"clusters": clusters} if order == "stratified" else {}


@given(st.integers(-20, 20).map(lambda exponent: 2.0**exponent), st.sampled_from(ORDERS), seeds)
def test_the_unit_of_the_scores_does_not_matter_to_any_order(unit: float, order: Order, seed: int) -> None:
    values = np.geomspace(1e-3, 1, 12)
    for preference in ("proportional", "inverse"):
        np.testing.assert_array_equal(
            ordered(unit * values, preference, order, seed).indices, ordered(values, preference, order, seed).indices
        )


@every_policy
def test_a_budget_is_a_prefix_of_the_ordering(preference: Preference, order: Order) -> None:
    found = ordered(np.linspace(1, 2, 20), preference, order, budget="25%")
    assert found.budget == 5 == budget_size("25%", 20)
    np.testing.assert_array_equal(found.selected, found.indices[:5])
    if order != "determinantal":  # whose draw has one size
        plain = rank(found.scores, preference, order, features=features_of(20), **_clusters(order, 5))
        assert plain.budget is None
        np.testing.assert_array_equal(plain.within(5).indices, found.indices)


@pytest.mark.parametrize("order", ORDERS)
def test_features_may_be_of_any_kind_that_holds_numbers(order: Order) -> None:
    values, X = np.arange(9.0), features_of(9).round(2)
    expected = ordered(values, "proportional", order, features=X).indices
    for given_features in (X.tolist(), torch.tensor(X, requires_grad=True), np.asfortranarray(X)):
        np.testing.assert_array_equal(ordered(values, "proportional", order, features=given_features).indices, expected)


@pytest.mark.parametrize("budget", [3, 5])
@every_policy
def test_an_ordering_comes_back_from_a_file_as_it_was(tmp_path: Path, preference: Preference, order: Order, budget: int) -> None:
    saved = ordered([0.1, 1e-300, -2, 7, 0.3], preference, order, 3, budget=budget, **_clusters(order, 2))
    found = Ordering.load(saved.save(tmp_path / "selection.parquet"))
    np.testing.assert_array_equal(found.indices, saved.indices, strict=True)
    np.testing.assert_array_equal(found.scores.values, saved.scores.values, strict=True)
    pd.testing.assert_frame_equal(found.to_frame(), saved.to_frame(), check_exact=True)
    assert found.scores.record() == saved.scores.record()
    assert (found.preference, found.order, found.seed, found.budget) == (preference, order, 3, budget)
    assert found.settings == saved.settings == SETTINGS[order] | ({"drawn": budget} if order == "determinantal" else {})


SETTINGS: dict[Order, dict[str, Any]] = {
    "sampled": {},
    "ranked": {},
    "stratified": {"clusters": 2, "kmeans_seed": 3, "within": "sampled"},
    "determinantal": {"rest": "sampled"},
}


@pytest.mark.parametrize("budget", [None, 2])
def test_a_file_that_tells_no_settings_loads_as_ever(tmp_path: Path, budget: int | None) -> None:
    """Orders that need none write none: files as they were before there were any."""
    path = rank(scored([1, 2, 3]), "inverse", "ranked", 4, budget=budget).save(tmp_path / "selection.parquet")
    _, metadata = read_table(path, "selection", ())
    assert metadata["policy"] == {"preference": "inverse", "order": "ranked", "seed": 4, "budget": budget}
    found = Ordering.load(path)
    assert (found.indices.tolist(), found.budget, found.settings) == ([0, 1, 2], budget, {})


def test_a_file_from_which_a_row_was_taken_is_refused(tmp_path: Path) -> None:
    path = rank(scored([1, 2, 3])).save(tmp_path / "selection.parquet")
    frame, metadata = read_table(path, "selection", ())
    write_table(path, frame[frame["index"] != 1], metadata)
    with pytest.raises(InputError, match="indices: expected each of the 2 candidates once, from 0"):
        Ordering.load(path)


def test_the_positional_arguments_are_scores_preference_order_and_seed() -> None:
    found = rank(scored([1, 2, 3]), "inverse", "ranked", 5)
    assert (found.indices.tolist(), found.preference, found.order, found.seed) == ([0, 1, 2], "inverse", "ranked", 5)


SIX: dict[str, Any] = {"features": features_of(6), "budget": 2}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"preference": "best"}, "preference: got 'best'; expected one of proportional, inverse, uniform, softmax, inverse_softmax"),
    ({"order": "random"}, "order: got 'random'; expected one of sampled, ranked, stratified, determinantal"),
    *(({"seed": seed}, r"seed: got .*; expected a whole number, 0 or more") for seed in (-1, 1.5, None, True, "0")),
    ({"order": "stratified"}, r"features: missing; order='stratified' looks at the points' features: give \(points, features\)"),
    ({"order": "determinantal", "budget": 2}, r"features: missing; order='determinantal' looks at the points' features"),
    (
        {"order": "determinantal", "features": features_of(6)},
        "budget: missing; order='determinantal' draws a set of one size: give a number",
    ),
    ({"order": "stratified", "features": features_of(5)}, "features: 5 rows for 6 scored points; expected one row for each point"),
    ({"order": "determinantal", "features": features_of(7), "budget": 2}, "features: 7 rows for 6 scored points"),
    ({"order": "determinantal", "features": np.ones(6), "budget": 2}, r"features: shape \(6,\); expected \(points, features\)"),
    *(({"order": order, "budget": 7}, "budget: 7 of 6 points; expected a number from 1 to 6") for order in ORDERS),
    *(({"order": order, **SIX, "clusters": 2}, f"clusters: given, and order is '{order}'") for order in ORDERS if order != "stratified"),
    *(({"order": "stratified", **SIX, "clusters": bad}, r"clusters: got .*; expected a whole number from 1 to 6") for bad in (0, 7, 1.5)),
]


@pytest.mark.parametrize(("policy", "message"), REFUSED)
@pytest.mark.usefixtures("without_type_checks")
def test_a_policy_that_cannot_be_is_refused_with_the_cure(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rank(scored(np.arange(6.0)), **policy)
