from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import augury.experiment.copies.measure as measure_module
import augury.experiment.copies.sweep as sweep_module
from augury.copies import choose_copies, training_set
from augury.data import load
from augury.errors import InputError
from augury.experiment import RunConfig
from augury.experiment.copies import WAYS, Cell, Sweep, cells
from augury.experiment.copies.drawn import Drawn, draw
from augury.experiment.copies.measure import fit, measure, read, tally
from augury.experiment.subsampling import Task, own_task
from augury.head import SoftmaxHead

POINTS, COPIES = 30, 4
SEEDS = 2
TIMED = "costs"  # the one table that no two runs share


def digits_task(**settings: object) -> Task:
    """Threes and eights of the embedded digits, four shifts each: as small as a comparison can be."""
    config = {"data": "digits", "classes": "3,8", "first": POINTS, "epochs": 2, "transform": "translate:1"} | settings
    return own_task(RunConfig.read(**config), features="tiny")


def few(seeds: int = SEEDS) -> list[Cell]:
    """A cell of each kind a seed."""
    kinds = {("train", "baseline"), ("train", "copies.self"), ("joint", "training_first")}
    return [cell for cell in cells(seeds) if (cell.pool, cell.way) in kinds]


@pytest.fixture(scope="module", autouse=True)
def times_taken_once() -> Iterator[None]:
    """What is stored is tested, not how long things take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_module, "TURNS", 1)
        yield


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small comparison that ran through at once."""
    folder = tmp_path_factory.mktemp("copies")
    Sweep(folder).measure([digits_task()], few(), jobs=1)
    return folder


@pytest.fixture(scope="module")
def drawn(swept: Path) -> Drawn:
    return Sweep(swept).of(digits_task(), seed=1)


def stored(folder: Path) -> dict[str, bytes]:
    """What is measured but for times, and what can be made again."""
    found = {path.relative_to(folder): path for path in folder.rglob("*.parquet")}
    return {str(name): path.read_bytes() for name, path in found.items() if not {"work", TIMED} & set(name.parts)}


def test_every_seed_has_a_cell_for_each_way_and_the_slowest_way_is_for_seed_0_alone() -> None:
    found = cells(3)
    ways = [(pool, way) for pool, names in WAYS.items() for way in names]
    assert len({cell.name for cell in found}) == len(found) == 3 * len(ways) - 2
    assert {cell.seed for cell in found if cell.way == "copies.folds"} == {0}
    assert {(cell.pool, cell.way) for cell in found if cell.seed == 2} == set(ways) - {("train", "copies.folds")}


def test_seed_0_takes_the_first_points_and_the_next_for_validation() -> None:
    points = load("digits", split="train").only(("3", "8"))
    train, validation = draw(points, 50, seed=0)
    assert train.origin.tolist() == points.origin[:50].tolist()
    assert validation.origin.tolist() == points.origin[50:100].tolist()


def test_other_seeds_draw_other_points_and_none_twice() -> None:
    points = load("digits", split="train").only(("3", "8"))
    draws = [draw(points, 50, seed) for seed in (1, 1, 2)]
    named = [train.origin.tolist() + validation.origin.tolist() for train, validation in draws]
    assert named[0] == named[1] != named[2]
    assert all(len(set(names)) == 100 for names in named)


def test_without_a_number_half_of_the_points_are_for_validation() -> None:
    points = load("digits", split="train").only(("3", "8"))
    train, validation = draw(points, None, seed=3)
    assert len(train) == len(validation) == len(points) // 2


def test_more_points_than_there_are_and_points_of_one_class_are_refused() -> None:
    points = load("digits", split="train").only(("3", "8"))
    with pytest.raises(InputError, match="first: 300 training and 300 validation points"):
        draw(points, 300, seed=0)
    with pytest.raises(InputError, match="no training point of seed 0 is of class '8'"):
        draw(points.select(np.argsort(points.labels, kind="stable")), 20, seed=0)


def test_the_points_to_test_on_are_the_same_for_all_seeds(swept: Path) -> None:
    tests = [Sweep(swept).of(digits_task(), seed).pipeline.splits.test.origin.tolist() for seed in (0, 1, 2)]
    assert tests[0] == tests[1] == tests[2]
    assert not set(tests[0]) & set(Sweep(swept).of(digits_task(), 1).pipeline.splits.train.origin.tolist())


def test_a_network_of_a_seeds_own_points_is_trained_on_them_with_that_seed(swept: Path) -> None:
    first, second = (Sweep(swept).of(digits_task(), seed) for seed in (0, 1))
    assert first.pipeline.config.seed == 0
    assert second.pipeline.config.seed == 1
    assert (swept / "work" / "digits.3.8.30.tiny.0" / "model.safetensors").read_bytes() != (
        swept / "work" / "digits.3.8.30.tiny.1" / "model.safetensors"
    ).read_bytes()


