"""The toy problem: E moves points to where validation asks for them, and what is drawn and told of it is what was measured."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from augury.errors import InputError
from augury.experiment.learning.plane import BOUND, DOWN, PLACE, Row, Transition, drawn, pictures
from augury.experiment.learning.toy import RULES, Points, ToyResult, reproduce_toy, toy
from augury.learned import Transformation
from augury.learned.teaching_config import Rule
from augury.report.learning import toy as report

CASES = [("gradient", 0), ("gradient", 1), ("choice", 0), ("choice", 1)]
EACH = pytest.mark.parametrize(("rule", "seed"), CASES)
measured = cache(toy)


@EACH
def test_where_validation_points_are_misclassified_points_of_their_class_move_towards_them(rule: Rule, seed: int) -> None:
    found = measured(1, seed, rule)
    assert found.wrong.sum() >= 10
    assert found.approach() > 0.3
    assert found.approach() > found.chance() + 0.3


@EACH
def test_where_validation_was_moved_down_the_mean_transition_is_downward(rule: Rule, seed: int) -> None:
    moves = measured(2, seed, rule).moves
    labels = measured(2, seed, rule).train.labels
    assert moves[:, 1].mean() < -0.3
    assert abs(moves[:, 0].mean()) < -moves[:, 1].mean()
    for label in (0, 1):
        assert moves[labels == label, 1].mean() < -0.1


@EACH
@pytest.mark.parametrize("row", [1, 2])
def test_retraining_with_what_was_learned_lowers_the_validation_loss(row: Row, rule: Rule, seed: int) -> None:
    losses = measured(row, seed, rule).losses
    assert losses["validation_learned"] < losses["validation_plain"]


@pytest.mark.parametrize("row", [1, 2])
def test_what_was_learned_helps_on_fresh_points_and_more_than_random_transitions_do(row: Row) -> None:
    losses = pd.DataFrame([measured(row, seed, "choice").losses for seed in (0, 1)]).mean()
    assert losses["test_learned"] < 0.85 * losses["test_random"]
    assert losses["test_learned"] < 0.6 * losses["test_plain"]


@pytest.mark.parametrize("rule", RULES)
def test_transitions_keep_their_bound_and_the_losses_tell_of_two_classifiers(rule: Rule) -> None:
    found = measured(1, 0, rule)
    assert np.abs(found.augmented - found.train.places).max() <= BOUND + 1e-6
    assert np.abs(found.moves).max() <= BOUND
    assert found.before.shape == found.after.shape == (len(found.axis), len(found.axis))
    assert 0 <= found.before.min() < 0.01
    assert 0.99 < found.before.max() <= 1
    assert not np.array_equal(found.before, found.after)


def test_the_first_classifier_is_wrong_where_its_map_says_so() -> None:
    found = measured(1, 0, "choice")
    places, labels = found.validation
    nearest = np.abs(found.axis[:, None] - places.T[:, None]).argmin(axis=1)  # (2, points): columns, rows
    red = found.before[nearest[1], nearest[0]]
    certain = np.abs(red - 0.5) > 0.4
    assert_array_equal((red < 0.5)[certain] != labels.astype(bool)[certain], found.wrong[certain])
    assert certain.mean() > 0.6


def test_a_new_red_point_helps_where_red_validation_points_are_misclassified_and_a_blue_one_harms() -> None:
    found = measured(1, 0, "gradient")
    columns, rows = (np.abs(found.axis - coordinate).argmin() for coordinate in (0.2, 1.2))
    assert found.influence[0, rows, columns] < -0.2
    assert found.influence[1, rows, columns] > 0.2
    assert np.abs(found.influence[:, :, -1]).max() < 0.1  # far away F is sure


def test_the_same_seed_gives_the_same_bits_and_no_generator_moves() -> None:
    before, found, again = torch.get_rng_state(), measured(2, 0, "choice"), toy(2, 0, "choice")
    assert_array_equal(found.augmented, again.augmented)
    assert_array_equal(found.after, again.after)
    assert found.losses == again.losses
    assert torch.equal(torch.get_rng_state(), before)
    assert np.abs(measured(2, 1, "choice").augmented - found.augmented).max() > 0.1


def test_validation_differs_from_training_as_the_rows_say() -> None:
    train, validation, test = drawn(1, 0)
    assert [len(part.labels) for part in (train, validation, test)] == [200, 120, 2400]
    assert_allclose(validation.places[100:].mean(axis=0), PLACE, atol=0.15)
    assert set(validation.labels[100:]) == {0}
    train, validation, test = drawn(2, 0)
    assert float((train.places.mean(axis=0) - test.places.mean(axis=0))[1]) == pytest.approx(DOWN, abs=0.1)
    assert [round(float(part.labels.mean()), 2) for part in (train, validation, test)] == [0.5, 0.5, 0.5]


def test_the_transition_is_a_transformation_that_moves_to_the_right_and_up() -> None:
    points, tau = pictures(np.array([[1, 2], [0, -1]], np.float32)), torch.tensor([[0.5, 0.25], [0, -1]])
    assert isinstance(Transition(), Transformation)
    assert_allclose(Transition()(points, tau)[:, :, 0, 0], [[1.5, 2.25], [0, -2]])


def bare(train: list[list[float]], validation: list[list[float]], wrong: list[bool], augmented: list[list[float]]) -> ToyResult:
    """All red; enough for distances."""
    first, second = (Points(np.array(part, np.float32), np.zeros(len(part), np.int64)) for part in (train, validation))
    reached, field = np.array(augmented, np.float64), np.zeros((1, 1))
    fields = {"axis": np.zeros(1), "before": field, "after": field, "influence": np.zeros((2, 1, 1))}
    return ToyResult(1, "choice", 0, first, second, np.array(wrong), moves=np.zeros_like(reached), augmented=reached, losses={}, **fields)


def test_the_approach_is_how_much_nearer_points_come_to_the_closest_misclassified_one() -> None:
    found = bare([[0, 0], [10, 0]], [[3, 0], [10, 4], [0.1, 0]], [True, True, False], [[1, 0], [10, -1]])
    assert found.approach() == pytest.approx((1 - 1) / 2)
    assert found.approach(np.array([[3.0, 0], [10, 4]])) == pytest.approx((3 + 4) / 2)
    assert -0.2 < found.chance() < 0.1


def test_an_unknown_row_or_rule_is_refused(without_type_checks: None) -> None:
    for row, rule in ((3, "choice"), (1, "luck")):
        with pytest.raises(InputError, match="expected row 1 or 2, and rule gradient or choice"):
            toy(row, 0, rule)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="seeds: 0; expected at least 1"):
        reproduce_toy(seeds=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes for one seed."""
    path = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("augury.experiment.learning.toy.toy", measured)
        assert reproduce_toy(out=path, seeds=1) == path / "report.md"
    return path


