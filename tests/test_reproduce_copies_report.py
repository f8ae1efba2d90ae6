from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from augury.cells import Cells
from augury.cli import app
from augury.errors import InputError
from augury.experiment.subsampling import Task
from augury.parallel import Engine
from augury.report.copies import write_copies_report
from augury.report.copies.results import Results, area, budget_at
from augury.report.copies.tables import forecasts, spread, way_name
from augury.report.copies.verdicts import checks, verdicts
from augury.report.subsampling.fidelity import spearman
from augury.report.subsampling.markdown import number

VARIANT = {"task": "mnist-rotate", "preset": "code", "features": "lenet", "C": "1"}
COPIES = 200
GRID = (0, 2, 10, 20, 50, 100, 200)  # 0, 1, 5, 10, 25, 50 and 100 %
GOOD = (0.90, 0.94, 0.96, 0.96, 0.96, 0.955, 0.95)  # shares of the gain of 0.05: 0.8, 1.2, 1.2, 1.2, 1.1, 1
POOR = (0.90, 0.89, 0.91, 0.92, 0.93, 0.94, 0.95)


def baseline(seed: int, none: float = 0.90, full: float = 0.95) -> dict[str, Any]:
    """A task's row of a seed."""
    sizes = {"train_points": 50, "validation_points": 50, "copies_per_point": 4, "copies": COPIES, "test_images": 500, "width": 8}
    ends = {"none": none, "full": full, "none_loss": 0.3, "full_loss": 0.2, "weight_validation": 8.0, "weight_self": 1.0, "note": ""}
    return VARIANT | {"seed": seed} | sizes | ends


def curve(way: str, seed: int, heights: tuple[float, ...], weighting: str = "auto", *, pool: str = "train") -> pd.DataFrame:
    """A curve over the grid; the predicted loss falls as accuracy rises, if the way predicts."""
    predicts = way.startswith("copies.")
    rows = pd.DataFrame({"budget": GRID, "accuracy": heights})
    losses = {"loss": 1 - rows["accuracy"], "predicted_loss": 1.1 - rows["accuracy"] if predicts else np.nan}
    losses |= {"predicted_accuracy": rows["accuracy"] - 0.01 if predicts else np.nan}
    key = VARIANT | {"seed": seed, "pool": pool, "way": way, "weighting": weighting}
    return rows.assign(**losses, weight=8.0, recommended=20.0 if predicts else np.nan, **key)


def store(folder: Path, name: str, cell: str, frame: pd.DataFrame) -> None:
    Cells(folder / name, f"copies-{name}").write("mnist-rotate.lenet.code.C=1", cell, frame)


def filled(folder: Path, *, whole: bool = True) -> Path:
    """A folder of two seeds of one task; without `whole`, as it is when the work was killed early."""
    for seed in (0, 1):
        store(folder, "baselines", str(seed), pd.DataFrame([baseline(seed)]))
    store(folder, "curves", "train.baseline.0", pd.concat([curve("baseline", 0, POOR), curve("baseline", 0, POOR, "1")]))
    if whole:
        named = {"train.copies.self.0": curve("copies.self", 0, GOOD), "train.copies.validation.0": curve("copies.validation", 0, GOOD)}
        named |= {"train.copies.self.1": curve("copies.self", 1, POOR), "train.baseline.1": curve("baseline", 1, GOOD, "1")}
        named |= {"joint.training_first.0": curve("training_first", 0, POOR, "1", pool="joint")}
        control = curve("copies.validation", 0, GOOD, pool="halves")
        control["predicted_loss"] = control["loss"].to_numpy()[::-1]
        for cell, frame in (named | {"halves.copies.validation.0": control}).items():
            store(folder, "curves", cell, frame)
        key = VARIANT | {"seed": 0, "pool": "train", "way": "copies.self", "weighting": "auto"}
        rows = [("rotate(5)", "3", 15, 100), ("rotate(5)", "8", 5, 100)]
        choices = pd.DataFrame(rows, columns=["transformation", "label", "chosen", "available"]).assign(**key)
        store(folder, "choices", "train.copies.self.0", choices)
        store(folder, "costs", "train.copies.self.0", pd.DataFrame([key | {"choose_seconds": 1.0, "refit_seconds": 0.25}]))
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results.load(filled(tmp_path))


def row_of(results: Results, way: str, seed: int = 0, weighting: str = "auto", pool: str = "train") -> pd.Series:
    rows = results.summary[results.summary["pool"] == pool]
    (found,) = (rows[(rows["way"] == way) & (rows["seed"] == seed) & (rows["weighting"] == weighting)]).index
    return rows.loc[found]


