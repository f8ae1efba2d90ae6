from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from augury.errors import InputError
from augury.scores import Scores
from augury.selection import Ordering, Preference, determinantal, diversify, rank, sample_k_dpp
from augury.selection.determinantal import Spectrum, feature_spectrum, log_elementary
from conftest import no_type_checks

Array = npt.NDArray[Any]
Sets = dict[tuple[int, ...], float]
Draw = Callable[[np.random.Generator], Array]
DRAWS = 10_000


def gaussian(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape)


def kernel_of(X: Array, q: Array) -> Array:
    """By definition: q_i q_j times the product of the features, scaled to length 1000, and a ridge of 1e-3."""
    phi = 1e3 * X / np.sqrt((X**2).sum(axis=1))[:, None]
    found: Array = q[:, None] * (phi @ phi.T) * q + 1e-3 * np.eye(len(X))
    return found


DENSE = gaussian(6, 9) @ gaussian(6, 9).T
KERNELS: dict[str, tuple[Array, int]] = {
    "well conditioned": (DENSE, 3),
    "of rank 3": (gaussian(7, 3) @ gaussian(7, 3).T, 3),
    "diagonal": (np.diag([1.0, 2, 3, 4, 5, 6]), 2),
    "eigenvalues from 1e-3 to 1e9": (1e9 * np.outer(gaussian(6), gaussian(6)) + 1e-3 * DENSE, 3),
}
FEATURES: dict[str, tuple[Array, Array, int]] = {
    "fewer features than drawn points": (gaussian(7, 2), np.ones(7), 4),
    "more features than points": (gaussian(6, 9), np.ones(6), 3),
    "odds that differ": (gaussian(6, 3), np.array([1, 0.5, 0.3, 0.1, 0.05, 0.8]), 3),
    "odds below the ridge": (gaussian(6, 4), np.array([1, 1e-4, 2e-5, 1e-5, 3e-6, 1e-9]), 4),
    "points that coincide": (gaussian(3, 2)[[0, 0, 1, 1, 2, 2]], np.array([1, 1, 1, 0.5, 1, 1]), 4),
}


def determinant(rows: list[list[Fraction]]) -> Fraction:
    """By elimination, without rounding."""
    if not rows:
        return Fraction(1)
    pivot = next((i for i, row in enumerate(rows) if row[0]), None)
    if pivot is None:
        return Fraction(0)
    top, rest = rows[pivot], rows[:pivot] + rows[pivot + 1 :]
    below = [[value - row[0] / top[0] * above for value, above in zip(row[1:], top[1:], strict=True)] for row in rest]
    return (-1) ** pivot * top[0] * determinant(below)


def exact(L: Array, k: int) -> Sets:
    """The probability of every set of k points, enumerated."""
    entries = [[Fraction(float(value)) for value in row] for row in L]
    volumes = {S: determinant([[entries[i][j] for j in S] for i in S]) for S in combinations(range(len(L)), k)}
    total = sum(volumes.values())
    return {S: float(volume / total) for S, volume in volumes.items()}


def drawn(draw: Draw, draws: int = DRAWS) -> Array:
    rng = np.random.default_rng(1)
    with no_type_checks():
        return np.stack([draw(rng) for _ in range(draws)])


def agreement(draws: Array, probabilities: Sets) -> float:
    """The p-value of Pearson's chi-square test; the least likely cases count as one, expected at least five times."""
    place = {case: i for i, case in enumerate(probabilities)}
    counts = np.bincount([place[tuple(case)] for case in draws.tolist()], minlength=len(place))
    expected = np.array(list(probabilities.values())) * len(draws)
    order = np.argsort(expected)
    few = np.searchsorted(expected[order].cumsum(), 5) + 1
    pooled = [np.append(values[order[few:]], values[order[:few]].sum()) for values in (counts, expected)]
    p: float = chisquare(*pooled).pvalue
    return p


def scored(values: Array) -> Scores:
    n = len(values)
    return Scores(values, np.zeros(n, dtype=np.int64), np.ones(n), np.ones(n), "influence", ("a",), np.arange(n).astype(str))


