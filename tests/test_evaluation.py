from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from augury.augmentation import CopiedFeatures
from augury.data import load
from augury.errors import InputError
from augury.evaluation import Curve, measure
from augury.experiment import Pipeline, RunConfig
from augury.head import SoftmaxHead
from augury.scores import score
from augury.selection import Ordering, rank
from conftest import digits_features

CHECKPOINTS = [1, 10, 50, 100, 250, 500, 750, 1000]
WEIGHTS = [0.5, 5, 24.5, 45, 100, 200, 250, 250, 125]  # of the accuracies at 0 and at the checkpoints in paper 2's areas
BUDGETS = [1, 10, 30, 60, 120]
Test = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]
Problem = tuple[CopiedFeatures, Test, dict[str, list[Ordering]]]


def shifted(X: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Three copies of each 8 x 8 digit: one pixel to the left, to the right, down."""
    images = X.reshape(-1, 8, 8)
    moved = [np.roll(images, shift, axis) for shift, axis in ((-1, 2), (1, 2), (1, 1))]
    return np.stack(moved, axis=1).reshape(len(X), 3, 64)


def shifted_digits(classes: Sequence[int]) -> tuple[CopiedFeatures, Test]:
    """120 training digits, and 400 test digits of which the copies are in the test set too."""
    X, y = digits_features()
    kept = np.isin(y, classes)
    X, y = X[kept], y[kept]
    train = CopiedFeatures(X[:120], shifted(X[:120]), y[:120])
    held_out = CopiedFeatures(X[120:220], shifted(X[120:220]), y[120:220])
    return train, held_out.augmented(np.arange(100))[:2]


@pytest.fixture(scope="module", params=[(3, 8), (2, 3, 5, 8, 9)], ids=["two classes", "five classes"])
def problem(request: pytest.FixtureRequest) -> Problem:
    """Training points with copies, the test set, and two policies of two seeds."""
    train, test = shifted_digits(request.param)
    scores = score(train.features, train.labels)
    policies = {name: [rank(scores, name, seed=seed) for seed in (0, 1)] for name in ("proportional", "uniform")}
    return train, test, policies


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def plain_accuracy(train: CopiedFeatures, test: Test, chosen: npt.NDArray[np.int64], *, downweight: bool) -> float:
    """scikit-learn's accuracy when the copies of the chosen points are stacked below the originals, one by one."""
    X, y, weights = list(train.features), list(train.labels), [1.0] * len(train)
    share = 1 / (train.copies.shape[1] + 1) if downweight else 1.0
    for i in chosen:
        weights[i] = share
        for copy in train.copies[i]:
            X.append(copy)
            y.append(train.labels[i])
            weights.append(share)
    model = LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000).fit(np.array(X), np.array(y), sample_weight=weights)
    accuracy: float = model.score(*test)
    return accuracy


def curve_of(accuracies: Sequence[float], none: float = 0.5, full: float = 1.0, points: int = 10, budget: int = 5) -> Curve:
    """A curve with a seed for each accuracy, all at one budget."""
    rows = [("influence", seed, budget, accuracy) for seed, accuracy in enumerate(accuracies)]
    return Curve(pd.DataFrame(rows, columns=["policy", "seed", "budget", "accuracy"]), none, full, points)


@pytest.mark.parametrize("downweight", [False, True])
def test_the_curve_is_that_of_a_plain_loop_with_scikit_learn(problem: Problem, downweight: bool) -> None:  # noqa: FBT001  (by pytest)
    train, test, policies = problem
    curve = measure(train, test, policies, BUDGETS[::-1], downweight=downweight)
    expected = [
        (policy, ordering.seed, budget, plain_accuracy(train, test, ordering.indices[:budget], downweight=downweight))
        for policy, orderings in policies.items()
        for ordering in orderings
        for budget in BUDGETS
    ]
    pd.testing.assert_frame_equal(curve.frame, pd.DataFrame(expected, columns=["policy", "seed", "budget", "accuracy"]), rtol=1e-12)
    assert curve.none == plain_accuracy(train, test, np.arange(0), downweight=downweight)
    assert curve.full == plain_accuracy(train, test, np.arange(120), downweight=downweight)
    assert curve.points == 120
    assert curve.frame["accuracy"].nunique() > 4


