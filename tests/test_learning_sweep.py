"""The comparison of learned augmentations: its tasks, its rows, and a sweep that may be killed at any moment."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

import augury.experiment.learning.measure as measure_module
import augury.experiment.learning.sweep as sweep_module
from augury import data
from augury.errors import InputError
from augury.experiment.learning import ROWS, SCARCITIES, TASKS, Fitting, Lit, Scarcity, Sweep, Task, read_task, reproduce_learning
from augury.experiment.learning.labels import Labels
from augury.experiment.learning.measure import measure, read
from augury.experiment.learning.rows import BestOf, Deployed, Row, WorstOf, augmentation_of, read_rows, transformation_of
from augury.experiment.learning.sweep import Cell
from augury.experiment.learning.tasks import Points
from augury.learned import (
    Applied,
    BoundedTransformation,
    FieldTransformation,
    LearnedAugmentation,
    TauDistribution,
    TeachingConfig,
    as_augment,
    save_module,
)
from augury.learned.augmentation import LEARNED
from augury.learned.baselines import Apart, Then, Unchanged, named_baseline
from augury.learned.bounded import WIDE
from augury.learned.teaching import Goal
from augury.networks import build
from augury.training import Moment, TrainingConfig

FITTING = Fitting("tiny", TrainingConfig(batch=32, learning_rate=2e-3, schedule="onecycle"), steps=12, search=8)
PLAIN = Task("digits", Scarcity("digits", 1000, 9), FITTING)
LIT = replace(PLAIN, name="digits:lit", shift=Lit((0.3, 0.5)), target=3)
FEW = ("crop", "learned", "best-of-4")
UNTRAINED = [name for name, row in ROWS.items() if row.transformation != "trained"]


@pytest.fixture(scope="module")
def points() -> dict[str, Points]:
    return {task.name: task.points(0) for task in (PLAIN, LIT)}


def cells(*tasks: Task, rows: tuple[str, ...] = FEW, seeds: int = 2) -> list[Cell]:
    return [Cell(task, ROWS[row], seed) for seed in range(seeds) for task in tasks for row in rows]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small comparison that ran through at once."""
    folder = tmp_path_factory.mktemp("learning")
    Sweep(folder).measure(cells(LIT), jobs=1)
    return folder


