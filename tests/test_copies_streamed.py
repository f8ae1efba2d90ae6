from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from augury.copies import ChosenCopies, choose_copies, choose_from_blocks
from augury.copies.rounds import FIRST, LEAST
from augury.copies.weighing import HEAVY
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.influence import influence
from test_copies import SHIFTS, Array, Shifted, make

POINTS = 120
COPIES = POINTS * len(SHIFTS)
Block = tuple[Array, Array, Array]


@pytest.fixture(scope="module")
def task() -> Shifted:
    return make([3, 8], POINTS)


@dataclass
class Blocks:
    """All copies of so many points at a time, each time anew; counts how often."""

    task: Shifted
    points: int = 30
    passes: int = 0

    def __iter__(self) -> Iterator[Block]:
        self.passes += 1
        for start in range(0, POINTS, self.points):
            part = slice(start, start + self.points)
            own = np.repeat(np.arange(POINTS)[part], self.task.copies.shape[1])
            yield self.task.copies[part].reshape(len(own), -1), self.task.y[own], own


def loss_with(task: Shifted, rows: Array, weight: float = 1.0) -> float:
    """The test points' mean loss once the head was really refitted with these copies."""
    head = task.refitted(rows, weight)
    return float(-np.log(head.predict_proba(task.Xt)[np.arange(len(task.yt)), np.searchsorted(head.classes_, task.yt)]).mean())


def chosen(task: Shifted, target: Literal["points", "self"], budget: int) -> ChosenCopies:
    return choose_from_blocks(task.head, task.train, Blocks(task), task.target if target == "points" else "self", budget=budget, weight=1)


@pytest.mark.parametrize(("target", "apart"), [("points", 0.05), ("self", 0.1)])  # a sample stands for the self-target within a round
def test_what_is_chosen_from_blocks_is_nearly_as_good_as_what_is_chosen_in_memory(
    task: Shifted, target: Literal["points", "self"], apart: float
) -> None:
    found = chosen(task, target, 60)
    whole = choose_copies(task.head, task.train, task.copies, task.target if target == "points" else "self", weight=1)
    random = np.random.default_rng(0).permutation(COPIES)
    nothing = loss_with(task, whole.candidates[:0])
    for budget in (10, 24, 60):
        losses = [loss_with(task, rows[:budget]) for rows in (found.rows, whole.candidates, random)]
        assert losses[0] < losses[1] + apart * (nothing - losses[1])  # of the fall that the choice in memory brings
        assert losses[0] < losses[2]


def test_the_first_copies_are_those_of_the_lowest_influence(task: Shifted) -> None:
    for target, aim in (
        (task.target, task.target),
        ("self", tuple(np.concatenate([task.train[i], task.pool[i]]) for i in (0, 1))),
    ):
        found = choose_from_blocks(task.head, task.train, Blocks(task, 7), target, budget=LEAST, weight=1, steps=1)
        truth = np.asarray(influence(task.head, task.train, task.pool, aim))
        np.testing.assert_array_equal(found.rows, np.argsort(truth)[:LEAST])
        np.testing.assert_allclose(found.influence, np.sort(truth)[:LEAST], rtol=1e-4)


@pytest.mark.parametrize("target", ["points", "self"])
def test_the_predicted_curve_is_what_refitting_brings(task: Shifted, target: Literal["points", "self"]) -> None:
    found = chosen(task, target, 40)
    X, y = task.target if target == "points" else tuple(np.concatenate([task.train[i], task.pool[i]]) for i in (0, 1))
    assert found.budgets[0] == 0
    assert found.budgets[-1] == len(found) == 40
    for budget, loss, accuracy in zip(found.budgets, found.loss, found.accuracy, strict=True):
        head = task.refitted(found.rows[:budget])
        scores = head.predict_proba(X)[np.arange(len(y)), np.searchsorted(head.classes_, y)]
        assert loss == pytest.approx(float(-np.log(scores).mean()), rel=1e-6)
        assert accuracy == pytest.approx(float((head.predict(X) == y).mean()))


