"""The page of a run that chose copies: every number on it, hostile names, damaged folders, and a browser."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import spearmanr

from augury.copies import CopyOrdering
from augury.errors import InputError
from augury.evaluation import Curve
from augury.files import read_json, write_json
from augury.report import flagged, headline, recommendation, summary_rows, write_report
from augury.report.copy_charts import chosen_by_class, heat_map
from augury.report.copy_folder import CopyRunFolder, Flags
from augury.report.copy_words import agreement, reasons
from augury.report.forecast import Forecast
from augury.report.outcome import Outcome
from augury.scores import Scores
from test_report import HOSTILE, Page, arrays_of, make_images, told

POINTS, NAMES = 60, ("left", "right", "turned(30)")
COPIES = POINTS * len(NAMES)
CHOSEN, RANDOM = "copies by influence", "random copies"
FILES = ("config.json", "versions.json", "scores.parquet", "selection.parquet", "curve.parquet", "flags.parquet", "gallery.npz")


def make_scores(classes: tuple[str, ...]) -> Scores:
    losses = np.random.default_rng(3).gamma(0.5, 0.5, POINTS)
    labels = np.arange(POINTS) % len(classes)
    origin = np.array([f"{classes[label]}/{i}.png" for i, label in enumerate(labels)])
    return Scores(losses**2, labels, losses, np.exp(-losses), "influence", classes, origin)


def make_ordering(budget: int = 18, weight: float = 4.0, recommended: int = 90, price: str = "0") -> CopyOrdering:
    candidates = np.random.default_rng(4).permutation(COPIES)
    budgets = np.array([0, 10, 30, 90, COPIES])
    influence, loss = np.linspace(-0.5, 0.1, COPIES), np.array([1.0, 0.6, 0.4, 0.3, 0.35])
    accuracy, cause = np.array([0.7, 0.8, 0.9, 0.95, 0.94]), {"recommended": recommended, "price": price}
    return CopyOrdering(
        candidates, candidates // 3, candidates % 3, influence, budgets, loss, accuracy, weight=weight, budget=budget, cause=cause
    )


def make_curve(policy: str = CHOSEN) -> Curve:
    climb = [(budget, 0.88 + 0.06 * (1 - np.exp(-budget / 30)), 0.4 + 0.5 * np.exp(-budget / 20)) for budget in (2, 18, 90)]
    rows = [(policy, 0, budget, accuracy, loss) for budget, accuracy, loss in climb]
    rows += [(RANDOM, seed, budget, accuracy - 0.02 - seed / 1000, loss + 0.1) for budget, accuracy, loss in climb for seed in range(3)]
    frame = pd.DataFrame(rows, columns=["policy", "seed", "budget", "accuracy", "loss"])
    cause = {"policy": policy, "baseline": RANDOM, "test": "augmented", "test_images": 900, "none_loss": 0.9, "full_loss": 0.41}
    return Curve(frame, 0.88, 0.932, COPIES, cause)


def make_flags(ordering: CopyOrdering, scores: Scores, names: tuple[str, ...]) -> Flags:
    candidates = ordering.candidates[[-1, -2, 0]]
    harmful, disputed = [True, True, False], [True, False, True]
    values = {"candidate": candidates, "point": candidates // 3, "copy": candidates % 3, "influence": [0.4, 0.3, -0.1]}
    values |= {"disagreement": [0.9, 0.1, 0.7], "harmful": harmful, "disputed": disputed, "origin": scores.origin[candidates // 3]}
    rank = np.argsort(ordering.candidates)[candidates] + 1
    labels = np.array(scores.classes)[scores.labels[candidates // 3]]
    values |= {"label": labels, "name": np.array(names)[candidates % 3], "rank": rank, "selected": rank <= len(ordering.selected)}
    return Flags(pd.DataFrame(values), 0.25, 10)


def make_gallery(names: tuple[str, ...]) -> dict[str, Any]:
    """All points, and all copies."""
    candidates = np.arange(COPIES)
    return {
        "points": np.concatenate([np.arange(POINTS), candidates // 3]),
        "copies": np.concatenate([np.full(POINTS, -1), candidates % 3]),
        "images": make_images(POINTS + COPIES),
        "copy_names": np.array(names),
    }


def make_run(folder: Path, *, name: str = "turned(30)", classes: tuple[str, ...] = ("cat", "dog"), policy: str = CHOSEN) -> Path:
    """A run folder whose files agree with each other, the hostile text wherever the caller puts it."""
    folder.mkdir()
    scores, ordering, names = make_scores(classes), make_ordering(), (*NAMES[:2], name)
    flags = make_flags(ordering, scores, names)
    scores.save(folder / "scores.parquet")
    ordering.save(folder / "selection.parquet")
    make_curve(policy).save(folder / "curve.parquet")
    flags.save(folder / "flags.parquet")
    np.savez_compressed(folder / "gallery.npz", **make_gallery(names))
    config = {"data": name, "transform": "rotate", "unit": "copies", "target": "own", "price": "0", "classes": None, "own": ["a", name]}
    write_json(folder / "config.json", config | {"command": f"augury run {name} --out DIR"})
    write_json(folder / "versions.json", {"augury": "0.1.0", "machine": name})
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A run in which every text that a user can choose tries to break out of the page."""
    return make_run(tmp_path / "hostile", name=HOSTILE, classes=(f"cat{HOSTILE}", HOSTILE), policy=f"copies{HOSTILE}")


