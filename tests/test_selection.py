from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from augury.errors import InputError
from augury.scores import Scores
from augury.selection import Order, Ordering, Preference, budget_size, rank
from conftest import no_type_checks

Values = npt.NDArray[np.float64]
PREFERENCES: tuple[Preference, ...] = get_args(Preference)
ORDERS: tuple[Order, ...] = ("sampled", "ranked")
DRAWS = 20_000

extremes = st.sampled_from([0.0, -0.0, 5e-324, 1e-310, 1e-300, 1e-20, 1.0, 1e20, 1e300, 1.7e308, -5e-324, -1.0, -1e300])
some_scores = st.lists(st.floats(allow_nan=False, allow_infinity=False) | extremes | st.integers(-2, 3).map(float), min_size=1, max_size=30)
positive_scores = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=30, unique=True)
seeds = st.integers(0, 2**40)


def scores(values: list[float] | Values) -> Scores:
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    origin = np.array([f"image {i}.png" for i in range(n)])
    return Scores(array, np.arange(n) % 2, np.linspace(0, 1, n), np.linspace(1, 0.5, n), "influence", ("a", "b"), origin, {"C": 2.0})


def order_of(values: list[float] | Values, preference: Preference, order: Order, seed: int = 0) -> list[int]:
    found: list[int] = rank(scores(values), preference, order, seed).indices.tolist()
    return found


def plackett_luce(odds: Values) -> dict[tuple[int, ...], float]:
    """The probability of each order when one after another is taken, always in proportion to the odds of those that are left."""
    return {
        order: math.prod(odds[i] / sum(odds[j] for j in order[place:]) for place, i in enumerate(order))
        for order in permutations(range(len(odds)))
    }


def drawn(values: list[float], preference: Preference, draws: int = DRAWS) -> npt.NDArray[np.int64]:
    made = scores(values)
    with no_type_checks():
        return np.stack([rank(made, preference, "sampled", seed).indices for seed in range(draws)])


def drawn_by_numpy(odds: Values) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(0)
    return np.stack([rng.choice(len(odds), len(odds), replace=False, p=odds / odds.sum()) for _ in range(DRAWS)])


def agreement(draws: npt.NDArray[np.int64], odds: Values) -> float:
    """The p-value of Pearson's chi-square test that the orders come from sequential sampling without replacement with these odds."""
    expected = plackett_luce(odds)
    place = {order: i for i, order in enumerate(expected)}
    counts = np.bincount([place[tuple(order)] for order in draws.tolist()], minlength=len(expected))
    p: float = chisquare(counts, np.array(list(expected.values())) * len(draws)).pvalue
    return p


@pytest.fixture(scope="module")
def proportional_draws() -> npt.NDArray[np.int64]:
    return drawn([1, 2, 3, 6], "proportional")


@given(some_scores, st.sampled_from(["proportional", "softmax"]))
def test_ranked_goes_by_falling_score_and_keeps_the_order_of_equals(values: list[float], preference: Preference) -> None:
    assert order_of(values, preference, "ranked") == sorted(range(len(values)), key=lambda i: -values[i])


@given(some_scores, st.sampled_from(["inverse", "inverse_softmax"]))
def test_ranked_inverse_goes_by_rising_score_and_keeps_the_order_of_equals(values: list[float], preference: Preference) -> None:
    assert order_of(values, preference, "ranked") == sorted(range(len(values)), key=lambda i: values[i])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30, unique=True))
def test_ranked_inverse_is_ranked_backwards_where_no_scores_are_equal(values: list[float]) -> None:
    assert order_of(values, "inverse", "ranked") == order_of(values, "proportional", "ranked")[::-1]


def test_uniform_ranked_keeps_the_candidates_order() -> None:
    assert order_of([3, 1, 2], "uniform", "ranked") == [0, 1, 2]