def test_features_labels_and_points_are_those_of_the_pool(task: Shifted) -> None:
    found = chosen(task, "points", 30)
    assert len(np.unique(found.rows)) == len(found) == 30
    np.testing.assert_array_equal(found.X, task.pool[0][found.rows])
    np.testing.assert_array_equal(found.y, task.pool[1][found.rows])
    np.testing.assert_array_equal(found.point, found.rows // len(SHIFTS))
    assert found.copies == COPIES


def test_blocks_may_be_of_any_size(task: Shifted) -> None:
    for target in (task.target, None):
        first, second = (choose_from_blocks(task.head, task.train, Blocks(task, size), target, budget=0.1) for size in (7, POINTS))
        np.testing.assert_array_equal(first.rows, second.rows)
        np.testing.assert_allclose(first.loss, second.loss, rtol=1e-9)
        assert first.weight == second.weight


def test_blocks_are_read_once_a_round_and_once_before_and_twice_for_the_self_target(task: Shifted) -> None:
    for target, times, after in ((task.target, 1, 0), ("self", 2, 1)):
        blocks = Blocks(task)
        found = choose_from_blocks(task.head, task.train, blocks, target, budget=20, weight=1)
        assert blocks.passes == 1 + times * (len(found.budgets) - 1) + after


def test_blocks_are_let_go_once_they_are_scored(task: Shifted) -> None:
    alive: list[weakref.ref[Array]] = []

    class Watched:
        def __iter__(self) -> Iterator[Block]:
            for X, y, point in Blocks(task):
                fresh = X + 0.0
                assert sum(other() is not None for other in alive) <= 1
                alive.append(weakref.ref(fresh))
                yield fresh, y, point
                del fresh

    choose_from_blocks(task.head, task.train, Watched(), task.target, budget=LEAST, weight=1)
    assert len(alive) == 2 * 4


def test_all_copies_can_be_chosen_and_weigh_as_much_as_originals(task: Shifted) -> None:
    found = choose_from_blocks(task.head, task.train, Blocks(task), task.target, budget=COPIES, weight=8)
    np.testing.assert_array_equal(np.sort(found.rows), np.arange(COPIES))
    assert found.weight == 1


def test_the_predicted_curve_tells_how_many_to_take(task: Shifted) -> None:
    found = choose_from_blocks(task.head, task.train, Blocks(task), task.target, budget=COPIES, weight=1)
    curve = found.predicted()
    np.testing.assert_array_equal(curve[["budget", "loss", "accuracy"]], np.column_stack([found.budgets, found.loss, found.accuracy]))
    assert (curve["weight"] == 1).all()
    best = found.recommended()
    assert 0 < best < COPIES
    assert found.loss[found.budgets == best] == found.loss.min() == found.predicted([best])["loss"][0]
    gain = found.loss[0] - found.loss.min()
    assert found.recommended(price=2 * gain / LEAST) == 0


@pytest.mark.parametrize("weight", [1, 5])
def test_the_training_set_has_originals_and_weighted_copies(task: Shifted, weight: int) -> None:
    found = choose_from_blocks(task.head, task.train, Blocks(task), task.target, budget=round(FIRST * COPIES) + LEAST, weight=weight)
    assert found.weight == weight
    training = found.training_set(task.train)
    np.testing.assert_array_equal(training.X, np.concatenate([task.X, found.X]))
    np.testing.assert_array_equal(training.y, np.concatenate([task.y, found.y]))
    np.testing.assert_array_equal(training.weights, [1.0] * POINTS + [weight] * len(found))
    own = np.linspace(0.5, 1, POINTS)
    np.testing.assert_array_equal(found.training_set((*task.train, own)).weights[:POINTS], own)


@pytest.mark.parametrize("C", [0.003, 100.0])
@pytest.mark.parametrize("target", ["points", "self"])
def test_auto_weights_are_those_of_the_choice_in_memory(task: Shifted, C: float, target: Literal["points", "self"]) -> None:
    head, aim = SoftmaxHead(C=C).fit(*task.train), task.target if target == "points" else "self"
    single = task._replace(copies=task.copies[:, :1])  # so that either sample is all copies
    whole = choose_copies(head, task.train, single.copies, aim)
    found = choose_from_blocks(head, task.train, Blocks(single), aim, budget=LEAST)
    assert found.weight == whole.weight_at(LEAST) == (HEAVY if C < 1 else 1)


def test_ten_classes_and_points_with_weights(ten_classes: Shifted) -> None:
    weights = np.linspace(0.5, 1.5, POINTS)
    head = ten_classes.head.fit(*ten_classes.train, weights)
    found = choose_from_blocks(head, (*ten_classes.train, weights), Blocks(ten_classes), ten_classes.target, budget=40, weight=1)
    assert (found.loss[1:] < found.loss[0]).all()
    assert set(found.y.tolist()) <= set(head.classes_.tolist())


@pytest.fixture
def ten_classes() -> Shifted:
    return make(list(range(10)), POINTS)


def test_a_generator_is_refused(task: Shifted) -> None:
    with pytest.raises(InputError, match="blocks: can be read only once"):
        choose_from_blocks(task.head, task.train, iter(Blocks(task)), task.target, budget=10)


def test_a_pool_without_copies_is_refused(task: Shifted) -> None:
    with pytest.raises(InputError, match="blocks: there is none"):
        choose_from_blocks(task.head, task.train, [], task.target, budget=10)


@pytest.mark.parametrize("later", [60, 180])
def test_a_pool_that_changes_is_told(task: Shifted, later: int) -> None:
    class Changing(Blocks):
        def __iter__(self) -> Iterator[Block]:
            first, every = self.passes == 0, list(super().__iter__())
            yield from every if first else (every * 2)[: later // 30]

    with pytest.raises(InputError, match="every round must read the same"):
        choose_from_blocks(task.head, task.train, Changing(task), task.target, budget=10, weight=1)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"target": "folds"}, "target: got 'folds'"),
        ({"budget": COPIES + 1}, f"budget: .*{COPIES}"),
        ({"weight": 0.5}, "weight: got 0.5"),
        ({"growth": 0}, "growth: got 0"),
        ({"steps": 0}, "steps: got 0"),
    ],
)
def test_settings_that_make_no_choice_are_refused(task: Shifted, changed: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"target": task.target, "budget": 10} | changed
    with pytest.raises(InputError, match=message):
        choose_from_blocks(task.head, task.train, Blocks(task), **settings)  # type: ignore[arg-type]