def charts(page: Page) -> list[dict[str, Any]]:
    return [json.loads(script) for script in page.scripts if script.startswith('{"$schema"')]


def data_of(chart: dict[str, Any]) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(rows) for rows in chart["datasets"].values()])


def squeezed(page: Page) -> str:
    return re.sub(r"\s+", " ", page.shown)


# Words


def test_the_headline_and_the_summary_count_copies() -> None:
    told = headline(make_curve(), make_ordering())
    assert told.startswith("10 % of the copies (18 of 180) gave 52 % of full augmentation's gain: accuracy 90.7 % against 88.0 % without")
    assert told.endswith("as many random copies gave 12 %.")
    assert summary_rows(make_curve(), make_ordering())[-1].budget == "180"
    weighted = make_curve().frame.replace({RANDOM: "equally weighted random copies"})
    curve = replace(make_curve(), frame=weighted, cause={**make_curve().cause, "baseline": "equally weighted random copies"})
    assert headline(curve, make_ordering()).endswith("as many equally weighted random copies gave 12 %.")


RECOMMENDATIONS = {
    (90, "0"): "50 % of the copies (90 of 180) are recommended: beyond them more are predicted to help no further",
    (90, "1e-4"): "50 % of the copies (90 of 180) are recommended: beyond them one more is predicted to bring less than 1e-4 nats",
    (
        90,
        "0.01%",
    ): "50 % of the copies (90 of 180) are recommended: beyond them one more is predicted to bring less than 0.01 % of accuracy",
    (0, "0"): "No copy is recommended: none is predicted to help",
    (0, "1"): "No copy is recommended: none is predicted to bring its price of 1 nats",
    (180, "0"): "100 % of the copies (180 of 180) are recommended: up to the last, more are predicted to help",
    (180, "1e-9"): "100 % of the copies (180 of 180) are recommended: up to the last, more are predicted to bring more than 1e-9 nats",
}


@pytest.mark.parametrize(("recommended", "price"), RECOMMENDATIONS)
def test_the_recommended_budget_is_told_with_its_reason(recommended: int, price: str) -> None:
    assert recommendation(make_ordering(recommended=recommended, price=price)) == RECOMMENDATIONS[recommended, price]