def test_the_joint_pool_holds_the_training_points_and_then_the_validation_points(drawn: Drawn) -> None:
    joint = drawn.points("joint")
    assert joint.copies.shape[:2] == (2 * POINTS, COPIES)
    np.testing.assert_array_equal(joint.features[:POINTS], drawn.train.features)
    np.testing.assert_array_equal(joint.copies[POINTS:], drawn.validation.copies)
    X, y = drawn.target("joint")
    assert X.shape[0] == len(y) == POINTS * (COPIES + 1)


def test_the_control_is_tested_on_the_half_of_the_test_points_that_is_not_its_target(drawn: Drawn) -> None:
    (X, y), tested, test = drawn.target("halves"), drawn.tested("halves"), drawn.copied_test
    assert len(X) + len(tested.X) == len(drawn.test.X)
    first, second = drawn.halves
    assert sorted([*first, *second]) == list(range(len(test)))
    np.testing.assert_array_equal(X[: len(first)], test.features[first])
    np.testing.assert_array_equal(tested.X[: len(second)], test.features[second])
    halves, whole = np.concatenate([X, tested.X]), np.asarray(drawn.test.X)
    np.testing.assert_array_equal(np.sort(halves, axis=0), np.sort(whole, axis=0))
    assert len(y) == len(X)
    cell = Cell("halves", "copies.validation", 1)
    curve = measure(drawn, cell, 1.0).curves
    expected = read(fit(SoftmaxHead(), training_set(drawn.train, cell.chosen(drawn, "auto"), 6)), tested)
    row = curve[(curve["budget"] == 6) & (curve["weighting"] == "auto")].iloc[0]
    assert row["accuracy"] == pytest.approx(expected.accuracy, abs=1e-12)


def test_the_same_labels_make_full_augmentation_and_both_sets_originals(drawn: Drawn) -> None:
    ordering = Cell("joint", "training_first", 1).chosen(drawn, 1.0)
    X, y, weights = training_set(drawn.joint, ordering, POINTS * COPIES)
    assert len(X) == 2 * POINTS + POINTS * COPIES
    rows = {row.tobytes() for row in X[2 * POINTS :]}
    assert rows == {row.tobytes() for row in drawn.train.copies.reshape(POINTS * COPIES, -1).astype(np.float64)}
    assert set(weights) == {1.0}
    everything = training_set(drawn.joint, ordering, 2 * POINTS * COPIES)
    assert len(everything.y) == 2 * POINTS * (COPIES + 1)
    assert y[2 * POINTS :].tolist() == drawn.train.labels[ordering.point[: POINTS * COPIES]].tolist()


def test_a_policy_takes_all_copies_of_a_point_and_weighs_them_as_it_is_told(drawn: Drawn) -> None:
    ordering = Cell("train", "loss.deterministic_proportional", 1).chosen(drawn, 8.0)
    losses = drawn.scores("train", "loss").values
    assert ordering.point[::COPIES].tolist() == np.argsort(-losses, kind="stable").tolist()
    assert (ordering.point.reshape(-1, COPIES) == ordering.point[::COPIES, None]).all()
    assert ordering.weight_at(COPIES) == 8.0
    assert ordering.weight_at(POINTS * COPIES) == 1.0


def test_a_choice_of_copies_is_that_of_the_library(drawn: Drawn) -> None:
    found = Cell("train", "copies.validation", 1).chosen(drawn, 1.0)
    train = drawn.train
    head = SoftmaxHead().fit(train.features.astype(np.float64), train.labels)
    validation = drawn.validation
    X = np.concatenate([validation.features, validation.copies.reshape(POINTS * COPIES, -1)])
    y = np.concatenate([validation.labels, validation.labels.repeat(COPIES)])
    expected = choose_copies(head, (train.features, train.labels), train.copies, (X, y), weight=1)
    np.testing.assert_array_equal(found.candidates, expected.candidates)


def test_a_curve_holds_what_refitting_to_the_chosen_copies_brings(swept: Path, drawn: Drawn) -> None:
    curves = Sweep(swept).table("curves").read()
    cell = Cell("train", "copies.self", 1)
    rows = curves[(curves["cell"] == cell.name) & (curves["weighting"] == "auto")].set_index("budget")
    ordering = cell.chosen(drawn, "auto")
    assert rows["weight"].unique().tolist() == [ordering.weight]
    for budget in (0, 6, POINTS * COPIES):
        expected = read(fit(SoftmaxHead(), training_set(drawn.train, ordering, budget)), drawn.test)
        assert rows.loc[budget, "accuracy"] == pytest.approx(expected.accuracy, abs=1e-12)
        assert rows.loc[budget, "loss"] == pytest.approx(expected.loss, rel=1e-8)
    predicted = rows["predicted_loss"].dropna()
    assert predicted.index.tolist() == ordering.budgets.tolist()
    np.testing.assert_array_equal(predicted, ordering.loss)
    assert rows["recommended"].unique().tolist() == [ordering.recommended()]