def ordered(values: Array, preference: Preference = "proportional", seed: int = 0) -> Ordering:
    return rank(scored(values), preference, "sampled", seed)


@pytest.mark.parametrize("name", KERNELS)
def test_a_set_is_drawn_as_often_as_its_determinant_says(name: str) -> None:
    L, k = KERNELS[name]
    spectrum = Spectrum.of_kernel(L)
    assert agreement(np.sort(drawn(lambda rng: spectrum.draw(k, rng))), exact(L, k)) > 0.01


@pytest.mark.parametrize("name", FEATURES)
def test_a_set_of_points_with_features_is_drawn_as_often_as_its_determinant_says(name: str) -> None:
    X, q, k = FEATURES[name]
    spectrum = feature_spectrum(X, q)
    assert agreement(np.sort(drawn(lambda rng: spectrum.draw(k, rng))), exact(kernel_of(X, q), k)) > 0.01


def by_uniform_sets(L: Array, k: int, rng: np.random.Generator) -> Array:
    return rng.permutation(len(L))[:k]


def by_the_diagonal(L: Array, k: int, rng: np.random.Generator) -> Array:
    return np.argsort(-np.log(np.diag(L)) - rng.gumbel(size=len(L)))[:k]


def by_conditional_variance(L: Array, k: int, rng: np.random.Generator) -> Array:
    """One after another in proportion to what is left of the diagonal: right for a projection, wrong for any other kernel."""
    rest, found = L.copy(), []
    for _ in range(k):
        weights = np.diag(rest).clip(0)
        i = int(rng.choice(len(L), p=weights / weights.sum()))
        found.append(i)
        rest = rest - np.outer(rest[:, i], rest[i]) / rest[i, i]
    return np.array(found)


def by_the_largest_eigenvectors(L: Array, k: int, rng: np.random.Generator) -> Array:
    V = np.linalg.eigh(L)[1][:, -k:]
    return by_conditional_variance(V @ V.T, k, rng)


@pytest.mark.parametrize("wrong", [by_uniform_sets, by_the_diagonal, by_conditional_variance, by_the_largest_eigenvectors])
def test_the_comparison_tells_wrong_samplers(wrong: Callable[[Array, int, np.random.Generator], Array]) -> None:
    L, k = KERNELS["well conditioned"]
    assert agreement(np.sort(drawn(lambda rng: wrong(L, k, rng), 5000)), exact(L, k)) < 1e-6


def test_each_order_of_a_set_is_equally_likely() -> None:
    spectrum = Spectrum.of_kernel(DENSE)
    orders = {order: p / 2 for S, p in exact(DENSE, 2).items() for order in permutations(S)}
    assert agreement(drawn(lambda rng: spectrum.draw(2, rng)), orders) > 0.01


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.usefixtures("without_type_checks")  # thousands of draws
def test_the_public_sampler_draws_from_a_kernel_as_it_is(k: int) -> None:
    L = DENSE[:4, :4]
    draws = np.stack([sample_k_dpp(L, k, seed) for seed in range(2000)])
    assert agreement(np.sort(draws), exact(L, k)) > 0.01


def test_one_point_is_drawn_in_proportion_to_the_diagonal_and_all_points_are_drawn_for_certain() -> None:
    assert exact(DENSE, 1) == pytest.approx({(i,): p for i, p in enumerate(np.diag(DENSE) / np.trace(DENSE))})
    np.testing.assert_array_equal(np.sort(sample_k_dpp(DENSE, 6)), np.arange(6))
    np.testing.assert_array_equal(sample_k_dpp(np.array([[1e-300]]), 1), [0])


@pytest.mark.usefixtures("without_type_checks")  # likewise
def test_an_ordering_begins_with_a_draw_whose_quality_is_its_odds() -> None:
    """The whole way, a seed a draw: q is the score under `proportional`, whatever its unit, and 1 over the score under `inverse`."""
    X, q, k = FEATURES["odds that differ"]
    for preference, values in (("proportional", 7 * q), ("inverse", 0.01 / q)):
        draws = np.stack([diversify(ordered(values, preference, seed), X, k).selected for seed in range(400)])
        assert agreement(np.sort(draws), exact(kernel_of(X, q), k)) > 0.01
        assert agreement(np.sort(draws), exact(kernel_of(X, np.ones(6)), k)) < 1e-6


