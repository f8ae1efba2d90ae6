"""`augury run`, which chooses copies: the right choice, files, curve and forecast, and the errors of settings that do not go together."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from joblib import parallel_config
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from typer.testing import CliRunner

import augury
from augury import model
from augury.cli import app
from augury.copies import CopyOrdering, by_points, choose_copies, flag_copies
from augury.errors import InputError
from augury.experiment import Run, RunConfig, pipeline, run
from augury.experiment.checks import UnexpectedError
from augury.experiment.copy_curve import random_copies
from augury.experiment.copy_settings import Price
from augury.files import read_json, write_json
from augury.selection import rank
from test_resume import times

Array = npt.NDArray[Any]
DATA = ["digits", "--first", "100", "--classes", "3,8,9"]
SETTINGS: dict[str, Any] = {"data": "digits", "first": 100, "classes": ("3", "8", "9"), "transform": "rotate:40:2,flip", "epochs": 4}
COPIES: dict[str, Any] = {**SETTINGS, "unit": "copies", "seeds": 2}
TRANSFORM = augury.Union(augury.Rotate((-40, 40)), augury.Flip())
K = 3


class Parts(NamedTuple):
    """What a run's folder stands for, made anew from the data and the saved network."""

    train: augury.Examples
    X: Array
    copies: Array
    test: augury.Examples
    Xt: Array
    yt: Array

    def features(self, found: Run, images: Array) -> Array:
        return augury.features(model.load(found.folder / "model.safetensors"), images).astype(np.float64)

    def fitted(self, candidates: Array, weight: float, also: tuple[Array, Array] | None = None) -> tuple[float, float]:
        """Accuracy and loss on the test set, by an independent library."""
        X = [self.X, self.copies.reshape(-1, self.X.shape[1])[candidates]]
        y = [self.train.labels, self.train.labels[candidates // K]]
        weights = [np.ones(len(self.X)), np.full(len(candidates), weight)]
        if also is not None:
            X, y, weights = [*X, also[0]], [*y, also[1]], [*weights, np.ones(len(also[1]))]
        head = LogisticRegression(C=1.0, tol=1e-10, max_iter=20_000)
        head.fit(np.concatenate(X), np.concatenate(y), sample_weight=np.concatenate(weights))
        return float(head.score(self.Xt, self.yt)), float(log_loss(self.yt, head.predict_proba(self.Xt)))


def parts_of(found: Run, train: augury.Examples) -> Parts:
    test = augury.load("digits", split="test").only(["3", "8", "9"])
    network = model.load(found.folder / "model.safetensors")

    def features(images: Array) -> Array:
        return augury.features(network, images).astype(np.float64)

    copies, moved = (TRANSFORM.copies(part.images) for part in (train, test))
    of_copies = features(copies.reshape(-1, *train.shape)).reshape(len(train), K, -1)
    Xt = np.concatenate([features(test.images), features(moved.reshape(-1, *test.shape))])
    return Parts(train, features(train.images), of_copies, test, Xt, np.concatenate([test.labels, np.repeat(test.labels, K)]))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole job, each copy weighing up to 4."""
    return run(**COPIES, copy_weight=4, price="1e-4", out=tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture(scope="module")
def parts(plain: Run) -> Parts:
    return parts_of(plain, augury.load("digits").only(["3", "8", "9"]).first(100))


# The choice


def test_the_choice_is_that_of_choose_copies_with_the_training_points_and_copies_as_target(plain: Run, parts: Parts) -> None:
    assert isinstance(plain.ordering, CopyOrdering)
    head = augury.SoftmaxHead().fit(parts.X, parts.train.labels)
    expected = choose_copies(head, (parts.X, parts.train.labels), parts.copies, weight=4)
    assert np.mean(plain.ordering.selected == expected.candidates[:30]) > 0.9  # in batches of another size features round differently
    np.testing.assert_allclose(plain.ordering.loss, expected.loss, rtol=1e-3)
    assert (len(plain.ordering), len(plain.ordering.selected), plain.ordering.weight) == (300, 30, 4.0)  # 10 % of 100 x 3


def test_the_cause_names_points_network_transform_and_price(plain: Run) -> None:
    cause = plain.ordering.cause
    told = {"target": "own", "transform": TRANSFORM.spec, "price": "1e-4", "model": "tiny", "seed": 0, "C": 1.0}
    assert {name: cause[name] for name in told} == told
    assert cause["recommended"] == plain.ordering.recommended(1e-4)
    assert cause["data"] == plain.scores.cause["data"] == plain.config["train_digest"]


def test_a_budget_of_copies_is_a_number_or_a_share_of_all_copies(tmp_path: Path) -> None:
    found = run(**COPIES, budget=7, curve=False, copies="none", out=tmp_path)
    assert len(found.ordering.selected) == 7
    assert (found.copies, found.curve, found.report) == (None, None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["config.json", "versions.json", "model.safetensors", "scores.parquet", "selection.parquet", "flags.parquet"]
    )
    assert found.config["curve_budgets"] == [1, 3, 7, 15, 30, 75, 150, 225, 300]
    assert not {"score", "policy", "preference", "update", "downweight"} & set(found.config)


def test_the_recommended_budget_is_the_best_after_the_price(plain: Run) -> None:
    curve = plain.ordering.predicted()
    for text, values in (("1e-3", -curve["loss"]), ("0", -curve["loss"]), ("0.02%", curve["accuracy"]), ("0%", curve["accuracy"])):
        amount = float(text.removesuffix("%")) / (100 if "%" in text else 1)
        best = int(Price.of_text(text).recommended(plain.ordering))
        worth = values - amount * curve["budget"]
        assert worth[curve["budget"] == best].item() == worth.max()


@pytest.mark.parametrize("given", ["cheap", "-1", "inf", "nan%", "%"])
def test_a_price_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(UnexpectedError, match="nats of the target's loss a copy"):
        Price.of_text(given)


def test_flags_are_those_of_flag_copies_with_names_and_places_in_the_choice(plain: Run, parts: Parts) -> None:
    head = augury.SoftmaxHead().fit(parts.X, parts.train.labels)
    expected = flag_copies(head, (parts.X, parts.train.labels), parts.copies)
    assert plain.flags is not None
    frame = plain.flags.frame
    assert set(frame["candidate"]) == set(np.flatnonzero(expected.flagged))
    assert plain.flags.bound == pytest.approx(expected.bound, rel=1e-4)
    np.testing.assert_allclose(frame["influence"], expected.influence[frame["candidate"]], rtol=1e-2, atol=1e-6)
    assert (frame["origin"] == parts.train.origin[frame["point"]]).all()
    assert (frame["name"] == np.array(TRANSFORM.names)[frame["copy"]]).all()
    assert (frame["selected"] == frame["candidate"].isin(plain.ordering.selected)).all()
    assert (plain.ordering.candidates[frame["rank"] - 1] == frame["candidate"]).all()


# Files


def test_just_the_chosen_copies_are_written_each_with_its_weight(plain: Run, parts: Parts) -> None:
    listing = pd.read_parquet(plain.folder / "copies.parquet")
    pixels = TRANSFORM.copies(parts.train.images).reshape(-1, 8, 8)[plain.ordering.selected]
    written = np.stack([np.asarray(Image.open(plain.folder / "augmented" / file)) for file in listing["file"]])
    np.testing.assert_array_equal(written, np.rint(pixels * 255).astype(np.uint8))
    assert sorted(listing["file"]) == sorted(path.relative_to(plain.copies).as_posix() for path in plain.copies.rglob("*.png"))
    point, copy = np.divmod(plain.ordering.selected, K)
    assert listing["origin"].tolist() == [f"{parts.train.origin[i]}#{TRANSFORM.names[j]}" for i, j in zip(point, copy, strict=True)]
    assert listing["label"].tolist() == [("3", "8", "9")[label] for label in parts.train.labels[point]]
    assert listing["weight"].tolist() == [4.0] * 30


def test_copies_in_one_file_are_read_as_data_and_carry_their_weights(tmp_path: Path) -> None:
    found = run(**COPIES, copies="npz", copy_weight=2, curve=False, budget=200, out=tmp_path)
    assert found.copies == tmp_path / "augmented.npz"
    assert len(augury.load(found.copies)) == 200
    with np.load(found.copies) as arrays:
        assert arrays["weights"].tolist() == [1.5] * 200  # 300 copies, for which 200 stand


# The curve


def test_the_curve_agrees_with_refits_by_an_independent_library(plain: Run, parts: Parts) -> None:
    curve = plain.curve
    assert curve is not None
    everything, nothing = np.arange(300), np.arange(0)
    assert (curve.none, curve.cause["none_loss"]) == pytest.approx(parts.fitted(nothing, 1), rel=1e-4)
    assert (curve.full, curve.cause["full_loss"]) == pytest.approx(parts.fitted(everything, 1), rel=1e-4)
    rows = curve.frame.set_index(["policy", "seed", "budget"])
    points = by_points(rank(plain.scores, "proportional", "sampled", 1), K)
    for policy, seed, budget, chosen, weight in (
        ("copies by influence", 0, 30, plain.ordering.selected, 4),
        ("copies by influence", 0, 150, plain.ordering.candidates[:150], 2),
        ("random copies", 1, 75, random_copies(100, K, 1).candidates[:75], 1),
        ("equally weighted random copies", 1, 75, random_copies(100, K, 1).candidates[:75], 4),
        ("whole points by influence", 1, 30, points.candidates[:30], 1),
    ):
        found = rows.loc[(policy, seed, budget)]
        assert (found["accuracy"], found["loss"]) == pytest.approx(parts.fitted(chosen, weight), rel=1e-4, abs=1e-9)
    assert curve.points == 300
    assert curve.cause["baseline"] == "equally weighted random copies"  # a choice is not praised for its weight
    assert plain.ordering.cause["recommended"] in set(curve.frame["budget"])
    assert curve.frame.groupby("policy")["seed"].nunique().to_dict() == {
        "copies by influence": 1,
        "random copies": 2,
        "equally weighted random copies": 2,
        "whole points by influence": 2,
    }


def test_copies_at_random_are_each_there_once_and_another_seed_draws_others() -> None:
    one, other = (random_copies(50, 4, seed) for seed in (0, 1))
    assert np.array_equal(one.candidates, one.point * 4 + one.copy)
    assert sorted(one.candidates) == list(range(200))
    assert np.mean(one.candidates == other.candidates) < 0.1


def test_where_a_copy_weighs_one_random_copies_are_measured_once_and_two_workers_change_nothing(tmp_path: Path) -> None:
    found = run(**COPIES, copy_weight=1, copies="none", out=tmp_path / "one")
    with parallel_config(backend="threading"):
        again = run(**COPIES, copy_weight=1, copies="none", jobs=2, out=tmp_path / "two")
    assert found.curve is not None
    assert again.curve is not None
    assert found.curve.cause["baseline"] == "random copies"
    assert found.curve.policies == ["copies by influence", "random copies", "whole points by influence"]
    pd.testing.assert_frame_equal(found.curve.frame, again.curve.frame, check_exact=True)


def test_a_validation_target_is_augmented_for_the_choice_and_every_head_is_fitted_to_its_points(tmp_path: Path) -> None:
    found = run(**COPIES, target="val", copy_weight=1, copies="none", out=tmp_path)
    rest, validation = augury.load("digits").only(["3", "8", "9"]).split(0.2, seed=0)
    parts = parts_of(found, rest.first(100))
    own = parts.features(found, validation.images), validation.labels
    moved = parts.features(found, TRANSFORM.copies(validation.images).reshape(-1, *validation.shape)), np.repeat(validation.labels, K)
    goal = tuple(np.concatenate(both) for both in zip(own, moved, strict=True))
    head = augury.SoftmaxHead().fit(parts.X, parts.train.labels)
    expected = choose_copies(head, (parts.X, parts.train.labels), parts.copies, goal, weight=1)
    np.testing.assert_allclose(found.ordering.loss, expected.loss, rtol=1e-3)
    assert found.ordering.cause["target"] == "val"
    assert found.curve is not None
    frame = found.curve.frame
    (row,) = (row for _, row in frame[(frame["policy"] == "copies by influence") & (frame["budget"] == 30)].iterrows())
    assert (row["accuracy"], row["loss"]) == pytest.approx(parts.fitted(found.ordering.selected, 1, own), rel=1e-4)
    assert (found.config["validation_points"], found.scores.method) == (len(validation), "influence")


def test_left_out_points_are_a_target_of_their_own(plain: Run, tmp_path: Path) -> None:
    found = run(**COPIES, target="folds", copy_weight=4, curve=False, copies="none", out=tmp_path)
    assert found.ordering.cause["target"] == "folds"
    assert found.ordering.loss[0] > plain.ordering.loss[0]  # no point is scored by a head that has seen it


# Settings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"score": "loss"}, "score: has a meaning only where points are chosen; set unit to 'points' (--unit points), or leave it out"),
        ({"policy": "ranked"}, "policy: has a meaning only where points are chosen"),
        ({"preference": "inverse"}, "preference: has a meaning only where points are chosen"),
        ({"update": True}, "update: has a meaning only where points are chosen"),
        ({"downweight": True}, "downweight: has a meaning only where points are chosen"),
        (
            {"unit": "points", "price": "1e-5"},
            "price: has a meaning only where copies are chosen; set unit to 'copies' (--unit copies), or",
        ),
        ({"unit": "points", "copy_weight": 8}, "copy_weight: has a meaning only where copies are chosen"),
        ({"unit": "points", "target": "folds"}, "target: 'folds' goes with the unit 'copies'"),
        ({"unit": "pixels"}, "unit: got 'pixels'; expected one of points, copies"),
        ({"budget": 301}, "budget: 301 of 300 copies; expected a number from 1 to 300"),
        ({"price": "cheap"}, "price: got 'cheap'; expected nats of the target's loss a copy"),
        ({"copy_weight": 0.5}, "copy_weight: got 0.5; expected auto, or a number from 1 up"),
        ({"copy_weight": "heavy"}, "copy_weight: got 'heavy'; expected auto, or a number from 1 up"),
        ({"validation": "digits"}, "validation: given, but nothing looks at it; set target to 'val'"),
    ],
)
def test_settings_without_a_meaning_are_told_before_any_work(
    tmp_path: Path, settings: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "train", None)
    with pytest.raises(InputError) as caught:
        run(**COPIES | settings, out=tmp_path / "run")
    assert told in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_copies_are_chosen_where_nobody_says_what(tmp_path: Path) -> None:
    words = ["run", *DATA, "--transform", "flip", "--target", "val", "--epochs", "1", "--no-curve", "--copies", "none", "--quiet"]
    result = CliRunner().invoke(app, [*words, "--budget", "7", "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    found = Run.load(tmp_path)
    assert isinstance(found.ordering, CopyOrdering)
    assert len(found.ordering.selected) == 7
    assert (found.config["unit"], found.config["target"], found.ordering.cause["target"]) == ("copies", "val", "val")
    assert RunConfig(data="digits").unit == "copies"


@pytest.mark.parametrize("told", [{"unit": "points"}, {}])
def test_a_run_of_points_by_an_earlier_version_stays_one(tmp_path: Path, told: dict[str, str]) -> None:
    """Its record tells the unit or, still earlier, knows none, and its command leaves out what was the default then."""
    quick = {**SETTINGS, "curve": False, "copies": "none"}
    run(**quick, unit="points", out=tmp_path)
    record = read_json(tmp_path / "config.json")
    assert record.pop("unit") == "points"
    assert not {"price", "copy_weight"} & set(record)
    earlier = record | told | {"command": record["command"].replace(" --unit points", "")}
    assert earlier["command"] != record["command"]
    write_json(tmp_path / "config.json", earlier)
    before = times(tmp_path)
    run(**quick, unit="points", out=tmp_path)
    with pytest.raises(InputError, match=r"holds a run with unit = 'points', and now it is 'copies'; give another folder"):
        run(**quick, out=tmp_path)
    assert times(tmp_path) == before


def test_the_recorded_command_repeats_the_run(plain: Run, tmp_path: Path) -> None:
    words = shlex.split(plain.config["command"])
    assert words[1:4] == ["run", "digits", "--classes"]
    result = CliRunner().invoke(app, [str(tmp_path / "again") if word == "DIR" else word for word in words[1:]], catch_exceptions=False)
    assert result.exit_code == 0
    for name in ("config.json", "selection.parquet", "flags.parquet", "curve.parquet", "report.html"):
        assert (tmp_path / "again" / name).read_bytes() == (plain.folder / name).read_bytes()
    assert "(30 of 300 copies, each weighing 4)" in result.stdout
    assert "are recommended" in result.stdout
    assert f"{len(plain.flags.frame)} of the 300 copies are flagged" in result.stdout


# The command line


def test_json_tells_the_chosen_copies_their_weight_and_the_forecast(plain: Run) -> None:
    words = [str(plain.folder) if word == "DIR" else word for word in shlex.split(plain.config["command"])[1:]]
    result = json.loads(CliRunner().invoke(app, [*words, "--json", "--quiet"], catch_exceptions=False).stdout)
    assert [point * K + copy for point, copy in result["selected"]] == plain.ordering.selected.tolist()
    assert (result["points"], result["candidates"], result["weight"]) == (100, 300, 4.0)
    assert result["recommended"] == plain.ordering.recommended(1e-4)
    assert result["flagged"] == len(plain.flags.frame)
    assert [row["loss"] for row in result["predicted"]] == plain.ordering.loss.tolist()
    assert result["headline"].startswith("10 % of the copies (30 of 300) ")


def test_augment_writes_just_the_copies_of_a_selection_as_the_run_did(plain: Run, tmp_path: Path) -> None:
    words = ["augment", *DATA, str(plain.folder / "selection.parquet"), "--transform", TRANSFORM.spec, "--quiet"]
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "single")], catch_exceptions=False).exit_code == 0
    written = {path.relative_to(tmp_path / "single"): path.read_bytes() for path in (tmp_path / "single").rglob("*.png")}
    assert written == {path.relative_to(plain.copies): path.read_bytes() for path in plain.copies.rglob("*.png")}
    assert (tmp_path / "single" / "copies.parquet").read_bytes() == (plain.folder / "copies.parquet").read_bytes()
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "one.npz")], catch_exceptions=False).exit_code == 0
    with np.load(tmp_path / "one.npz") as arrays:
        assert (len(arrays["images"]), set(arrays["weights"])) == (30, {4.0})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*DATA, "--transform", "flip"], f"transform: flip, and the selection is of copies by {TRANSFORM.spec}; give transform"),
        (
            ["digits", "--first", "99", "--transform", TRANSFORM.spec],
            "data: 99 training points with 3 copies each are not those of the 300",
        ),
        (
            ["digits", "--first", "100", "--transform", TRANSFORM.spec],
            "data: 100 training points with 3 copies each are not those of the 300",
        ),
    ],
)
def test_a_selection_of_other_copies_is_refused(plain: Run, tmp_path: Path, words: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["augment", *words, str(plain.folder / "selection.parquet"), "--out", str(tmp_path / "out")])
    assert told in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_budget_changed_in_python_is_written_with_the_weight_that_goes_with_it(plain: Run, tmp_path: Path) -> None:
    selection = plain.ordering.within("50%")
    out = augury.experiment.augment_data(RunConfig(**SETTINGS), replace(selection, cause={}), out=tmp_path / "more")
    assert pd.read_parquet(out / "copies.parquet")["weight"].tolist() == [2.0] * 150