def test_no_and_full_augmentation_are_the_ends_of_every_curve_on_the_training_points(swept: Path) -> None:
    curves, baselines = (Sweep(swept).table(name).read() for name in ("curves", "baselines"))
    joined = curves[curves["pool"] == "train"].merge(baselines[["seed", "none", "full", "copies"]], on="seed")
    ends = joined[joined["budget"].isin([0, POINTS * COPIES])]
    assert len(ends) == 2 * 2 * 2 * SEEDS  # ends, weightings, ways
    np.testing.assert_allclose(ends["accuracy"], ends["none"].where(ends["budget"] == 0, ends["full"]), atol=1e-12)
    assert set(joined["copies"]) == {POINTS * COPIES}


def test_where_auto_weighs_copies_as_originals_nothing_is_measured_twice(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure(drawn, Cell("train", "baseline", 1), 1.0).curves
    auto, one = (found[found["weighting"] == name].drop(columns="weighting").reset_index(drop=True) for name in ("auto", "1"))
    assert auto.equals(one)
    weighted = measure(drawn, Cell("train", "baseline", 1), 8.0).curves
    inner = weighted[(weighted["budget"] == 12)].set_index("weighting")
    assert inner.loc["auto", "loss"] != inner.loc["1", "loss"]
    assert inner.loc["1", "loss"] == auto.set_index("budget").loc[12, "loss"]


def test_the_first_tenth_is_counted_by_transformation_and_class(drawn: Drawn) -> None:
    ordering = Cell("train", "copies.self", 1).chosen(drawn, 1.0)
    labels, names = drawn.train.labels, drawn.pipeline.transform.names
    found = tally(ordering, labels, ("3", "8"), names)
    assert found["chosen"].sum() == 12
    assert found["available"].sum() == POINTS * COPIES
    row = found[(found["transformation"] == names[2]) & (found["label"] == "8")].iloc[0]
    chosen = ordering.candidates[:12]
    assert row["chosen"] == sum(1 for c in chosen if c % COPIES == 2 and labels[c // COPIES] == 1)
    assert row["available"] == (labels == 1).sum()


def failing_after(count: int, work: Callable[..., None]) -> Callable[..., None]:
    """The work, done so many times and then killed."""
    done = []

    def killed(*arguments: object) -> None:
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(work(*arguments))

    return killed


def test_a_comparison_killed_twice_ends_with_the_same_bytes(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (2, 2):
        with monkeypatch.context() as patch:
            patch.setitem(sweep_module._WORK, "curves", failing_after(count, sweep_module._measured))
            with pytest.raises(KeyboardInterrupt):
                Sweep(tmp_path).measure([digits_task()], few(), jobs=1)
    assert len(Sweep(tmp_path).table("curves").names(digits_task().group)) == 2 + 2
    Sweep(tmp_path).measure([digits_task()], few(), jobs=1)
    assert stored(tmp_path) == stored(swept)


def test_the_number_of_processes_and_seeds_added_later_change_no_byte(swept: Path, tmp_path: Path) -> None:
    Sweep(tmp_path).measure([digits_task()], few(1), jobs=1)
    Sweep(tmp_path).measure([digits_task()], few(), jobs=2)
    assert stored(tmp_path) == stored(swept)


def test_what_is_stored_is_not_measured_again(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(swept)
    for name in ("measure", "cost", "baseline"):
        monkeypatch.setattr(sweep_module, name, lambda *_: pytest.fail("measured again"))
    Sweep(swept).measure([digits_task()], few(), jobs=1)
    assert stored(swept) == before


def test_choosing_is_timed_beside_a_refit_and_again_once_the_times_are_deleted(swept: Path) -> None:
    table = Sweep(swept).table("costs")
    before = table.read()
    assert before[["seed", "way", "weighting"]].to_numpy().tolist() == [
        [seed, "copies.self", weighting] for seed in range(SEEDS) for weighting in ("auto", "1")
    ]
    assert (before[["choose_seconds", "refit_seconds"]] > 0).all(axis=None)
    shutil.rmtree(table.folder)
    Sweep(swept).measure([digits_task()], few(), jobs=1)
    again = table.read()
    times = ["choose_seconds", "refit_seconds"]
    assert again.drop(columns=times).equals(before.drop(columns=times))
    assert not again[times].equals(before[times])


def test_every_kind_of_way_runs_on_several_classes(tmp_path: Path) -> None:
    task = digits_task(classes="1,3,8", first=20, transform="flip")
    wanted = [cell for cell in cells(1) if cell.chooses or cell.pool == "joint" or cell.way == "influence.random_proportional"]
    Sweep(tmp_path).measure([task], wanted, jobs=1)
    found = Sweep(tmp_path).table("curves").read()
    assert set(found["cell"]) == {cell.name for cell in wanted}
    assert found["accuracy"].between(0, 1).all()
