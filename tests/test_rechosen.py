from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from augury.cells import Cells
from augury.copies import choose_copies
from augury.errors import InputError
from augury.experiment import RunConfig
from augury.experiment.rechosen import WAYS, Cell, Sweep, Task, read_task, reproduce_rechosen
from augury.experiment.rechosen.trained import Trained
from augury.experiment.rechosen.ways import NOTHING
from augury.head import SoftmaxHead
from augury.report.rechosen import write_rechosen_report
from augury.report.rechosen.results import Results
from augury.training import TrainingConfig

POINTS, COPIES, SEEDS = 40, 4, 2


@pytest.fixture(scope="module")
def task() -> Task:
    """Threes and eights of the embedded digits: as small as a comparison can be."""
    config = RunConfig(data="digits", classes=("3", "8"), first=POINTS, transform="translate:1", curve=False)
    return Task("digits", config, "tiny", TrainingConfig(batch=32), steps=6, test_points=20)


@pytest.fixture(scope="module")
def swept(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small comparison that ran through at once."""
    folder = tmp_path_factory.mktemp("rechosen")
    reproduce_rechosen(folder, [task], seeds=SEEDS)
    return folder


@pytest.fixture(scope="module")
def ground(swept: Path, task: Task) -> Trained:
    return Sweep(swept).of(task, 1)


def test_every_way_is_measured_at_its_budgets_on_all_test_points_and_their_copies(swept: Path) -> None:
    cells = Results.load(swept).cells
    budgets = {way: sorted(rows["budget"].unique()) for way, rows in cells.groupby("way")}
    shares = [2, 8, 16, 40]
    assert budgets == {"none": [0], "full": [160]} | dict.fromkeys(("random", "points", "once", "rechosen"), shares)
    assert set(cells["test_images"]) == {20 * (1 + COPIES)}
    assert len(cells) == SEEDS * (2 + 4 * len(shares))


def test_choosing_once_and_rescoring_take_the_same_first_copies_and_come_to_the_same_network(swept: Path) -> None:
    cells = Results.load(swept).cells
    first = cells[cells["budget"] == 2].set_index(["way", "seed"])["loss"]
    for seed in range(SEEDS):
        assert first["once", seed] == first["rechosen", seed]


def test_rescored_copies_are_chosen_by_the_features_of_the_network_trained_at_the_budget_before(ground: Trained) -> None:
    first, second = list(WAYS["rechosen"](ground))[:2]
    np.testing.assert_array_equal(second[: len(first)], first)
    assert len(np.unique(second)) == len(second) == ground.budgets[1]
    found = ground.features(ground.network(first))
    copies = found.copies.reshape(-1, found.features.shape[1])
    X, y = np.concatenate([found.features, copies[first]]), np.concatenate([found.labels, ground.labels[first]])
    left = np.setdiff1d(np.arange(POINTS * COPIES), first)
    ordering = choose_copies(SoftmaxHead().fit(X, y), (X, y), (copies[left], ground.labels[left], left // COPIES), "self", weight=1)
    np.testing.assert_array_equal(second[len(first) :], left[ordering.candidates[: len(second) - len(first)]])


def test_points_come_with_all_their_copies(ground: Trained) -> None:
    *_, last = WAYS["points"](ground)
    counts = np.bincount(last // COPIES, minlength=POINTS)
    assert sorted(counts[counts > 0]) == [COPIES] * (len(last) // COPIES)


def test_the_same_copies_in_any_order_give_the_same_network(ground: Trained) -> None:
    chosen = np.array([7, 3, 90, 41])
    one, other = (ground.read(ground.network(order)) for order in (chosen, chosen[::-1].copy()))
    assert one == other
    assert ground.read(ground.network(NOTHING)) != one


def test_accuracy_is_that_of_the_network_on_points_and_copies(ground: Trained) -> None:
    model = ground.network(NOTHING)
    reading = ground.read(model)
    test = ground.test
    images = np.concatenate([test.images[:, None], ground._pipeline.transform.copies(test.images)], axis=1)
    model.network.eval()
    scores = model.network(torch.from_numpy(images.reshape(-1, *images.shape[2:])).float()).detach().double()
    labels = torch.from_numpy(np.repeat(test.labels, 1 + COPIES))
    assert reading.accuracy == pytest.approx(float((scores.argmax(1) == labels).double().mean()))
    assert reading.loss == pytest.approx(float(torch.nn.functional.cross_entropy(scores, labels)), rel=1e-4)


def test_what_is_stored_is_not_measured_again_and_the_report_is_the_same(swept: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in swept.glob("*.*")}
    monkeypatch.setattr(Trained, "network", lambda *_: pytest.fail("trained again"))
    reproduce_rechosen(swept, [task], seeds=SEEDS)
    assert {path.name: path.read_bytes() for path in swept.glob("*.*")} == before


def test_the_page_tells_every_way_against_random_copies(swept: Path) -> None:
    page = (swept / "report.md").read_text(encoding="utf-8")
    cells = Results.load(swept)
    mean = 100 * float(cells.above("digits", "rechosen")[40].mean())
    assert f"{mean:+.2f}".replace("-", "−") in page
    assert "tiny, 6 steps; 40 points, 160 copies; 100 test images; n = 2" in page


@pytest.mark.parametrize("gain", [0.0099, 0.0101])
def test_shares_of_a_gain_are_told_where_there_is_one(swept: Path, tmp_path: Path, gain: float) -> None:
    cells = Results.load(swept).cells.copy()
    cells.loc[cells["way"] == "none", "accuracy"] = 0.5
    cells.loc[cells["way"] == "full", "accuracy"] = 0.5 + gain
    for (way, seed), rows in cells.groupby(["way", "seed"]):
        Cells(tmp_path / "cells", "rechosen-cells").write("digits", f"{way}.{seed}", rows)
    page = write_rechosen_report(tmp_path).read_text(encoding="utf-8")
    assert ("Share of full augmentation's gain" in page) == (gain > 0.01)
    assert ("gains less than a point" in page) == (gain < 0.01)


def test_a_part_of_a_comparison_is_reported_with_dashes(task: Task, tmp_path: Path) -> None:
    Sweep(tmp_path).measure([task], [Cell("random", 0)], jobs=1)
    page = reproduce_rechosen(tmp_path, [task], ways=["random"], seeds=1).read_text(encoding="utf-8")
    assert "Accuracy without copies — and with all —" in page


def test_unknown_names_are_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mnist-crop"):
        read_task("mnist-crop")
    with pytest.raises(InputError, match="ways: 'best' is unknown; expected some of none, random"):
        reproduce_rechosen(tmp_path, [], ways=["best"])
    with pytest.raises(InputError, match="no cells in it"):
        reproduce_rechosen(tmp_path, [])


@pytest.mark.parametrize("name", ["mnist-rotate", "cifar10", "cifar10-ready"])
def test_every_network_of_a_task_takes_about_as_many_steps(name: str) -> None:
    task = read_task(name)
    for images in (1000, 3500, 15_000):
        settings = task.settings(images, 0)
        steps = settings.epochs * -(-images // settings.batch)
        assert abs(steps - task.steps) <= max(0.5 * -(-images // settings.batch), 0)