def test_shares_of_the_gain_are_those_that_one_counts_by_hand(results: Results) -> None:
    row = row_of(results, "copies.self")
    assert [row[f"share_{percent}"] for percent in (1, 5, 10, 25, 50)] == pytest.approx([0.8, 1.2, 1.2, 1.2, 1.1])
    assert row["at_1"] == 0.94
    assert row["gain"] == pytest.approx(0.05)


def test_an_area_is_the_mean_height_of_the_curve(results: Results) -> None:
    by_hand = (2 * 0.92 + 8 * 0.95 + 10 * 0.96 + 30 * 0.96 + 50 * 0.9575 + 100 * 0.9525) / 200
    assert row_of(results, "copies.self")["area"] == pytest.approx(by_hand)
    assert area(pd.Series([0.5] * 7, index=GRID), COPIES) == pytest.approx(0.5)
    assert np.isnan(area(pd.Series([0.5] * 6, index=GRID[:6]), COPIES))


def test_budgets_between_those_that_all_curves_have_do_not_count_for_an_area() -> None:
    heights = pd.Series(dict(zip(GRID, GOOD, strict=True)))
    assert area(pd.concat([heights, pd.Series({70: 0.1})]), COPIES) == area(heights, COPIES)


@pytest.mark.parametrize(("share", "copies", "budget"), [(0.0, 200, 0), (0.01, 200, 2), (0.01, 20, 1), (0.25, 14, 4), (1.0, 14, 14)])
def test_a_share_of_the_copies_is_a_number_of_at_least_one(share: float, copies: int, budget: int) -> None:
    assert budget_at(share, copies) == budget


def test_a_shortfall_is_the_worst_from_five_percent_on(results: Results) -> None:
    assert row_of(results, "copies.self")["shortfall"] == pytest.approx(0.0)
    assert row_of(results, "copies.self", seed=1)["shortfall"] == pytest.approx(0.04)


def test_predictions_are_ranked_against_what_retraining_brought(results: Results) -> None:
    row = row_of(results, "copies.self")
    assert (row["rank_loss"], row["rank_accuracy"]) == (pytest.approx(1), pytest.approx(1))
    assert np.isnan(row_of(results, "baseline")["rank_loss"])
    assert (row["stop"], row["at_stop"], row["cost"]) == (0.1, 0.96, 4.0)


def test_forecasts_for_the_control_stand_beside_those_for_targets_that_one_has(results: Results) -> None:
    control = row_of(results, "copies.validation", pool="halves")
    assert control["rank_loss"] == pytest.approx(spearman(pd.Series(GOOD), pd.Series(GOOD[::-1]))[0])
    assert (control["none"], control["full"]) == (GOOD[0], GOOD[-1])
    header, _, *rows = forecasts(results).splitlines()
    assert header.endswith("half of the test set, loss | half of the test set, accuracy |")
    ranks = " | ".join(["1.00"] * 4 + [number(control["rank_loss"], 2), "1.00"])
    assert rows[0] == f"| mnist-rotate (code, lenet) | seed 0 | {ranks} |"
    assert rows[-1] == "| at least 0.9 | all | 1 of 1 | 1 of 1 | 2 of 2 | 2 of 2 | 0 of 1 | 1 of 1 |"


def test_small_gains_have_no_share(tmp_path: Path) -> None:
    store(tmp_path, "baselines", "0", pd.DataFrame([baseline(0, none=0.90, full=0.905)]))
    store(tmp_path, "curves", "train.copies.self.0", curve("copies.self", 0, GOOD))
    row = Results.load(tmp_path).summary.iloc[0]
    assert np.isnan(row["share_5"])
    assert row["shortfall"] == pytest.approx(0.905 - 0.95)


def test_what_is_asked_depends_on_what_full_augmentation_gains(results: Results) -> None:
    judged = verdicts(results.summary)
    met = judged[(judged["way"] == "copies.self") & (judged["seed"] == 0)].set_index("check")["met"]
    assert met.to_dict() == {
        "1 %": True,
        "5 %": True,
        "25 %": True,
        "area": True,
        "area, policies weighted": True,
        "rank, loss": True,
        "rank, accuracy": True,
        "cost": False,
    }
    late = judged[(judged["way"] == "copies.self") & (judged["seed"] == 1)].set_index("check")["met"]
    assert not late[["1 %", "5 %", "25 %", "area"]].any()
    assert "cost" not in late  # it was not measured
    small = row_of(results, "copies.self").copy()
    small["gain"], small["shortfall"] = 0.005, 0.0011
    found = {check.name: check.met for check in checks(small, results.summary)}
    assert found["shortfall"] is False
    assert found["area"] is None