def test_flags_are_counted_and_each_has_its_reasons_with_their_numbers() -> None:
    flags = make_flags(make_ordering(), make_scores(("cat", "dog")), NAMES)
    assert flagged(flags, 180) == "3 of the 180 copies are flagged (2 harmful, 2 disputed, 1 both), 1 of them chosen"
    assert flagged(replace(flags, frame=flags.frame[:0]), 180) == "None of the 180 copies is flagged"
    assert reasons(flags.frame.iloc[0].to_dict(), flags) == [
        "harmful: predicted to raise the loss by 0.4 nats a unit of weight, bound 0.25",
        "disputed: 9 of the 10 nearest originals have another label",
    ]
    assert reasons(flags.frame.iloc[2].to_dict(), flags) == ["disputed: 7 of the 10 nearest originals have another label"]


def test_the_worst_flags_are_half_the_most_harmful_and_then_the_most_disputed() -> None:
    frame = pd.DataFrame({"candidate": range(6), "harmful": [True] * 4 + [False] * 2, "disagreement": [0, 0.9, 0.2, 0.6, 0.8, 0.7]})
    flags = Flags(frame, 0.0, 10)
    assert flags.worst(4).tolist() == [0, 1, 4, 5]
    assert flags.worst(6).tolist() == [0, 1, 2, 4, 5, 3]
    assert flags.worst(99).tolist() == [0, 1, 2, 3, 4, 5]


def test_an_agreement_that_is_unknown_is_not_told() -> None:
    assert agreement(float("nan"), float("nan")) == ""
    assert (
        agreement(-0.5, 0.987)
        == "Rank correlation of prediction and measurement over the budgets: −0.50 for the loss and 0.99 for the accuracy."
    )


# Forecast


def test_prediction_and_measurement_are_compared_at_the_measured_budgets() -> None:
    forecast = Forecast(make_ordering(), Outcome(make_curve(), make_ordering()))
    frame, curve = forecast.compared, make_curve()
    assert frame["budget"].tolist() == [0, 2, 18, 90, 180]
    own = curve.frame[curve.frame["policy"] == CHOSEN]
    assert frame["loss"].tolist() == [0.9, *own["loss"], 0.41]
    assert frame["accuracy"].tolist() == [0.88, *own["accuracy"], 0.932]
    np.testing.assert_allclose(frame["predicted_loss"], np.interp([0, 2, 18, 90, 180], [0, 10, 30, 90, 180], [1, 0.6, 0.4, 0.3, 0.35]))
    for name in ("loss", "accuracy"):
        assert forecast.correlation(name) == pytest.approx(spearmanr(frame[name], frame[f"predicted_{name}"]).statistic)
    assert forecast.at_recommended == pytest.approx((0.3, 0.95))
    assert forecast.weight == 4.0


# Page


def test_the_page_tells_headline_recommendation_weight_settings_and_flags(run: Path) -> None:
    shown = squeezed(Page(write_report(run))).replace("\u00a0", " ")
    for words in (
        "10 % of the copies (18 of 180) gave 52 % of full augmentation’s gain.",
        f"{RECOMMENDATIONS[90, '0']}.",
        "There the target’s loss is predicted to be 0.3000 nats, its accuracy 95.0 %.",
        "Each of the 18 chosen copies weighs 4, where a training point weighs 1",
        "3 of the 180 copies are flagged (2 harmful, 2 disputed, 1 both), 1 of them chosen.",
        "augury run turned(30) --out DIR",
        "after retraining with a growing number of copies added",
        "all training points and their copies",
    ):
        assert words in shown


def test_the_charts_hold_the_predicted_and_the_measured_curve(run: Path) -> None:
    found, (_, loss, accuracy, _) = CopyRunFolder.load(run), charts(Page(write_report(run)))
    for name, chart, scale in (("loss", loss, 1), ("accuracy", accuracy, 100)):
        drawn = data_of(chart).dropna(subset="kind")
        predicted, measured = (drawn[drawn["kind"] == kind] for kind in ("predicted", "measured"))
        np.testing.assert_allclose(predicted["value"], scale * getattr(found.ordering, name))
        assert measured["budget"].tolist() == [0, 2, 18, 90, 180]
        own = found.curve.frame.query("policy == @CHOSEN")[name]
        np.testing.assert_allclose(measured["value"].iloc[1:-1], scale * own)


