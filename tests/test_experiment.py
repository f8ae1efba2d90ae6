"""`augury run` on data of every kind: the right files with the right contents, and a command that repeats them."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

import augury
from augury import model
from augury.cli import app
from augury.errors import InputError
from augury.experiment import Run, RunConfig, pipeline, run
from augury.experiment.config import ELSEWHERE, OF_COPIES

CLASSES = ("<script>alert('x')&amp;", 'bars, "two"', "round línea 字")  # sorted, as the folder's reader sorts them
QUICK: dict[str, Any] = {"unit": "points", "transform": "flip", "epochs": 3, "seeds": 2}


def draw(kind: int, rng: np.random.Generator, mode: str) -> Image.Image:
    """A ring, a box or a bar of a random grey or colour, somewhere, in noise."""
    image = Image.new("RGB", (16, 16))
    corner, side = rng.integers(1, 6, 2), int(rng.integers(7, 10))
    box = [*map(int, corner), *map(int, corner + side)]
    colour = tuple(map(int, rng.integers(120, 255, 3)))
    pen = ImageDraw.Draw(image)
    (pen.ellipse, pen.rectangle, pen.line)[kind](box, fill=colour)
    noisy = np.asarray(image) + rng.normal(0, 20, (16, 16, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert(mode)


def draw_folder(root: Path, formats: tuple[tuple[str, str], ...], each: int = 20, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for kind, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for i in range(each):
            mode, ending = formats[i % len(formats)]
            draw(kind, rng, mode).save(root / name / f"image {i:02d}.{ending}")
    return root


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 grey pictures, of three kinds of file, in three classes with awkward names."""
    return draw_folder(tmp_path_factory.mktemp("data") / "grey", (("L", "png"), ("L", "jpg"), ("1", "bmp")))


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in colour, one of the kinds with transparency and one with a palette."""
    return draw_folder(tmp_path_factory.mktemp("data") / "coloured", (("RGBA", "png"), ("RGB", "jpg"), ("P", "png"), ("L", "png")))


@pytest.fixture(scope="module")
def plain(grey: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole job on the grey pictures."""
    return run(data=grey, **QUICK, out=tmp_path_factory.mktemp("runs") / "plain")


def read(folder: Path, file: str) -> np.ndarray:
    pixels = np.asarray(Image.open(folder / file))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def test_a_run_records_its_whole_configuration_and_what_it_came_to(plain: Run, grey: Path) -> None:
    config = json.loads((plain.folder / "config.json").read_text())
    assert {setting.name for setting in fields(RunConfig)} - ELSEWHERE - set(OF_COPIES) <= set(config)
    told = {"data": str(grey), "model": "lenet", "score": "influence", "image": "1x16x16", "class_names": list(CLASSES), "features": 84}
    told |= {"train_points": 45, "test_points": 15, "transform": "flip", "copies_per_point": 1, "budget": "10%", "weights_digest": None}
    assert {name: config[name] for name in told} == told
    assert config["command"] == f"augury run {shlex.quote(str(grey))} --transform flip --unit points --seeds 2 --epochs 3 --out DIR"
    versions = json.loads((plain.folder / "versions.json").read_text())
    assert {"augury", "torch", "numpy", "python", "machine"} <= set(versions)


def test_the_selection_ranks_every_point_and_takes_the_budget(plain: Run) -> None:
    frame = pd.read_parquet(plain.folder / "selection.parquet")
    assert list(frame.columns) == ["rank", "index", "origin", "label", "score", "loss", "probability", "selected"]
    assert frame["rank"].tolist() == list(range(1, 46))
    assert sorted(frame["index"]) == list(range(45))
    assert frame["selected"].tolist() == [True] * 4 + [False] * 41  # 10 % of 45, rounded
    scores = pd.read_parquet(plain.folder / "scores.parquet")
    pd.testing.assert_frame_equal(frame[list(scores.columns)].sort_values("index", ignore_index=True), scores)
    assert (scores["origin"].str.split("/").str[0] == scores["label"]).all()