def test_downweighting_makes_a_difference_where_it_should(problem: Problem) -> None:
    light, heavy = (measure(*problem, [60], downweight=downweight) for downweight in (True, False))
    assert light.none == heavy.none
    assert light.full != heavy.full
    assert light.frame["accuracy"].tolist() != heavy.frame["accuracy"].tolist()


def test_the_given_head_is_fitted_anew_and_left_as_it_was(problem: Problem) -> None:
    head = SoftmaxHead(C=0.01)
    curve = measure(*problem, [60], head=head)
    assert not hasattr(head, "coef_")
    assert not head.warm_start
    train, test, _ = problem
    assert curve.full == SoftmaxHead(C=0.01).fit(*train.augmented(np.arange(120))).score(*test)
    assert curve.full != measure(*problem, [60]).full


@pytest.mark.usefixtures("three_threads")
def test_neither_processes_nor_the_order_of_policies_change_a_bit(
    problem: Problem,
) -> None:
    train, test, policies = problem
    one = measure(train, test, policies, [10, 60])
    two = measure(train, test, policies, [10, 60], jobs=2)
    turned = measure(train, test, dict(reversed(policies.items())), [10, 60])
    pd.testing.assert_frame_equal(one.frame, two.frame, check_exact=True)
    assert turned.policies == one.policies[::-1]
    for policy in policies:
        same, other = (curve.frame[curve.frame["policy"] == policy].reset_index(drop=True) for curve in (one, turned))
        pd.testing.assert_frame_equal(same, other, check_exact=True)
    assert (one.none, one.full) == (two.none, two.full) == (turned.none, turned.full)
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_a_fit_that_fails_gives_torch_its_threads_back(problem: Problem) -> None:
    train, test, policies = problem
    with pytest.raises(InputError, match="C: got -1"):
        measure(train, test, policies, BUDGETS, head=SoftmaxHead(C=-1.0))
    assert torch.get_num_threads() == 3


def test_budgets_orderings_and_seeds_that_do_not_fit_are_refused(
    problem: Problem,
) -> None:
    train, test, policies = problem
    for budget in (0, -1, 121):
        with pytest.raises(InputError, match=rf"budget: {budget} of 120 points"):
            measure(train, test, policies, [10, budget])
    fewer = replace(train, features=train.features[:60], copies=train.copies[:60], labels=train.labels[:60])
    with pytest.raises(InputError, match="policies: an ordering of 'proportional' has 120 points, and the training set 60"):
        measure(fewer, test, policies, [10])
    with pytest.raises(InputError, match="policies: two orderings of a policy have the same seed"):
        measure(train, test, {"uniform": policies["uniform"] * 2}, [10])


def test_a_budget_given_twice_is_measured_once(problem: Problem) -> None:
    assert measure(*problem, [30, 10, 30]).frame["budget"].tolist() == [10, 30] * 4


def test_the_area_gives_every_checkpoint_paper_2s_weight() -> None:
    for j, weight in enumerate(WEIGHTS):
        accuracies = np.zeros(9)
        accuracies[j] = 1
        rows = [("p", 0, budget, accuracy) for budget, accuracy in zip(CHECKPOINTS, accuracies[1:], strict=True)]
        frame = pd.DataFrame(rows, columns=["policy", "seed", "budget", "accuracy"])
        curve = Curve(frame, none=float(accuracies[0]), full=float(accuracies[-1]), points=1000)
        assert curve.areas()["area"].tolist() == [weight]


@given(st.lists(st.integers(1, 499), min_size=1, max_size=8, unique=True), st.floats(0, 1))
def test_the_area_of_a_constant_accuracy_is_that_accuracy_times_the_points(budgets: list[int], accuracy: float) -> None:
    frame = pd.DataFrame([("p", 0, budget, accuracy) for budget in budgets], columns=["policy", "seed", "budget", "accuracy"])
    assert Curve(frame, accuracy, accuracy, 500).areas()["area"][0] == pytest.approx(500 * accuracy)


def test_each_policy_and_seed_has_its_own_area_between_the_two_baselines() -> None:
    rows = [("a", 0, 5, 0.6), ("a", 1, 5, 0.8), ("b", 0, 5, 1.0)]
    frame = pd.DataFrame(rows, columns=["policy", "seed", "budget", "accuracy"])
    areas = Curve(frame, none=0.5, full=1.0, points=10).areas()
    assert areas[["policy", "seed"]].to_numpy().tolist() == [["a", 0], ["a", 1], ["b", 0]]
    np.testing.assert_allclose(areas["area"], [5 * 0.55 + 5 * 0.8, 5 * 0.65 + 5 * 0.9, 5 * 0.75 + 5 * 1])