def test_the_heat_map_counts_the_chosen_copies_and_adds_up_their_gain_by_transformation_and_class(run: Path) -> None:
    found = CopyRunFolder.load(run)
    cells = data_of(charts(Page(write_report(run)))[3]).set_index(["transformation", "class"])
    point, copy = np.divmod(found.ordering.selected, 3)
    for j, name in enumerate(NAMES):
        for label, class_name in enumerate(("cat", "dog")):
            count = int(np.sum((copy == j) & (found.scores.labels[point] == label)))
            gain = -found.ordering.influence[:18][(copy == j) & (found.scores.labels[point] == label)].sum()
            assert cells.loc[(name, class_name), ["chosen", "of"]].tolist() == [count, 30]
            assert cells.loc[(name, class_name), "part"] == f"{100 * count / 30:.1f} % of 30"
            assert cells.loc[(name, class_name), "gain"] == pytest.approx(gain)
    assert cells["chosen"].sum() == 18
    assert cells[["share", "worth"]].max().tolist() == [1, 1]


def test_a_heat_map_of_many_transformations_shows_those_most_chosen_in_their_order(run: Path) -> None:
    found = CopyRunFolder.load(run)
    every = chosen_by_class(found.ordering, found.scores, list(NAMES))._replace(counts=np.array([[1, 2], [0, 1], [0, 4]]))
    kept = every.most(2)
    assert (kept.names, kept.counts.tolist()) == (["left", "turned(30)"], [[1, 2], [0, 4]])
    none = np.zeros((3, 30), dtype=np.int64)
    wide = every._replace(classes=[f"class {i}" for i in range(30)], counts=none, points=np.ones(30, np.int64), gains=none.astype(float))
    assert [layer["mark"]["type"] for layer in heat_map(wide)["layer"]] == ["rect"]  # no room for numbers


