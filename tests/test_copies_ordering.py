from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.augmentation import CopiedFeatures
from augury.copies import CopyOrdering, by_points, training_set
from augury.copies.ordering import shared_weight
from augury.errors import InputError
from augury.scores import score
from augury.selection import rank


def ordering(weight: float = 1.0, budget: int | None = None) -> CopyOrdering:
    """Three points with two copies each, and a curve with its optimum at four."""
    candidates = np.array([4, 1, 0, 5, 3, 2])
    return CopyOrdering(
        candidates=candidates,
        point=candidates // 2,
        copy=candidates % 2,
        influence=np.array([-0.5, -0.3, -0.2, -0.1, 0.1, 0.4]),
        budgets=np.array([0, 1, 2, 4, 6]),
        loss=np.array([1.0, 0.6, 0.4, 0.3, 0.5]),
        accuracy=np.array([0.5, 0.7, 0.8, 0.9, 0.85]),
        weight=weight,
        budget=budget,
        cause={"target": "self"},
    )


def copied() -> CopiedFeatures:
    rng = np.random.default_rng(0)
    return CopiedFeatures(rng.normal(size=(3, 5)), rng.normal(size=(3, 2, 5)), np.array([0, 1, 1]))


def test_it_comes_back_from_a_file_as_it_was(tmp_path: Path) -> None:
    before = ordering(weight=4.0, budget=3)
    found = CopyOrdering.load(before.save(tmp_path / "copies.parquet"))
    for name in ("candidates", "point", "copy", "influence", "budgets", "loss", "accuracy"):
        np.testing.assert_array_equal(getattr(found, name), getattr(before, name))
    assert (found.weight, found.budget, found.cause) == (before.weight, before.budget, before.cause)


def test_a_file_of_another_kind_or_with_a_missing_row_is_refused(tmp_path: Path) -> None:
    path = score(np.eye(4), [0, 1, 0, 1]).save(tmp_path / "scores.parquet")
    with pytest.raises(InputError, match="expected copies-ordering, found scores"):
        CopyOrdering.load(path)
    with pytest.raises(InputError, match="each copy once"):
        CopyOrdering(*(np.array([1, 2]) for _ in range(3)), *(np.zeros(n) for n in (2,)), np.zeros(0, int), np.zeros(0), np.zeros(0))


def test_the_frame_has_a_row_a_copy_in_rank_order() -> None:
    frame = ordering(budget=2).to_frame()
    assert frame.columns.tolist() == ["rank", "candidate", "point", "copy", "influence", "selected"]
    assert frame["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert frame["selected"].tolist() == [True, True, False, False, False, False]
    assert (frame["point"] * 2 + frame["copy"]).tolist() == frame["candidate"].tolist()


def test_a_budget_is_a_prefix_and_a_mask() -> None:
    found = ordering().within("50%")
    assert found.selected.tolist() == [4, 1, 0]
    assert found.mask((3, 2)).tolist() == [[True, True], [False, False], [True, False]]
    with pytest.raises(InputError, match="holds 8 copies"):
        found.mask((4, 2))


def test_a_copy_stands_for_those_that_were_not_chosen_up_to_a_limit() -> None:
    found = ordering(weight=2.5)
    assert [found.weight_at(b) for b in (0, 1, 2, 3, 4, 6)] == [2.5, 2.5, 2.5, 2.0, 1.5, 1.0]
    assert {ordering().weight_at(b) for b in range(7)} == {1.0}


@given(st.integers(1, 10_000), st.data(), st.floats(1, 100))
def test_chosen_copies_never_weigh_more_than_all_copies_nor_less_than_one_each(copies: int, data: st.DataObject, most: float) -> None:
    chosen = data.draw(st.integers(1, copies))
    weight = shared_weight(copies, chosen, most)
    assert 1 <= weight <= most
    assert weight * chosen <= copies * (1 + 1e-12)


def test_the_predicted_curve_is_read_between_its_budgets() -> None:
    found = ordering().predicted([0, 3, 6])
    np.testing.assert_allclose(found["loss"], [1.0, 0.35, 0.5])
    np.testing.assert_allclose(found["accuracy"], [0.5, 0.85, 0.85])
    assert ordering().predicted()["budget"].tolist() == [0, 1, 2, 4, 6]


@pytest.mark.parametrize(("price", "budget"), [(0, 4), (0.04, 4), (0.1, 2), (0.3, 1), (0.5, 0)])
def test_the_recommended_budget_ends_where_one_more_copy_brings_less_than_its_price(price: float, budget: int) -> None:
    assert ordering().recommended(price) == budget


def test_the_training_set_holds_the_originals_and_the_chosen_copies_with_their_weights() -> None:
    train = copied()
    X, y, weights = training_set(train, ordering(weight=8.0), 2)
    np.testing.assert_array_equal(X[:3], train.features)
    np.testing.assert_array_equal(X[3:], [train.copies[2, 0], train.copies[0, 1]])
    assert y.tolist() == [0, 1, 1, 1, 0]
    assert weights.tolist() == [1, 1, 1, 3, 3]
    assert len(training_set(train, ordering(budget=1)).y) == 4
    assert training_set(train, ordering(), 0).weights.tolist() == [1, 1, 1]


def test_an_ordering_of_points_takes_all_copies_of_a_point_together() -> None:
    train = copied()
    points = rank(score(np.eye(3), [0, 1, 1], "uniform"), "uniform", "sampled", seed=1).within(2)
    found = by_points(points, 2)
    assert found.point.tolist() == np.repeat(points.indices, 2).tolist()
    assert found.copy.tolist() == [0, 1] * 3
    assert len(found.selected) == 4
    here, there = training_set(train, found), train.augmented(points.selected)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="predicts no curve"):
        found.predicted()


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ordering().within(7), "budget"),
        (lambda: ordering(weight=0.5), "weight: got 0.5"),
        (lambda: ordering().recommended(-1.0), "price: got -1"),
        (lambda: training_set(copied(), ordering(), 7), "budget: 7 of 6 copies"),
        (lambda: training_set(CopiedFeatures(np.eye(2), np.zeros((2, 2, 2)), np.array([0, 1])), ordering()), "have 2 x 2"),
        (lambda: by_points(rank(score(np.eye(2), [0, 1], "uniform")), 0), "copies: got 0"),
    ],
)
def test_what_does_not_fit_together_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