def test_the_folder_holds_tables_figures_and_a_page_that_shows_them(folder: Path) -> None:
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    figures = [f"figures/{name}-{rule}.png" for name in ("figure-03", "influence") for rule in ("choice", "gradient")]
    assert names == ["fields.parquet", *figures, "points.parquet", "report.md", "summary.parquet"]
    page = (folder / "report.md").read_text()
    assert all(f"]({name})" in page for name in figures)
    for name in figures:
        with Image.open(folder / name) as picture:
            assert picture.size == ((1200, 600) if "figure-03" in name else (600, 600))


def test_the_tables_are_what_was_measured(folder: Path) -> None:
    summary = pd.read_parquet(folder / "summary.parquet").set_index(["rule", "row"])
    assert len(summary) == 4
    found, row = measured(2, 0, "choice"), summary.loc[("choice", 2)]
    assert (row["approach"], row["test_learned"]) == (found.approach(), found.losses["test_learned"])
    assert_allclose([row["right"], row["up"]], found.moves.mean(axis=0))
    points = pd.read_parquet(folder / "points.parquet").query("rule == 'choice' and row == 2")
    assert_allclose(points.query("part == 'augmented'")[["x", "y"]], found.augmented)
    assert_allclose(points.query("part == 'train'")[["right", "up"]], found.moves)
    fields = pd.read_parquet(folder / "fields.parquet").query("rule == 'choice' and row == 2")
    x, y, values = report._grid(fields, "after")
    assert_allclose(x, found.axis)
    assert_allclose(y, found.axis)
    assert_allclose(values, found.after)
    assert f"{found.losses['test_learned']:.2f}" in (folder / "report.md").read_text()


def test_every_panel_is_drawn_and_shows_its_points(folder: Path) -> None:
    from matplotlib.figure import Figure

    points, fields = (pd.read_parquet(folder / f"{name}.parquet").query("rule == 'gradient'") for name in ("points", "fields"))
    for draw, panels in ((report.draw_figure, 8), (report.draw_influence, 4)):
        figure = Figure()
        partial(draw, tables=(points, fields))(figure)
        assert len(figure.axes) == panels
        assert all(len(axes.collections) >= 2 for axes in figure.axes)
    figure = Figure()
    report.draw_figure(figure, (points, fields))
    shown = np.concatenate([np.asarray(part.get_offsets()) for part in figure.axes[6].collections[-2:]])
    expected = points.query("row == 2 and part == 'augmented'").sort_values("label", kind="stable")[["x", "y"]]
    assert_allclose(shown, expected)


def test_the_page_is_the_same_bytes_again_and_needs_its_tables(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    report.write_toy(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    with pytest.raises(InputError, match=r"summary\.parquet: no such file"):
        report.write_toy(tmp_path)