@pytest.mark.parametrize("shape", [(30, 4), (30, 30), (30, 47)])
def test_the_spectrum_is_that_of_the_kernel_by_definition(shape: tuple[int, int]) -> None:
    X, q = gaussian(*shape), np.geomspace(1e-3, 1, 30)
    spectrum = feature_spectrum(X, q)
    V, m = spectrum.vectors, spectrum.vectors.shape[1]
    np.testing.assert_allclose(spectrum.values[m:], 1e-3, rtol=1e-12)
    L = V @ np.diag(spectrum.values[:m]) @ V.T + 1e-3 * (np.eye(30) - V @ V.T)
    np.testing.assert_allclose(L, kernel_of(X, q), atol=1e-12 * 1e6)
    assert spectrum.values.min() >= 1e-3


def test_points_are_included_with_their_exact_probability_where_there_are_too_many_sets_to_count() -> None:
    """P(i in S) = sum_j v_ij^2 P(j in J), and P(j in J) = value_j e_{k - 1}(the others) / e_k(all); 40 of 150 points with 25 features."""
    X, q, k, draws = gaussian(150, 25), np.geomspace(1e-4, 1, 150), 40, 1500
    values, vectors = np.linalg.eigh(kernel_of(X, q))
    logs = np.log(values)
    taken = [log + log_elementary(np.delete(logs, j), k - 1)[-1, -1] for j, log in enumerate(logs)]
    inclusion = vectors**2 @ np.exp(np.array(taken) - log_elementary(logs, k)[-1, -1])
    assert inclusion.sum() == pytest.approx(k)
    spectrum = feature_spectrum(X, q)
    found = np.bincount(drawn(lambda rng: spectrum.draw(k, rng), draws).ravel(), minlength=150) / draws
    error = np.sqrt(inclusion * (1 - inclusion) / draws) + 1e-9
    assert (np.abs(found - inclusion) < 4.5 * error).all()
    assert (inclusion > 0.95).any()
    assert (inclusion < 0.25).any()


@given(st.lists(st.floats(1e-3, 1e9) | st.just(0.0), min_size=1, max_size=9), st.data())
def test_the_logarithms_of_elementary_symmetric_polynomials_are_those_of_sums_over_all_products(
    values: list[float], data: st.DataObject
) -> None:
    k = data.draw(st.integers(0, len(values)))
    with np.errstate(divide="ignore"):
        table, expected = log_elementary(np.log(values), k), np.full((len(values) + 1, k + 1), -np.inf)
        for i, l in np.ndindex(expected.shape):
            expected[i, l] = np.log(math.fsum(math.prod(group) for group in combinations(values[:i], l)))
    np.testing.assert_allclose(table, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [1e-3, 1e9])