def test_the_summary_has_mean_sample_deviation_and_share_of_the_full_gain() -> None:
    (row,) = curve_of([0.7, 0.8, 0.9], none=0.6, full=1.0).summary().to_dict("records")
    assert (row["policy"], row["budget"], row["n"]) == ("influence", 5, 3)
    assert row["mean"] == pytest.approx(0.8)
    assert row["deviation"] == pytest.approx(0.1)  # the sum of squares 0.02 over 3 - 1
    assert row["share"] == pytest.approx(0.5)
    assert 0.7 - 1e-12 <= row["low"] < row["mean"] < row["high"] <= 0.9 + 1e-12


def test_the_summary_keeps_policies_and_budgets_in_the_order_measured(
    problem: Problem,
) -> None:
    summary = measure(*problem, [60, 10]).summary()
    assert summary[["policy", "budget", "n"]].to_numpy().tolist() == [
        [policy, budget, 2] for policy in ("proportional", "uniform") for budget in (10, 60)
    ]


def test_one_seed_has_neither_deviation_nor_interval() -> None:
    (row,) = curve_of([0.7]).summary().to_dict("records")
    assert np.isnan([row["deviation"], row["low"], row["high"]]).all()
    assert row["mean"] == 0.7


@pytest.mark.parametrize("full", [0.5, 0.4])
def test_there_is_no_share_of_a_gain_that_is_none(full: float) -> None:
    assert np.isnan(curve_of([0.7, 0.8], none=0.5, full=full).summary()["share"]).all()


def test_the_interval_is_the_same_every_time_and_a_point_where_all_seeds_agree() -> None:
    curve = curve_of([0.7, 0.75, 0.9, 0.72])
    pd.testing.assert_frame_equal(curve.summary(), curve.summary(), check_exact=True)
    same = curve_of([0.7] * 5).summary()
    np.testing.assert_allclose(same[["low", "high"]], 0.7)


def test_the_interval_of_many_seeds_is_close_to_the_normal_one() -> None:
    accuracies = np.random.default_rng(0).beta(80, 20, size=400)
    (row,) = curve_of(accuracies.tolist()).summary().to_dict("records")
    half = 1.96 * accuracies.std(ddof=1) / 20
    np.testing.assert_allclose([row["low"], row["high"]], accuracies.mean() + np.array([-half, half]), atol=0.06 * half)


def test_a_curve_comes_back_from_a_file_as_it_was(problem: Problem, tmp_path: Path) -> None:
    saved = measure(*problem, [7, 60], cause={"transform": "shift", "C": 1.0})
    found = Curve.load(saved.save(tmp_path / "curve.parquet"))
    pd.testing.assert_frame_equal(found.frame, saved.frame, check_exact=True)
    assert (found.none, found.full, found.points, found.cause) == (saved.none, saved.full, saved.points, saved.cause)
    assert found.save(tmp_path / "again.parquet").read_bytes() == (tmp_path / "curve.parquet").read_bytes()


def test_on_mnist_3_v_8_influence_beats_chance_by_3_points_of_area_and_inverse_influence_loses_to_it(tmp_path: Path) -> None:
    if not os.environ.get("AUGURY_DATA"):
        pytest.skip("AUGURY_DATA is not set: it names the folder that holds MNIST")
    try:
        load("mnist", split="test")
    except InputError as error:
        pytest.skip(f"AUGURY_DATA holds no MNIST: {error}")
    stages = Pipeline(RunConfig(data="mnist", classes=("3", "8"), first=1000, transform="translate:2"), tmp_path)
    train, test = stages.copied(stages.splits.train, "training points"), stages.copied(stages.splits.test, "test points")
    assert (train.features.shape, train.copies.shape, len(test)) == ((1000, 84), (1000, 4, 84), 1984)
    policies = {name: [rank(stages.scores, name, seed=seed) for seed in (0, 1)] for name in ("proportional", "uniform", "inverse")}
    curve = measure(train, test.augmented(np.arange(len(test)))[:2], policies, CHECKPOINTS)
    area = curve.areas().groupby("policy")["area"].mean()
    assert area["proportional"] > area["uniform"] + 3
    assert area["inverse"] < area["uniform"] - 3
