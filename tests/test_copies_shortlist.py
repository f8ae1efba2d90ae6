from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from augury.copies import choose_copies, shortlist
from augury.errors import InputError
from augury.influence import influence
from test_copies import SHIFTS, Array, Shifted, make

POINTS = 120
Block = tuple[Array, Array, Array]


@pytest.fixture(scope="module")
def task() -> Shifted:
    return make([3, 8], POINTS)


def blocks(task: Shifted, points: int) -> Iterator[Block]:
    """All copies of so many points at a time."""
    for start in range(0, POINTS, points):
        part = slice(start, start + points)
        own = np.repeat(np.arange(POINTS)[part], len(SHIFTS))
        yield task.copies[part].reshape(len(own), -1), task.y[own], own


@pytest.mark.parametrize("size", [7, POINTS])
def test_a_pool_read_block_by_block_is_chosen_from_like_one_in_memory(task: Shifted, size: int) -> None:
    whole = choose_copies(task.head, task.train, task.copies, task.target, weight=1)
    found = shortlist(task.head, task.train, blocks(task, size), task.target, 4 * POINTS)
    np.testing.assert_array_equal(found.rows, np.arange(4 * POINTS))
    ordering = choose_copies(task.head, task.train, found, task.target, weight=1)
    np.testing.assert_array_equal(found.rows[ordering.candidates], whole.candidates)
    np.testing.assert_array_equal(ordering.loss, whole.loss)


def test_from_a_shortlist_the_same_copies_are_chosen_as_long_as_they_are_in_it(task: Shifted) -> None:
    whole = choose_copies(task.head, task.train, task.copies, task.target, weight=1)
    ranks = np.argsort(np.argsort(np.asarray(influence(task.head, task.train, task.pool, task.target))))
    keep = int(ranks[whole.candidates[:16]].max()) + 1
    assert keep < 4 * POINTS
    found = shortlist(task.head, task.train, blocks(task, 16), task.target, keep)
    ordering = choose_copies(task.head, task.train, found, task.target, weight=1)
    rounds = int((whole.budgets <= 16).sum())
    assert rounds > 2
    np.testing.assert_array_equal(found.rows[ordering.candidates][:16], whole.candidates[:16])
    np.testing.assert_array_equal(ordering.budgets[:rounds], whole.budgets[:rounds])
    np.testing.assert_allclose(ordering.loss[:rounds], whole.loss[:rounds], rtol=1e-5)


def test_the_copies_that_are_kept_are_those_of_the_lowest_influence(task: Shifted) -> None:
    found = shortlist(task.head, task.train, blocks(task, 11), task.target, 50)
    truth = np.asarray(influence(task.head, task.train, task.pool, task.target))
    np.testing.assert_allclose(found.influence, truth, rtol=1e-9)
    np.testing.assert_array_equal(found.rows, np.sort(np.argsort(truth)[:50]))
    np.testing.assert_array_equal(found.X, task.pool[0][found.rows])
    np.testing.assert_array_equal(found.y, task.pool[1][found.rows])
    np.testing.assert_array_equal(found.point, found.rows // len(SHIFTS))


def test_blocks_are_let_go_once_they_are_scored(task: Shifted) -> None:
    alive: list[weakref.ref[Array]] = []

    def watched() -> Iterator[Block]:
        for X, y, point in blocks(task, 30):
            fresh = X + 0.0
            assert sum(other() is not None for other in alive) <= 1
            alive.append(weakref.ref(fresh))
            yield fresh, y, point
            del fresh

    found = shortlist(task.head, task.train, watched(), task.target, 10)
    assert len(alive) == 4
    assert found.X.shape == (10, 64)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(("keep", "message"), [(0, "keep: got 0"), (True, "keep: got True"), (2.5, "keep: got 2.5")])
def test_a_number_to_keep_that_is_none_is_refused(task: Shifted, keep: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shortlist(task.head, task.train, blocks(task, 30), task.target, keep)


def test_a_generator_that_was_used_up_is_told(task: Shifted) -> None:
    with pytest.raises(InputError, match="a generator is used up"):
        shortlist(task.head, task.train, iter(()), task.target, 10)