@pytest.mark.parametrize("source", ["grey", "coloured"])
def test_the_files_of_the_copies_are_the_copies_of_the_selected_points(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    data = request.getfixturevalue(source)
    found = run(data=data, unit="points", transform="translate:2", epochs=1, budget=5, curve=False, out=tmp_path / "run")
    listing = pd.read_parquet(found.folder / "copies.parquet")
    assert found.copies == found.folder / "augmented"
    assert sorted(listing["file"]) == sorted(path.relative_to(found.copies).as_posix() for path in found.copies.rglob("*.png"))
    originals = augury.load(data)
    chosen = [originals.origin.tolist().index(origin) for origin in found.ordering.to_frame()["origin"][:5]]
    expected = augury.Translate(2).copies(originals.images[chosen])
    np.testing.assert_array_equal(np.stack([read(found.copies, file) for file in listing["file"]]), expected.reshape(20, *originals.shape))
    assert listing["label"].tolist() == [CLASSES[label] for label in np.repeat(originals.labels[chosen], 4)]
    assert originals.shape[0] == {"grey": 1, "coloured": 3}[source]


def test_the_scores_are_those_of_the_saved_network_s_features(plain: Run) -> None:
    X, y, _, _ = parts(plain)
    np.testing.assert_allclose(plain.scores.values, augury.score(X, y, "influence").values, rtol=1e-9)


def test_the_curve_agrees_with_refits_by_an_independent_library(plain: Run) -> None:
    X, y, copies, (Xt, yt) = parts(plain)

    def accuracy(chosen: np.ndarray | slice) -> float:
        head = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
        return float(head.fit(np.concatenate([X, copies[chosen]]), np.concatenate([y, y[chosen]])).score(Xt, yt))

    assert plain.curve is not None
    assert plain.curve.none == pytest.approx(accuracy(slice(0)))
    assert plain.curve.full == pytest.approx(accuracy(slice(None)))
    rows = plain.curve.frame.set_index(["policy", "seed", "budget"])["accuracy"]
    assert rows["influence, sampled, proportional", 0, 4] == pytest.approx(accuracy(plain.ordering.selected))


def parts(found: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Features and labels of the training points, features of their mirror images, and the test set with its mirror images."""
    points = augury.load(found.config["data"])
    rest, test = points.split(0.25, seed=0)
    network = model.load(found.folder / "model.safetensors")
    X, copies, Xt, mirrored = (
        augury.features(network, images).astype(np.float64)
        for images in (rest.images, rest.images[..., ::-1].copy(), test.images, test.images[..., ::-1].copy())
    )
    return X, rest.labels, copies, (np.concatenate([Xt, mirrored]), np.concatenate([test.labels, test.labels]))


def test_the_report_shows_hostile_names_and_runs_none_of_them(plain: Run) -> None:
    page = (plain.folder / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_an_npz_file_gives_the_same_scores_as_the_folder_it_was_made_from(plain: Run, grey: Path, tmp_path: Path) -> None:
    points = augury.load(grey)
    np.savez(tmp_path / "set.npz", images=points.images[:, 0], labels=np.array(points.classes)[points.labels])
    found = run(data=tmp_path / "set.npz", **QUICK, budget="25", copies="npz", curve=False, out=tmp_path / "run")
    np.testing.assert_allclose(found.scores.values, plain.scores.values, rtol=1e-6)  # convolutions round by the memory's layout, too
    assert len(found.ordering.selected) == 25
    copies = augury.load(tmp_path / "run" / "augmented.npz")
    assert len(copies) == 25
    assert found.copies == tmp_path / "run" / "augmented.npz"


def test_ranked_inverse_takes_the_lowest_scores_of_a_parquet_file(plain: Run, grey: Path, tmp_path: Path) -> None:
    files = sorted(grey.rglob("*.*"))
    table = pd.DataFrame({"image": [file.read_bytes() for file in files], "label": [file.parent.name for file in files]})
    table.to_parquet(tmp_path / "set.parquet")
    choice = {"policy": "ranked", "preference": "inverse", "copies": "none"}
    found = run(data=tmp_path / "set.parquet", **QUICK, **choice, out=tmp_path / "run")
    np.testing.assert_array_equal(found.scores.values, plain.scores.values)
    assert set(found.ordering.selected) == set(np.argsort(found.scores.values, kind="stable")[:4])
    assert found.copies is None
    assert found.curve is not None
    assert found.curve.frame.groupby("policy")["seed"].nunique().to_dict() == {"influence, ranked, inverse": 1, "random": 2}


def test_a_validation_target_is_split_off_and_scored(grey: Path, tmp_path: Path) -> None:
    found = run(data=grey, **QUICK, target="val", test_copies=False, out=tmp_path)
    assert (found.config["score"], found.scores.method) == ("validation", "validation")
    assert [found.config[f"{part}_points"] for part in ("train", "validation", "test")] == [36, 9, 15]
    assert found.curve is not None
    assert (found.curve.cause["test"], found.curve.cause["test_images"]) == ("clean", 15)


def test_classes_and_first_take_a_part_of_a_named_set(tmp_path: Path) -> None:
    found = run(data="digits", **QUICK, classes="8, 3", first=50, copies="none", curve=False, out=tmp_path)
    assert found.config["class_names"] == ["8", "3"]
    assert len(found.scores) == 50
    assert not (tmp_path / "gallery.npz").exists()


def test_ready_weights_are_not_trained_and_give_the_features_they_had(
    plain: Run, grey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "train", None)
    weights = plain.folder / "model.safetensors"
    found = run(data=grey, **QUICK, weights=weights, curve=False, copies="none", out=tmp_path / "run")
    np.testing.assert_array_equal(found.scores.values, plain.scores.values)
    assert len(found.config["weights_digest"]) == 64
    assert not (tmp_path / "run" / "model.safetensors").exists()
    two = run(data=grey, **QUICK, weights=weights, classes=CLASSES[:2], curve=False, copies="none", out=tmp_path / "two")
    assert two.config["features"] == 84  # a backbone that was trained on other classes


def test_given_splits_are_taken_and_nothing_is_split_off(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "val", "test")):
        draw_folder(tmp_path / "data" / part, (("L", "png"),), each=6 + seed, seed=seed)
    found = run(data=tmp_path / "data", **QUICK, target="val", copies="none", curve=False, out=tmp_path / "run")
    assert [found.config[f"{part}_points"] for part in ("train", "validation", "test")] == [18, 21, 24]
    assert all(origin.startswith("train/") for origin in found.scores.origin)


def test_a_test_set_of_its_own_leaves_every_point_to_the_training(grey: Path, tmp_path: Path) -> None:
    other = draw_folder(tmp_path / "other", (("L", "png"),), each=5, seed=1)
    found = run(data=grey, **QUICK, test=other, copies="none", curve=False, out=tmp_path / "run")
    assert (found.config["train_points"], found.config["test_points"]) == (60, 15)


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": (CLASSES[1], CLASSES[2]), "copies": "npz", "policy": "ranked", "C": 0.5, "seed": 3, "test_copies": False},
        {
            "score": "loss",
            "preference": "inverse_softmax",
            "budget": 0.2,
            "model": "cnn128",
            "downweight": True,
            "size": 12,
            "curve": False,
        },
    ],
)
def test_the_recorded_command_repeats_the_run(grey: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    first = run(data=grey, **QUICK | settings, out=tmp_path / "first")
    words = shlex.split(first.config["command"])
    assert words[0] == "augury"
    result = CliRunner().invoke(app, [str(tmp_path / "second") if word == "DIR" else word for word in words[1:]], catch_exceptions=False)
    assert result.exit_code == 0
    for name in ("config.json", "scores.parquet", "selection.parquet"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"validation": "digits"}, "validation: given, but nothing looks at it; set target to 'val'"),
        ({"score": "loss", "target": "val"}, "target: 'val' goes with the score influence; loss looks at each point alone"),
        ({"budget": "ten"}, "budget: got 'ten'; expected"),
        ({"budget": "46"}, "budget: 46 of 45 points; expected"),
        ({"transform": "spin"}, "'spin' is no transform"),
        ({"transform": "translate:20"}, "translate"),
        ({"model": "lenot"}, "no network is called 'lenot'"),
        ({"size": 7}, "needs images of at least 8 x 8"),
        ({"device": "abacus"}, "device: 'abacus' cannot be used here"),
        ({"first": 15}, r"first: the first 15 training points hold none of class 'bars, \"two\"'"),
        ({"classes": "round línea 字"}, "classes: expected two or more"),
        ({"test": "digits"}, "test: digits has the classes 0, 1, 2, 3, 4, ... (10); expected"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors: no such file"),
        ({"data": "nowhere"}, "no file or folder 'nowhere'"),
        ({"seeds": 0}, "seeds: got 0; expected a whole number, 1 or more"),
        ({"sedes": 1}, "settings: no setting is called 'sedes'; expected some of data"),
        ({"curve": "no"}, "curve: got 'no'; expected True or False"),
        ({"jobs": 0}, "jobs: got 0; expected a number of processes"),
        ({"C": float("nan")}, "C: got nan; expected a positive number"),
        ({"test_share": 1}, "test_share: got 1; expected a share between 0 and 1"),
        ({"data": 3}, "data: got 3; expected a path"),
    ],
)
def test_bad_settings_are_told_before_any_work_and_leave_no_folder(
    grey: Path, tmp_path: Path, settings: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "train", None)
    with pytest.raises(InputError) as caught:
        run(**{"data": grey, **QUICK, **settings}, out=tmp_path / "run")
    assert told.replace('\\"', '"') in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_grey_and_coloured_sets_of_different_sizes_are_not_mixed(grey: Path, coloured: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"test: .*coloured is RGB, and the training points are grey; convert one of them"):
        run(data=grey, **QUICK, test=coloured, out=tmp_path / "run")
    small = tmp_path / "small.npz"
    points = augury.load(grey)
    np.savez(small, images=points.images[..., :12, :12], labels=points.labels, classes=np.array(CLASSES))
    with pytest.raises(
        InputError, match="has images of 12 x 12 pixels, and the training points have 16 x 16; give a size to bring both to"
    ):
        run(data=grey, **QUICK, test=small, out=tmp_path / "run")


@pytest.mark.parametrize("out", [".", "results"])
def test_results_are_not_put_among_the_data(grey: Path, out: str) -> None:
    before = sorted(grey.rglob("*"))
    with pytest.raises(InputError, match="lies inside the data"):
        run(data=grey, **QUICK, out=grey / out)
    assert sorted(grey.rglob("*")) == before


def test_a_configuration_and_keywords_that_change_it_give_the_keywords_precedence(tmp_path: Path) -> None:
    config = RunConfig(data="digits", transform="flip", epochs=3, first=80, classes=("3", "8"), curve=False, copies="none")
    found = run(config, seed=5, out=tmp_path)
    assert (found.config["seed"], found.config["first"]) == (5, 80)