def test_polynomials_beyond_the_range_of_numbers_have_logarithms(value: float) -> None:
    """e_250 of 1000 equal values: the number of sets times the value to the power of 250."""
    expected = math.log(math.comb(1000, 250)) + 250 * math.log(value)
    assert log_elementary(np.full(1000, math.log(value)), 250)[-1, -1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("features", [64, 2304])
def test_a_quarter_of_a_thousand_points_is_drawn_whatever_the_number_of_features(features: int) -> None:
    X = np.maximum(gaussian(1000, features), 0)
    found = diversify(ordered(np.geomspace(1e-12, 30, 1000)), X, "25%")
    assert len(np.unique(found.selected)) == found.budget == 250
    assert found.selected.mean() > 600  # the higher scores come last


def test_of_points_that_point_in_one_direction_one_is_drawn() -> None:
    X = np.repeat(np.eye(5), 4, axis=0) * np.linspace(0.1, 9, 20)[:, None]
    for seed in range(50):
        found = diversify(ordered(np.linspace(1, 2, 20), seed=seed), X, 5)
        np.testing.assert_array_equal(np.sort(found.selected // 4), np.arange(5))


def test_the_points_that_are_not_drawn_follow_in_the_order_that_was_given() -> None:
    given_order = rank(scored(gaussian(40) ** 2), "inverse", "ranked")
    found = diversify(given_order, gaussian(40, 5), 8)
    np.testing.assert_array_equal(found.indices[8:], [i for i in given_order.indices if i not in set(found.selected.tolist())])
    assert (found.order, found.preference, found.settings) == ("determinantal", "inverse", {"drawn": 8, "rest": "ranked"})


@pytest.mark.usefixtures("without_type_checks")  # thousands of draws
def test_draws_for_two_budgets_are_independent_so_they_do_not_nest() -> None:
    """Of four points at right angles each is as likely to come first, whatever came first with the other budget and the same seed."""
    orderings = [ordered(np.ones(4), "uniform", seed) for seed in range(1000)]
    firsts = np.stack([[diversify(ordering, np.eye(4), budget).indices[0] for budget in (2, 3)] for ordering in orderings])
    assert agreement(firsts, dict.fromkeys(product(range(4), repeat=2), 1 / 16)) > 0.01
    drawn_first = np.stack([firsts[:, 0], [ordering.indices[0] for ordering in orderings]], axis=1)
    assert agreement(drawn_first, dict.fromkeys(product(range(4), repeat=2), 1 / 16)) > 0.01


def test_neither_the_length_nor_the_kind_of_the_features_matters() -> None:
    X, ordering = gaussian(50, 9), ordered(np.linspace(1, 2, 50))
    expected = diversify(ordering, X, 10).indices
    for lengths in (np.full(50, 2.0**-600), np.full(50, 2.0**600), 2.0 ** np.arange(50)):  # as squares, out of the range of numbers
        np.testing.assert_array_equal(diversify(ordering, X * lengths[:, None], 10).indices, expected)
    np.testing.assert_array_equal(diversify(ordering, X.tolist(), 10).indices, expected)


def test_points_without_features_are_drawn_by_the_ridge_alone() -> None:
    X = np.vstack([np.eye(3), np.zeros((3, 3))])
    assert set(diversify(ordered(np.ones(6)), X, 3).selected.tolist()) == {0, 1, 2}
    assert len(diversify(ordered(np.ones(6)), np.zeros((6, 3)), 3).selected) == 3


@pytest.mark.usefixtures("without_type_checks")
def test_what_is_no_kernel_and_no_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: sample_k_dpp(gaussian(4, 3), 2), r"kernel: expected a symmetric matrix .*, got one of shape \(4, 3\)"),
        (lambda: sample_k_dpp(gaussian(4, 4), 2), r"kernel: expected a symmetric matrix"),
        (lambda: sample_k_dpp(np.diag([1.0, -1, 2]), 2), r"kernel: the eigenvalue -1 is negative; expected a positive semi-definite"),
        (lambda: sample_k_dpp(np.diag([1.0, np.nan]), 2), r"kernel: point 1 has a NaN or infinite feature"),
        (
            lambda: sample_k_dpp(np.diag([1.0, 0, 2]), 3),
            r"k: 3 points of a kernel of rank 2 have no volume; take at most 2, or add a ridge",
        ),
        *((lambda k=k: sample_k_dpp(DENSE, k), r"k: got .*; expected a whole number from 1 to 6") for k in (0, 7, -1, 1.5, True, None)),
        (lambda: sample_k_dpp(DENSE, 2, -1), r"seed: got -1; expected a whole number, 0 or more"),
        (lambda: diversify(ordered(np.ones(6)), gaussian(5, 2), 2), r"features: 5 rows for 6 scored points; expected one row for each"),
        (lambda: diversify(ordered(np.ones(6)), gaussian(6), 2), r"features: shape \(6,\); expected \(points, features\)"),
        (lambda: diversify(ordered(np.ones(6)), gaussian(6, 2), 7), r"budget: 7 of 6 points"),
    ]
    for call, message in refused:
        with pytest.raises(InputError, match=message):
            call()
    monkeypatch.setattr(determinantal, "MOST_NUMBERS", 6 * 4 - 1)
    with pytest.raises(
        InputError, match=r"budget: a determinantal draw of 2 from 6 points with 2 features needs .*; take a smaller budget"
    ):
        diversify(ordered(np.ones(6)), gaussian(6, 2), 2)