def test_reaching_a_bound_exactly_is_enough(results: Results) -> None:
    row = row_of(results, "copies.validation").copy()
    row["share_1"], row["share_5"], row["share_25"], row["cost"] = 0.8, 1.0 - 1e-12, 1.05, 3.0
    found = {check.name: check.met for check in checks(row, results.summary)}
    assert all(found[name] for name in ("1 %", "5 %", "25 %", "cost"))
    row["share_25"] = 1.049
    assert {check.name: check.met for check in checks(row, results.summary)}["25 %"] is False


def test_means_have_their_deviation_and_say_of_how_many_they_are() -> None:
    assert spread(pd.Series([0.5, 0.7])) == "60 ± 14"
    assert spread(pd.Series([0.5, np.nan])) == "50 (n = 1)"
    assert spread(pd.Series([np.nan])) == "—"


def test_ways_are_named_in_words() -> None:
    assert way_name("influence.random_proportional", "auto") == "influence, random proportional, weighted"
    assert way_name("baseline", "1") == "points at random"
    assert way_name("copies.self", "1") == "copies, self-target, weight 1"


def test_a_report_shows_targets_figures_and_every_way(tmp_path: Path) -> None:
    page = write_copies_report(filled(tmp_path)).read_text()
    assert "| mnist-rotate (code, lenet) | seed 0 | 1 | 5.00 | 80.0 | 120.0 | 120.0 |" in page
    assert "cost (1 of 1)" in page
    assert "seed 1: full augmentation gains 5.00 points." in page
    for name in ("curves", "forecasts", "choices"):
        assert f"figures/{name}-code.png" in page
        with Image.open(tmp_path / "figures" / f"{name}-code.png") as image:
            assert image.size[0] > 300


def test_a_report_of_unfinished_cells_has_what_there_is(tmp_path: Path) -> None:
    page = write_copies_report(filled(tmp_path, whole=False)).read_text()
    assert "points at random" in page
    assert "seed 1" not in page  # it has a baseline and no curve yet
    assert "### Target" not in page


def test_the_same_cells_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (filled(tmp_path / name) for name in "ab")
    for folder in (first, second):
        write_copies_report(folder)
    written = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} for folder in (first, second)
    ]
    assert written[0] == written[1]


def test_a_folder_without_curves_and_cells_of_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to report"):
        write_copies_report(tmp_path)
    store(filled(tmp_path), "costs", "x", pd.DataFrame([VARIANT | {"seed": 0}]))
    Cells(tmp_path / "baselines", "copies-baselines").pack("mnist-rotate.lenet.code.C=1")
    (tmp_path / "costs" / "mnist-rotate.lenet.code.C=1" / "train.copies.self.0.parquet").unlink()
    with pytest.raises(InputError, match="lack the column 'pool'"):
        write_copies_report(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command asks the API for."""
    found: list[Any] = []

    def reproduce(tasks: list[Task], **settings: object) -> Path:
        found.append((tasks, settings))
        return Path("report.md")

    monkeypatch.setattr("augury.experiment.copies.reproduce_copies", reproduce)
    return found


def test_the_command_takes_the_papers_nine_tasks_with_c_1(asked: list[Any], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["reproduce", "copies", "--preset", "paper", "--seeds", "2", "--jobs", "-1", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    ((tasks, settings),) = asked
    assert len(tasks) == 9
    assert {(task.preset, task.C) for task in tasks} == {("paper", "1")}
    assert settings == {"out": tmp_path, "seeds": 2, "jobs": Engine(-1)}


def test_the_command_takes_own_data(asked: list[Any]) -> None:
    done = CliRunner().invoke(app, ["reproduce", "copies", "--data", "digits", "--classes", "3,8", "--first", "50", "--transform", "flip"])
    assert done.exit_code == 0, done.output
    ((tasks, _),) = asked
    assert [task.name for task in tasks] == ["digits-flip-3-8-50"]


def test_settings_of_own_data_without_data_are_refused(asked: list[Any]) -> None:
    done = CliRunner().invoke(app, ["reproduce", "copies", "--first", "50"])
    assert done.exit_code != 0
    assert not asked