def test_the_gallery_tells_of_each_copy_what_was_predicted_and_what_speaks_against_it(run: Path) -> None:
    found, page = CopyRunFolder.load(run), Page(write_report(run))
    items = told(page)["items"]
    assert len(items) == POINTS + COPIES
    rank = {candidate: place for place, candidate in enumerate(found.ordering.candidates.tolist(), start=1)}
    flags = found.flags.frame.set_index("candidate")
    for item in items[POINTS:]:
        candidate = 3 * item["point"] + item["copy"]
        assert item["rank"] == rank[candidate]
        assert item["selected"] == (rank[candidate] <= 18)
        assert item["influence"] == pytest.approx(found.ordering.influence[item["rank"] - 1], rel=1e-5)
        assert ("reasons" in item, "disagreement" in item) == (candidate in flags.index,) * 2
    assert {candidate: item["reasons"] for candidate, item in enumerate(items[POINTS:]) if "reasons" in item} == {
        candidate: reasons(row, found.flags) for candidate, row in flags.to_dict("index").items()
    }
    for item in items[:POINTS]:
        assert item["copies"] == np.sum(found.ordering.selected // 3 == item["point"])
        assert item["score"] == pytest.approx(found.scores.values[item["point"]], rel=1e-5)
        assert (item["selected"], "rank" in item, "influence" in item) == (False, False, False)


def test_each_flagged_copy_is_shown_beside_its_point(run: Path) -> None:
    page, gallery = Page(write_report(run)), arrays_of(run / "gallery.npz")
    sources = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    found = [np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))) for source in sources]
    shown = Flags.load(run / "flags.parquet").worst(16)
    expected = [gallery["images"][number] for candidate in shown for number in (candidate // 3, POINTS + candidate)]
    np.testing.assert_array_equal(np.stack(found), np.stack(expected)[:, 0])


def test_a_page_without_flags_says_so(run: Path) -> None:
    flags = Flags.load(run / "flags.parquet")
    replace(flags, frame=flags.frame[:0]).save(run / "flags.parquet")
    assert "None of the 180 copies is flagged." in squeezed(Page(write_report(run)))


def test_all_copies_chosen_are_full_augmentation(run: Path) -> None:
    replace(make_ordering(), budget=None).save(run / "selection.parquet")
    assert "All 180 copies were selected, which is full augmentation." in squeezed(Page(write_report(run)))


def test_the_same_results_give_the_same_bytes_in_any_folder(tmp_path: Path) -> None:
    assert write_report(make_run(tmp_path / "first")).read_bytes() == write_report(make_run(tmp_path / "second")).read_bytes()


def test_hostile_names_are_shown_and_do_nothing(run: Path, hostile: Path) -> None:
    tame, page = Page(write_report(run)), Page(write_report(hostile))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in tame.elements]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.scripts[-2:] == tame.scripts[-2:]
    assert "<" not in "".join(page.scripts[:-2])
    assert {source[:5] for source in page.attributes("src", "href", "srcset", "data", "action", "poster")} == {"data:"}
    assert page.shown.count(HOSTILE) > 12


# Bad run folders


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "emptied", "cut"])
def test_a_missing_or_damaged_file_is_named(run: Path, name: str, damage: str) -> None:
    content = (run / name).read_bytes()
    (run / name).unlink()
    if damage != "missing":
        (run / name).write_bytes(b"" if damage == "emptied" else content[: len(content) // 2])
    told = "no such file" if damage == "missing" else "not a (readable|JSON)"
    with pytest.raises(InputError, match=rf"{re.escape(name)}: {told}"):
        write_report(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.full(240, 60)}, "shows a point outside 0 to 59; expected files of one run"),
        ({"copy_names": np.array(["a"] * 200)}, "scores.parquet: 12000 copies, but selection.parquet has 180; expected files of one run"),
        ({"copies": np.concatenate([np.full(60, -1), np.ones(180, np.int64)])}, "does not show copy \\d+, which flags.parquet flags"),
        ({"copies": np.concatenate([np.full(59, -1), [0], np.arange(180) % 3])}, "shows copies of point 59, and not the point"),
    ],
    ids=["unknown point", "other names", "flagged unseen", "no point"],
)
def test_a_gallery_that_contradicts_itself_or_the_selection_is_refused(run: Path, change: dict[str, Any], message: str) -> None:
    np.savez(run / "gallery.npz", **arrays_of(run / "gallery.npz") | change)
    with pytest.raises(InputError, match=message):
        write_report(run)


def test_files_of_another_run_are_refused(run: Path) -> None:
    curve = Curve.load(run / "curve.parquet")
    replace(curve, points=60).save(run / "curve.parquet")
    with pytest.raises(InputError, match=r"curve\.parquet: 60 copies, but selection\.parquet has 180; expected files of one run"):
        write_report(run)
    replace(curve, frame=curve.frame.drop(columns="loss")).save(run / "curve.parquet")
    with pytest.raises(InputError, match=r"curve\.parquet: holds no losses; expected the curve of a choice of copies"):
        write_report(run)
    curve.save(run / "curve.parquet")
    flags = Flags.load(run / "flags.parquet")
    replace(flags, frame=flags.frame.assign(candidate=[*flags.frame["candidate"][:2], 180])).save(run / "flags.parquet")
    with pytest.raises(InputError, match=r"flags\.parquet: tells of a copy outside 0 to 179; expected files of one run"):
        write_report(run)


def test_a_selection_of_copies_is_no_selection_of_points(run: Path) -> None:
    write_json(run / "config.json", read_json(run / "config.json") | {"unit": "points"})
    with pytest.raises(InputError, match=r"selection\.parquet: expected selection, found copies-ordering"):
        write_report(run)