def stored(folder: Path) -> dict[str, bytes]:
    """What is measured but for times and memory."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "cells").rglob("*.parquet")}


def test_tasks_are_read_by_their_names() -> None:
    plain, shifted = read_task("mnist-1"), read_task("cifar10-10:tinted@resnet56", "/data")
    assert (plain.shift, plain.fitting.network, plain.group) == (None, "strided", "mnist-1")
    assert (shifted.scarcity, shifted.fitting.network, shifted.data_dir) == (SCARCITIES["cifar10-10"], "resnet56", "/data")
    assert shifted.group == "cifar10-10.tinted.resnet56"
    assert shifted.fitting.training == read_task("cifar10-10").fitting.training
    assert len({read_task(name).group for name in TASKS}) == len(TASKS) == 14
    assert replace(plain.fitting, steps=1500) == read_task("mnist-1:turned").fitting  # fitted for longer where there is no shift


@pytest.mark.parametrize(("name", "match"), [("mnist", "'mnist' is unknown"), ("mnist-1:tinted", "unknown shift"), ("", "is unknown")])
def test_unknown_tasks_are_refused(name: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_task(name)


@pytest.mark.parametrize(("points", "epochs"), [(600, 150), (800, 115), (200_000, 1)])
def test_steps_are_whole_epochs(points: int, epochs: int) -> None:
    fitting = read_task("mnist-1").fitting
    assert fitting.config(points, 1500, seed=3) == replace(fitting.training, epochs=epochs, seed=3)


def test_every_row_has_the_labels_of_training_and_target_together(points: dict[str, Points]) -> None:
    found = points[LIT.name]
    target = found.labels.target
    assert target is not None
    assert (len(found.labels.train), len(target), len(found.everything)) == (90, 30, 120)
    assert_array_equal(found.everything.labels, np.r_[found.labels.train.labels, target.labels])
    assert_array_equal(found.everything.images[90:], target.images)
    assert points[PLAIN.name].everything is points[PLAIN.name].labels.train


def test_only_target_and_test_images_are_as_deployed(points: dict[str, Points]) -> None:
    plain, lit = points[PLAIN.name], points[LIT.name]
    assert lit.labels.target is not None
    raw = replace(LIT.scarcity, per_class=12).draw(0, 3)
    assert raw.target is not None
    assert_array_equal(lit.labels.train.images, raw.train.images)
    assert (lit.labels.target.origin == raw.target.origin).all()
    assert not np.array_equal(lit.labels.target.images, raw.target.images)
    assert not np.array_equal(lit.test.images, plain.test.images)
    assert_array_equal(lit.test.images, LIT.points(1).test.images)  # the same for every seed
    # By other draws: of equal images, the target's would otherwise come out like the test set's.
    shift = LIT.shift
    assert shift is not None
    assert not np.array_equal(shift.apply(raw.target.images[:9], 0), shift.apply(raw.target.images[:9], 1_000_000))


def test_all_rows_but_controls_are_measured_and_g_if_there_is_one(tmp_path: Path) -> None:
    names = [row.name for row in read_rows(None, None)]
    without = {"without-averaging", "without-divergence", "without-held", "without-least"}
    assert set(ROWS) - set(names) == {"worst-of-4", "deployed", "with-kept", "random-tau-G", "learned-G"} | without
    assert {row.name for row in read_rows(None, tmp_path)} - set(names) == {"random-tau-G", "learned-G"}
    with pytest.raises(InputError, match="'best' is unknown"):
        read_rows(("best",), None)
    with pytest.raises(InputError, match="row learned-G needs one"):
        read_rows(("crop", "learned-G"), None)


@pytest.mark.parametrize("name", UNTRAINED)
def test_every_row_runs_on_folds_and_on_a_target(name: str, points: dict[str, Points], tmp_path: Path) -> None:
    row = ROWS[name]
    for task in (PLAIN, LIT)[row.during == "deployed" :]:
        cell, cost = measure(task, points[task.name], row, 0, tmp_path / task.group, None)
        assert 0 <= cell["accuracy"] <= 1
        assert cell["loss"] > 0
        assert cell["steps"] == FITTING.config(len(points[task.name].everything), 12, 0).epochs * math.ceil((90, 120)[task is LIT] / 32)
        apart = row.teaching is not None and row.teaching.rule == "matching" and row.teaching.held > 0  # 30 of 90 images, or 20 of 60
        epochs, steps = (3, 3) if task is LIT and not apart else (4, 2)  # steps of an epoch
        folds = 1 if task is LIT else 3
        taught = 0 if row.teaching is None else math.ceil(row.teaching.until * epochs)
        assert cell["search_steps"] == folds * taught * steps
        assert math.isnan(cell["target_accuracy"]) == (task is PLAIN)
        assert (cell["train_labels"], cell["target_labels"]) == (90, 30 if task is LIT else 0)
        assert (cost["search_seconds"] > 0) == (row.teaching is not None)
        assert cost["training_seconds"] > 0
        assert cost["peak_memory"] > 50
        learned = json.loads(cell["summary"])
        assert (len(learned) > 0) == (row.teaching is not None)
        assert json.loads(cell["fitting"])["steps"] == 12
        if learned:
            assert set(transformation_of(row, (1, 8, 8), None).names or ()) == set(learned)


def test_a_trained_transformation_has_rows_of_its_own(points: dict[str, Points], tmp_path: Path) -> None:
    path = save_module(FieldTransformation(1, 8, 8, tau_size=4), tmp_path / "G.safetensors")
    other = save_module(FieldTransformation(1, 8, 8, tau_size=4, seed=1), tmp_path / "other.safetensors")
    for name in ("random-tau-G", "learned-G"):
        cell, _ = measure(LIT, points[LIT.name], ROWS[name], 0, tmp_path / name, path)
        assert len(json.loads(cell["summary"])) == (4 if name == "learned-G" else 0)
        assert cell["settings"] != json.dumps(ROWS[name].settings(other), sort_keys=True)
    wrong = save_module(FieldTransformation(1, 28, 28, tau_size=4), tmp_path / "wrong.safetensors")
    with pytest.raises(InputError, match=r"was made for images of \(1, 28, 28\)"):
        measure(LIT, points[LIT.name], ROWS["random-tau-G"], 0, tmp_path / "wrong", wrong)


def test_the_wide_bounds_are_those_of_the_rows_that_say_so() -> None:
    for name, row in ROWS.items():
        if row.transformation != "trained":
            bounds = transformation_of(row, (3, 32, 32), None).settings
            assert all(bounds[key] == value for key, value in WIDE.items()) == (row.transformation == "wide"), name


def test_the_best_and_the_worst_of_four_are_the_ends_of_the_same_effects(points: dict[str, Points]) -> None:
    network = build("tiny", channels=1, height=8, width=8, classes=10, seed=0).module
    everything = points[PLAIN.name].everything
    goal = Goal(everything.images, everything.labels, everything.images, everything.labels)
    images, labels = torch.from_numpy(everything.to_float()[:20]), torch.from_numpy(everything.labels[:20])
    told = []
    for kind in (BestOf, WorstOf):
        G = transformation_of(ROWS["best-of-4"], (1, 8, 8), None)
        E = TauDistribution(1, 8, 8, tau_size=G.tau_size)
        teacher = kind(G, E, goal, TeachingConfig(warmup=0), steps=1)
        teacher(images, labels, Moment(network, 0, 1, torch.Generator().manual_seed(0)))
        assert not E.shared.any()  # it stays uniform
        told.append(teacher.log[0])
    (_, effect, spread, kept, *_), (_, effect_, spread_, kept_, *_) = told
    assert (effect_, spread_) == (pytest.approx(-effect), pytest.approx(spread))
    assert kept < effect < -kept_


def test_the_row_that_knows_the_shift_makes_images_as_deployed(points: dict[str, Points]) -> None:
    images = torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(400, dtype=torch.int64)
    assert LIT.shift is not None
    when = Moment(build("tiny", channels=1, height=8, width=8, classes=10, seed=0).module, 0, 1, torch.Generator().manual_seed(3))
    made = Deployed(LIT.shift)(images, labels, when)
    left = made.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
    assert 0.29 < float(left.min()) < 0.33
    assert 0.47 < float(left.max()) < 0.51
    row, G = ROWS["deployed"], transformation_of(ROWS["deployed"], (1, 8, 8), None)
    with pytest.raises(InputError, match="rows: deployed needs a task with a shift"):
        augmentation_of(row, points[PLAIN.name], G, None, 0.8, 10, 0)


def test_only_training_images_are_changed_as_was_learned_and_as_deployed(points: dict[str, Points]) -> None:
    images, labels = torch.full((400, 1, 8, 8), 0.3), torch.zeros(400, dtype=torch.int64)
    count = len(points[LIT.name].labels.train)
    numbers = torch.arange(count - 200, count + 200)
    G = BoundedTransformation.only(1, 8, 8, brightness=0.4)
    E = TauDistribution(1, 8, 8, tau_size=1, concentration=99.0)  # hardly anything, before it was learned
    with torch.no_grad():
        E.shared += 30
    learned = LearnedAugmentation(G, E)
    brighter = {}
    for name in (LIT.name, PLAIN.name):
        augment = augmentation_of(ROWS["learned"], points[name], G, learned, 1, 10, 0)
        when = Moment(nn.Identity(), 0, 1, torch.Generator().manual_seed(3), chosen=numbers)
        brighter[name] = augment(images, labels, when).amax(dim=(1, 2, 3)) - 0.3
    assert float(brighter[LIT.name][:200].min()) > 0.2
    assert float(brighter[LIT.name][200:].max()) < 0.2
    assert float(brighter[PLAIN.name].min()) > 0.2  # without a target all are training images
    row = replace(ROWS["deployed"], baseline="none")
    when = Moment(nn.Identity(), 0, 1, torch.Generator().manual_seed(3), chosen=numbers)
    changed = (augmentation_of(row, points[LIT.name], G, None, 0.5, 10, 0, LIT.shift)(images, labels, when) != images).flatten(1).any(dim=1)
    assert 60 < int(changed[:200].sum()) < 140  # the share, as of what was learned
    assert not changed[200:].any()


def test_of_photographs_trivialaugment_varies_the_images_and_what_was_learned_comes_after_it() -> None:
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)).numpy()
    some = data.from_arrays(images, np.arange(20) % 2)
    G = BoundedTransformation.only(3, 8, 8, brightness=0.4)
    learned = LearnedAugmentation(G, TauDistribution(3, 8, 8, tau_size=1, kept=0.5), share=0.8)
    augment = augmentation_of(ROWS["learned"], Points(Labels(some.first(12), some.first(8)), some), G, learned, 0.8, 10, 0)
    assert isinstance(augment, Then)
    assert augment.first == named_baseline("trivialaugment", 3, 8, 8, share=0.8)
    assert isinstance(augment.second, Apart)
    assert isinstance(augment.second.rest, Unchanged)
    assert isinstance(augment.second.first, Applied)
    assert augment.second.first.augmentation.share == 0.5
    for name, least in (("learned", LEARNED), ("without-least", None)):
        whole = augmentation_of(ROWS[name], Points(Labels(some.first(12), some.first(8)), some), G, learned, 0.8, 10, 0)
        over = as_augment(learned, augment.first, 12, alone=True, least=least)
        assert repr(whole) == repr(over)
        assert f"'least': {least}" in repr(over)
    known = augmentation_of(ROWS["deployed"], Points(Labels(some.first(12), some.first(8)), some), G, None, 0.8, 10, 0, LIT.shift)
    assert isinstance(known, Then)
    assert known.first == augment.first
    settings = json.loads(json.dumps(ROWS["learned"].settings(None)))
    assert (settings["before"], settings["least"]) == ({"grey": "crop", "RGB": "trivialaugment"}, LEARNED)
    assert ROWS["without-least"].settings(None) == settings | {"least": None}
    assert not {"before", "least"} & set(ROWS["random-tau"].settings(None))


def eagerly(row: Row) -> Row:
    """The row, whose E is moved by noise too, so that a few steps change it."""
    assert row.teaching is not None
    return replace(row, teaching=replace(row.teaching, significance=0))


def test_online_e_goes_on_from_what_it_learned(points: dict[str, Points], tmp_path: Path) -> None:
    before, after = (
        json.loads(measure(LIT, points[LIT.name], eagerly(ROWS[name]), 0, tmp_path / name, None).cell["summary"])
        for name in ("learned", "learned-online")
    )
    assert before.keys() == after.keys()
    assert before != after


def test_a_test_sets_accuracy_and_loss_are_those_counted_by_hand(points: dict[str, Points]) -> None:
    network = build("tiny", channels=1, height=8, width=8, classes=10, seed=0).module.eval()
    test = points[PLAIN.name].test
    with torch.no_grad():
        p = torch.softmax(network(torch.from_numpy(test.to_float())).double(), dim=1).numpy()
    found = read(network, test)
    assert found.accuracy == pytest.approx((p.argmax(axis=1) == test.labels).mean())
    assert found.loss == pytest.approx(-np.log(p[np.arange(len(test)), test.labels]).mean(), rel=1e-6)


def failing_after(count: int, work: Callable[..., object]) -> Callable[..., object]:
    """The work, done so many times and then killed."""
    done: list[object] = []

    def killed(*arguments: object, **named: object) -> object:
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(None)
        return work(*arguments, **named)

    return killed


def test_a_comparison_killed_twice_ends_with_the_same_bytes(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # after the search of the second cell, before its F is fitted
        patch.setattr(measure_module, "train", failing_after(1, measure_module.train))
        with pytest.raises(KeyboardInterrupt):
            Sweep(tmp_path).measure(cells(LIT), jobs=1)
    assert (tmp_path / "work" / LIT.group / "learned.0" / "fold-0.safetensors").exists()
    with monkeypatch.context() as patch:  # in the middle of a later F
        patch.setattr(measure_module, "train", failing_after(3, measure_module.train))
        with pytest.raises(KeyboardInterrupt):
            Sweep(tmp_path).measure(cells(LIT), jobs=1)
    Sweep(tmp_path).measure(cells(LIT), jobs=1)
    assert stored(tmp_path) == stored(swept)
    assert not any((tmp_path / "work").rglob("*.safetensors"))
    costs = Sweep(tmp_path).table("costs").read().set_index(["row", "seed"])
    assert math.isnan(costs.loc[("learned", 0), "search_seconds"])  # it was interrupted
    assert costs.loc[("crop", 0), "training_seconds"] > 0


def test_the_number_of_processes_and_seeds_added_later_change_no_byte(swept: Path, tmp_path: Path) -> None:
    Sweep(tmp_path).measure(cells(LIT, seeds=1), jobs=1)
    Sweep(tmp_path).measure(cells(LIT), jobs=2)
    assert stored(tmp_path) == stored(swept)


def test_what_is_stored_is_not_measured_again_and_the_report_is_written_anew(
    swept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stored(swept)
    monkeypatch.setattr(sweep_module, "measure", lambda *_: pytest.fail("measured again"))
    report = reproduce_learning(swept, [LIT], FEW, seeds=2)
    assert stored(swept) == before
    assert "6 of 6 cells done before, 0 to measure" in capsys.readouterr().err
    assert "digits, lit" in report.read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda cell: replace(cell, task=replace(cell.task, fitting=replace(cell.task.fitting, steps=9))), "other steps or settings of F"),
        (lambda cell: replace(cell, row=replace(cell.row, during="best")), "other settings of the row"),
    ],
    ids=["fitting", "row"],
)
def test_cells_measured_otherwise_are_not_taken_for_the_same(swept: Path, change: Callable[[Cell], Cell], told: str) -> None:
    before, wanted = stored(swept), [change(cell) for cell in cells(LIT) if cell.row.name == "learned"]
    with pytest.raises(InputError, match=rf"out: .* has {LIT.name}, learned, seed 0 with {told}; give another folder"):
        Sweep(swept).measure(wanted, jobs=1)
    assert stored(swept) == before


def test_all_rows_of_a_seed_begin_with_the_same_weights_and_another_f_teaches(
    points: dict[str, Points], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: dict[str, list[int]] = {}
    original = measure_module.build
    for name in ("crop", "learned"):
        monkeypatch.setattr(
            measure_module, "build", lambda *a, name=name, **k: seeds.setdefault(name, []).append(k["seed"]) or original(*a, **k)
        )
        measure(LIT, points[LIT.name], ROWS[name], 4, tmp_path / name, None)
    assert seeds == {"crop": [4], "learned": [1004, 4]}


def test_few_of_many_training_images_are_their_own_target(points: dict[str, Points], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augury.experiment.learning.rows.MOST", 50)
    row = ROWS["best-of-4"]
    G = transformation_of(row, (1, 8, 8), None)
    for task, size in ((PLAIN, 50), (LIT, 30)):
        taught = augmentation_of(row, points[task.name], G, None, 0.8, 10, 0)
        goal = taught.teacher.goal
        assert len(goal.images) == len(points[task.name].everything)
        assert len(goal.target) == size


def test_a_tasks_labels_are_counted_on_the_real_set() -> None:
    if not os.environ.get("AUGURY_DATA"):
        pytest.skip("AUGURY_DATA is not set: it names the folder that holds MNIST")
    try:
        found = read_task("mnist-1:turned").points(0)
    except InputError as error:
        pytest.skip(f"AUGURY_DATA lacks the set: {error}")
    assert found.labels.target is not None
    assert (len(found.labels.train), len(found.labels.target), len(found.everything)) == (600, 200, 800)
    assert len(found.test) == 10_000
