"""Which images a run keeps for its page, and in what size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from augury.copies import CopyOrdering
from augury.data import Examples
from augury.experiment.gallery import COPIES, MOST, as_bytes, save_gallery, shown_copies, shown_points
from augury.report.copy_folder import Flags
from augury.report.folder import ITSELF, Gallery
from augury.scores import Scores
from augury.selection import Ordering, rank
from augury.transforms import Flip


def points_ordering(points: int, budget: int) -> Ordering:
    values, zeros = np.random.default_rng(0).gamma(0.5, 1.0, points), np.zeros(points)
    return rank(Scores(values, zeros.astype(np.int64), zeros, zeros, "loss", ("a",), np.arange(points).astype(str))).within(budget)


def copies_ordering(points: int, copies: int, budget: int) -> CopyOrdering:
    candidates, none = np.random.default_rng(1).permutation(points * copies), np.empty(0)
    influence = np.linspace(-1, 1, len(candidates))
    return CopyOrdering(candidates, candidates // copies, candidates % copies, influence, none.astype(np.int64), none, none, budget=budget)


def flags_of(candidates: np.ndarray) -> Flags:
    frame = pd.DataFrame({"candidate": candidates, "harmful": False, "disagreement": np.linspace(1, 0.6, len(candidates))})
    return Flags(frame, 1.0, 10)


@pytest.mark.parametrize("copies", [1, 4, 100, 500])
def test_few_points_are_all_shown_with_the_copies_of_those_chosen_first(copies: int) -> None:
    ordering = points_ordering(50, 5)
    points, candidates = shown_points(ordering, copies)
    assert points.tolist() == list(range(50))
    families = min(5, max(1, COPIES // copies))
    expected = [copies * int(point) + copy for point in ordering.selected[:families] for copy in range(copies)]
    assert candidates.tolist() == expected[:COPIES]


@pytest.mark.parametrize(("budget", "copies"), [(10, 4), (3000, 4), (5000, 1)])
def test_of_many_points_the_first_chosen_and_a_spread_from_the_highest_to_the_lowest_score_are_shown(budget: int, copies: int) -> None:
    ordering = points_ordering(5000, budget)
    points, candidates = shown_points(ordering, copies)
    assert len(points) + len(candidates) == MOST
    assert len(np.unique(points)) == len(points)
    assert set(ordering.selected[: min(budget, 380)]) <= set(points)
    others = np.argsort(-ordering.scores.values, kind="stable")
    others = others[~np.isin(others, ordering.selected[: len(points) // 2])]
    assert {others[0], others[-1]} <= set(points)
    gaps = np.diff(np.flatnonzero(np.isin(others, points)))
    assert gaps.max() - gaps.min() <= 1


def test_few_copies_are_all_shown_with_their_points() -> None:
    points, candidates = shown_copies(copies_ordering(100, 4, 10), flags_of(np.arange(3)), 100)
    assert points.tolist() == list(range(100))
    assert candidates.tolist() == list(range(400))


@pytest.mark.parametrize("points", [300, 5000])
def test_of_many_copies_flagged_and_chosen_ones_and_a_spread_are_shown_with_their_points(points: int) -> None:
    ordering, flags = copies_ordering(points, 8, 2000), flags_of(np.arange(0, 400, 2))
    shown = shown_copies(ordering, flags, points)
    assert len(shown.points) + len(shown.candidates) <= MOST
    assert len(shown.candidates) >= MOST // 2
    assert set(shown.points) == set(shown.candidates // 8)
    assert set(flags.worst(150)) <= set(shown.candidates)
    assert set(ordering.selected[:100]) <= set(shown.candidates)
    assert ordering.candidates[-1] in shown.candidates


def test_images_are_kept_pixel_by_pixel_with_their_copies(tmp_path: Path) -> None:
    images = np.random.default_rng(2).random((6, 1, 8, 8)).astype(np.float32)
    examples = Examples(images, np.zeros(6, dtype=np.int64), ("a",), np.arange(6).astype(str))
    ordering = points_ordering(6, 2)
    found = Gallery.load(save_gallery(tmp_path / "gallery.npz", examples, Flip(), shown_points(ordering, 1)))
    assert found.points.tolist() == [*range(6), *ordering.selected]
    assert found.copies.tolist() == [ITSELF] * 6 + [0, 0]
    np.testing.assert_array_equal(found.images, as_bytes(np.concatenate([images, images[ordering.selected][..., ::-1]])))


def test_large_images_are_kept_as_thumbnails_of_their_shape(tmp_path: Path) -> None:
    images = np.full((3, 3, 400, 200), 200, dtype=np.uint8)
    examples = Examples(images, np.zeros(3, dtype=np.int64), ("a",), np.arange(3).astype(str))
    found = Gallery.load(save_gallery(tmp_path / "gallery.npz", examples, Flip(), shown_points(points_ordering(3, 1), 1)))
    assert found.images.shape == (4, 3, 96, 48)
    assert (found.images == 200).all()