def test_proportional_draws_have_the_distribution_of_sequential_sampling_without_replacement(proportional_draws: Values) -> None:
    assert agreement(proportional_draws, np.array([1.0, 2, 3, 6])) > 0.01
    assert agreement(proportional_draws, np.array([1.0, 2, 3, 6.5])) < 1e-3  # the test sees a difference that small


def test_numpys_sampling_without_replacement_has_the_same_distribution() -> None:
    odds = np.array([1.0, 2, 3, 6])
    assert agreement(drawn_by_numpy(odds), odds) > 0.01


def test_first_draws_and_inclusions_have_their_exact_probabilities_and_numpys(proportional_draws: Values) -> None:
    odds = np.array([1.0, 2, 3, 6])
    exact = plackett_luce(odds)
    numpys = drawn_by_numpy(odds)
    for taken in (1, 2, 3):
        inclusion = np.array([sum(p for order, p in exact.items() if i in order[:taken]) for i in range(4)])
        error = 4 * np.sqrt(inclusion * (1 - inclusion) / DRAWS)
        for draws in (proportional_draws, numpys):
            frequency = np.bincount(draws[:, :taken].ravel(), minlength=4) / DRAWS
            assert (np.abs(frequency - inclusion) < error).all()
    first = np.bincount(proportional_draws[:, 0]) / DRAWS
    np.testing.assert_allclose(first, odds / odds.sum(), atol=0.01)


@pytest.mark.parametrize(
    ("preference", "odds"),
    [
        ("inverse", lambda s: 1 / s),
        ("uniform", np.ones_like),
        ("softmax", np.exp),
        ("inverse_softmax", lambda s: np.exp(1 / s)),
    ],
)
def test_each_preference_draws_with_its_odds(preference: Preference, odds: Callable[[Values], Values]) -> None:
    values = np.array([0.5, 1, 1.5, 2])
    for seed in range(200):
        assert order_of(values, preference, "sampled", seed) == order_of(odds(values), "proportional", "sampled", seed)
    assert agreement(drawn(values.tolist(), preference, 4000), odds(values)) > 0.01


@given(positive_scores, st.floats(1e-9, 1e9), st.sampled_from(["proportional", "inverse"]), st.sampled_from(ORDERS), seeds)
def test_the_unit_of_the_scores_does_not_matter(values: list[float], unit: float, preference: Preference, order: Order, seed: int) -> None:
    assert order_of(unit * np.array(values), preference, order, seed) == order_of(values, preference, order, seed)


@pytest.mark.parametrize(("smallest", "stand_in"), [(0.5, 1e-20), (1e-19, 1e-20), (1e-30, 1e-30)])
@pytest.mark.parametrize("preference", ["proportional", "inverse"])
def test_a_zero_counts_as_the_smallest_positive_score_at_most_1e_20(smallest: float, stand_in: float, preference: Preference) -> None:
    for seed in range(300):
        found = order_of([0, 3e-20, smallest, 0, 2], preference, "sampled", seed)
        assert found == order_of([min(stand_in, 1e-20), 3e-20, smallest, min(stand_in, 1e-20), 2], preference, "sampled", seed)


@given(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12), st.sampled_from(["proportional", "inverse"]), seeds)
def test_scores_below_zero_are_drawn_like_zeros(values: list[float], preference: Preference, seed: int) -> None:
    assert order_of(values, preference, "sampled", seed) == order_of(np.maximum(values, 0), preference, "sampled", seed)


@pytest.mark.parametrize("values", [[0.0] * 6, [-3.0, -1, 0, -2, 0, -7], [4.0] * 6])
@pytest.mark.parametrize("preference", ["proportional", "inverse"])
def test_where_no_score_is_better_the_draw_is_uniform(values: list[float], preference: Preference) -> None:
    for seed in range(50):
        assert order_of(values, preference, "sampled", seed) == order_of(values, "uniform", "sampled", seed)


def test_equal_odds_are_drawn_even_where_they_dwarf_the_noise() -> None:
    """A zero's odds are exp(1e20) under `inverse_softmax`; the zeros come first, in random order."""
    orders = drawn([1, 0, 0, 0], "inverse_softmax", 3000)
    assert (orders[:, 3] == 0).all()
    assert agreement(orders[:, :3] - 1, np.ones(3)) > 0.01


def test_odds_far_apart_are_drawn_in_their_order() -> None:
    values = [10.0**e for e in (-300, 300, 0, -150, 150)]
    assert {tuple(order_of(values, "proportional", "sampled", seed)) for seed in range(100)} == {(1, 4, 2, 3, 0)}
    assert {tuple(order_of(values, "inverse", "sampled", seed)) for seed in range(100)} == {(0, 3, 2, 4, 1)}


@given(st.integers(2, 40), st.data())
def test_budgets_nest(points: int, data: st.DataObject) -> None:
    ordering = rank(scores(np.arange(points)))
    small = data.draw(st.integers(1, points))
    large = data.draw(st.integers(small, points))
    selected = [ordering.within(budget).selected.tolist() for budget in (small, large, 1.0)]
    assert selected[0] == selected[1][:small]
    assert selected[2] == ordering.selected.tolist() == ordering.indices.tolist()


@pytest.mark.parametrize(
    ("budget", "candidates", "taken"),
    [
        (50, 200, 50), ("50", 200, 50), ("10%", 200, 20), (0.1, 200, 20), (1, 200, 1), (1.0, 200, 200), ("1", 200, 1), ("1.0", 200, 200),
        ("100%", 200, 200), (" 10 % ", 200, 20), ("0.5", 200, 100), ("0.5%", 200, 1), ("2.5%", 200, 5), (200, 200, 200), (1e-9, 200, 1),
        ("0.1%", 3, 1), (0.3, 10, 3), (0.29, 10, 3), (1, 1, 1), (np.int64(7), 200, 7), (np.float64(0.5), 7, 4), (np.float32(0.25), 8, 2),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("without_type_checks")
def test_a_budget_is_a_count_or_a_share(budget: object, candidates: int, taken: int) -> None:
    assert budget_size(budget, candidates) == taken


@pytest.mark.parametrize(
    "budget",
    [0, -1, 201, "0", "-1", "201", "0%", "101%", "-5%", 0.0, -0.1, 1.1, 50.0, "50.0", math.nan, math.inf, "nan", "nan%", "inf%", "ten",
     "ten%", "", " ", "%", "10%%", "1,5%", "1/2", True, False, None, [1], np.float64("nan")],
)  # fmt: skip
@pytest.mark.usefixtures("without_type_checks")
def test_any_other_budget_is_refused_with_an_example_of_a_good_one(budget: object) -> None:
    with pytest.raises(InputError, match=r"budget: .*; expected .*(such as (50|10%)|100%)"):
        budget_size(budget, 200)


def test_the_table_tells_each_candidates_rank_and_whether_it_is_taken() -> None:
    frame = rank(scores([1, 3, 2]), order="ranked").within(2).to_frame()
    assert frame.columns.tolist() == ["rank", "index", "origin", "label", "score", "loss", "probability", "selected"]
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["index"].tolist() == [1, 2, 0]
    assert frame["origin"].tolist() == ["image 1.png", "image 2.png", "image 0.png"]
    assert frame["score"].tolist() == [3, 2, 1]
    assert frame["selected"].tolist() == [True, True, False]


@pytest.mark.parametrize("indices", [[0, 1], [0, 1, 1], [1, 2, 3], [0, 1, 2, 3]])
@pytest.mark.usefixtures("without_type_checks")
def test_an_ordering_that_is_no_permutation_is_refused(indices: list[int]) -> None:
    with pytest.raises(InputError, match="indices: expected each of the 3 candidates once"):
        Ordering(np.array(indices), scores([1, 2, 3]), "uniform", "sampled", 0)


def test_an_ordering_with_a_budget_of_more_than_all_is_refused() -> None:
    with pytest.raises(InputError, match="budget: 4 of 3 points"):
        Ordering(np.arange(3), scores([1, 2, 3]), "uniform", "sampled", 0, budget=4)
