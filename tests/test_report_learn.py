"""The report of `augury learn`: its words, its figures, its page."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from base64 import b64decode, b64encode
from collections.abc import Mapping
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from augury.errors import InputError
from augury.files import write_json, write_table
from augury.report.learn_run import headline, rows, write_learn_report
from augury.report.learn_run.plots import LISTED, UNIFORM, listed
from augury.report.learn_run.words import check_words

HOSTILE = "</style><script>alert(1)</script><img src=x>\"'"
FIGURES = ("accuracy", "check", "interpolation", "examples", "flows", "components", "history")


def results(accuracies: Mapping[str, list[float]]) -> pd.DataFrame:
    """A row a network, with 100 labels and a loss that follows from the accuracy."""
    found = [(name, seed, one, 1 - one, 80, 20, 500) for name, own in accuracies.items() for seed, one in enumerate(own)]
    return pd.DataFrame(found, columns=["augmentation", "seed", "accuracy", "loss", "train_labels", "target_labels", "test_images"])


GAINED = {"learned": [0.96, 0.97, 0.965], "crop": [0.93, 0.941, 0.935], "affine": [0.94, 0.951, 0.944]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_learned(tmp_path)


def make_learned(tmp_path: Path) -> Path:
    """What the stages write, made up."""
    draw = np.random.default_rng(0)
    config = {"kind": "learn", "data": HOSTILE, "rule": "choice", "transformation": "bounded", "steps": 10, "share": 0.8, "model": "tiny"}
    write_json(tmp_path / "config.json", config | {"command": f"augury learn {HOSTILE}", "training": {"epochs": 1}})
    write_json(tmp_path / "versions.json", {"augury": "0", "torch": "2"})
    history = pd.DataFrame({"fold": [0, 0, 1, 1], "step": [1, 2, 1, 2], "effect": draw.normal(size=4), "kept": draw.normal(size=4)})
    write_table(tmp_path / "history.parquet", history.assign(divergence=draw.random(4)), {"kind": "history"})
    components = pd.DataFrame({"component": [f"c_{i}" for i in range(40)], "mean": np.linspace(-0.4, 0.4, 40), "deviation": UNIFORM})
    components["divergence"] = 4 * components["mean"].abs()
    write_table(tmp_path / "components.parquet", components, {"kind": "components"})
    predicted = draw.normal(size=30)
    check = pd.DataFrame({"predicted": predicted, "measured": 0.5 * predicted})
    write_table(tmp_path / "check.parquet", check, {"kind": "check", "batch": 16, "train": 80, "target": 20})
    write_table(
        tmp_path / "results.parquet", results(GAINED), {"kind": "learn-results", "words": "100 labels: 80 to train on, 20 as target"}
    )
    np.savez(tmp_path / "gallery.npz", **pictures(draw))
    return tmp_path


def pictures(draw: np.random.Generator, channels: int = 1) -> dict[str, np.ndarray]:
    def images(*shape: int) -> np.ndarray:
        return draw.integers(0, 256, (*shape, channels, 8, 8), dtype=np.uint8)

    arrays = {"strip_warped": images(2, 10), "strip_images": images(2, 10), "grid_before": images(4), "grid_after": images(4, 3)}
    arrays |= {"strip_flow": draw.normal(size=(2, 10, 2, 8, 8)), "strip_change": draw.normal(size=(2, 10, channels, 8, 8))}
    return arrays | {"grid_flow": draw.normal(size=(4, 3, 2, 8, 8)), "grid_labels": np.array(["a", "b", "c", "d"])}


class Reader(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


# Words


def test_the_headline_tells_a_gain_over_the_best_other_with_its_interval() -> None:
    claim, evidence = headline(results(GAINED))
    assert claim == "The learned augmentation gained 2.00 points over the best other, affine"
    assert (
        "Test accuracy 96.50 % against 94.50 % with affine, test loss 0.0350 against 0.0550, with the same 100 labels in every row"
        in evidence
    )
    ahead = np.subtract(GAINED["learned"], GAINED["affine"])
    low, high = stats.ttest_1samp(ahead, 0).confidence_interval()  # an independent interval
    assert f"+2.00 points [{100 * low:+.2f}, {100 * high:+.2f}], over 3 networks each" in evidence


@pytest.mark.parametrize(
    ("accuracies", "claim"),
    [
        (
            {"learned": [0.9, 0.95], "crop": [0.92, 0.93]},
            "The learned augmentation and the best other, crop, differ by no more than networks do",
        ),
        ({"learned": [0.900, 0.901], "crop": [0.950, 0.951]}, "The learned augmentation fell 5.00 points short of the best other, crop"),
        ({"learned": [0.9], "crop": [0.95]}, "The learned augmentation came 5.00 points below the best other, crop"),
        ({"learned": [0.95], "crop": [0.95]}, "The learned augmentation came out level with the best other, crop"),
        ({"learned": [0.96], "crop": [0.95]}, "The learned augmentation came 1.00 points above the best other, crop"),
    ],
)
def test_the_headline_claims_no_more_than_was_measured(accuracies: dict[str, list[float]], claim: str) -> None:
    assert headline(results(accuracies))[0] == claim


def test_the_headline_says_where_the_test_images_are_not_such_as_the_targets() -> None:
    claim, evidence = headline(results(GAINED), elsewhere=True)
    assert claim == "On the training data's own test images the learned augmentation gained 2.00 points over the best other, affine"
    assert evidence.endswith("Of images such as the target's this tells nothing: test on labelled ones (--test).")
    assert evidence.startswith(headline(results(GAINED))[1])


def test_a_single_network_has_no_spread() -> None:
    found = rows(results({"learned": [0.9], "crop": [0.95]}))
    assert [row.name for row in found] == ["learned", "crop"]
    assert math.isnan(found[0].deviation)
    assert found[1].cells == ("95.00 %", "0.0500", "-5.00", "80", "20", "1")
    assert "A single network was fitted with each" in headline(results({"learned": [0.9], "crop": [0.95]}))[1]


def test_correlation_and_slope_of_a_line_are_its_own() -> None:
    predicted = np.linspace(-1, 1, 9)
    assert check_words(pd.DataFrame({"predicted": predicted, "measured": 0.5 * predicted + 1})) == (pytest.approx(1), pytest.approx(0.5))
    assert all(map(math.isnan, check_words(pd.DataFrame({"predicted": predicted, "measured": 0 * predicted}))))


def test_components_that_differ_most_from_uniform_are_listed_in_their_order() -> None:
    components = pd.DataFrame({"component": [f"c{i}" for i in range(60)], "mean": 0.0, "deviation": UNIFORM})
    components.loc[50:, "mean"] = 0.5
    components.loc[3, "deviation"] = 0.1
    assert listed(components)["component"].tolist() == ["c3", *(f"c{i}" for i in range(50, 60))]
    components["mean"] = np.linspace(0.1, 0.5, 60)
    assert listed(components)["component"].tolist() == ["c3", *(f"c{i}" for i in range(61 - LISTED, 60))]
    assert len(listed(components.assign(mean=0.0, deviation=UNIFORM))) == LISTED  # nothing was learned


# Page


CHARTS = ("accuracy", "check", "components", "effect", "divergence")


def charts(page: str) -> dict[str, pd.DataFrame]:
    """The numbers of each chart of a page."""
    found = re.findall(r'<script type="application/json" id="(\w+)-chart">(.*?)</script>', page, re.DOTALL)
    return {name: pd.concat([pd.DataFrame(rows) for rows in json.loads(text)["datasets"].values()]) for name, text in found}


def test_the_page_tells_the_numbers_shows_every_picture_and_loads_nothing(folder: Path) -> None:
    page = write_learn_report(folder).read_text(encoding="utf-8")
    reader = Reader(page)
    shown = [str(attributes["src"]) for tag, attributes in reader.tags if tag == "img"]
    assert sorted(path.stem for path in (folder / "figures").iterdir()) == sorted(FIGURES)
    assert len(shown) == 4 * (1 + 3) + 2 * 5 * 10 + 1  # before and after; strips of five stages; flows
    assert b64decode(shown[-1].removeprefix("data:image/png;base64,")) == (folder / "figures" / "flows.png").read_bytes()
    assert not [attributes for _, attributes in reader.tags if not str(attributes.get("src", "data:")).startswith("data:")]
    words = re.sub(r"\s+", " ", " ".join(reader.words))
    for told in ("96.50 % ± 0.50", "100 labels: 80 to train on, 20 as target", "r = 1.000", "0.50, 1 being exact", "12 others"):
        assert told in words


def test_what_was_foreseen_stands_beside_what_came(folder: Path) -> None:
    assert "foreseen" not in write_learn_report(folder).read_text(encoding="utf-8")
    foreseen = pd.DataFrame({"augmentation": ["learned", "affine"], "agreement": [0.875, -0.25], "loss": [1.25, 2.5]})
    write_table(folder / "foreseen.parquet", foreseen, {"kind": "foreseen"})
    words = re.sub(r"\s+", " ", " ".join(Reader(write_learn_report(folder).read_text(encoding="utf-8")).words))
    table = words[words.index("foreseen agreement") : words.index("Means over networks")]
    cells = {name: re.split(r" learned | affine | crop ", table.split(f" {name} ")[1])[0].split()[-2:] for name in GAINED}
    assert cells == {"learned": ["3", "0.875"], "affine": ["3", "−0.250"], "crop": ["3", "—"]}


@pytest.mark.parametrize(
    ("divergences", "told"),
    [
        ({"c_7": 1.1, "c_2": 3.0, "c_3": 1.0}, "laid over trivialaugment: c 2, c 7."),
        ({}, "laid over trivialaugment: nothing, so that both rows are the same."),
    ],
)
def test_the_page_tells_what_is_laid_over_another_augmentation(folder: Path, divergences: dict[str, float], told: str) -> None:
    plain = write_learn_report(folder).read_text(encoding="utf-8")
    components = pd.read_parquet(folder / "components.parquet")
    components["divergence"] = components["component"].map(divergences).fillna(0.1)
    write_table(folder / "components.parquet", components, {"kind": "components"})
    write_json(folder / "config.json", json.loads((folder / "config.json").read_text()) | {"before": "trivialaugment"})
    assert told in write_learn_report(folder).read_text(encoding="utf-8")
    write_table(folder / "components.parquet", components.assign(divergence=math.nan), {"kind": "components"})  # E draws no taus
    assert all("laid over" not in page for page in (plain, write_learn_report(folder).read_text(encoding="utf-8")))


def test_before_and_after_are_the_gallerys_pixels(folder: Path) -> None:
    reader = Reader(write_learn_report(folder).read_text(encoding="utf-8"))
    sources = [str(attributes["src"]) for tag, attributes in reader.tags if tag == "img"][:16]
    found = [np.asarray(Image.open(BytesIO(b64decode(source.removeprefix("data:image/png;base64,")))))[..., 0] for source in sources]
    with np.load(folder / "gallery.npz") as stored:
        arrays = dict(stored)
    expected = [*arrays["grid_before"][:, 0], *(image for draw in range(3) for image in arrays["grid_after"][:, draw, 0])]
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))


def test_the_charts_hold_the_results(folder: Path) -> None:
    found = charts(write_learn_report(folder).read_text(encoding="utf-8"))
    assert tuple(found) == CHARTS
    networks = found["accuracy"].dropna(subset="accuracy")
    for name, own in GAINED.items():
        np.testing.assert_allclose(networks.loc[networks["augmentation"] == name, "accuracy"], 100 * np.array(own))
        mean = found["accuracy"].dropna(subset="mean").set_index("augmentation").loc[name]
        interval = stats.ttest_1samp(own, 0).confidence_interval()
        np.testing.assert_allclose(mean[["mean", "low", "high"]].astype(float), 100 * np.array([np.mean(own), *interval]))
    batches, truth = found["check"].dropna(subset="batch"), pd.read_parquet(folder / "check.parquet")
    np.testing.assert_allclose(batches[["predicted", "measured"]], truth[["predicted", "measured"]])
    fitted = found["check"].query("line == 'fitted'")
    np.testing.assert_allclose(fitted["measured"], 0.5 * fitted["predicted"], atol=1e-12)
    history = pd.read_parquet(folder / "history.parquet")
    np.testing.assert_allclose(found["divergence"]["value"], history["divergence"])
    np.testing.assert_allclose(found["effect"]["value"], [*history["effect"], *history["kept"]])
    assert found["effect"]["fold"].tolist() == ["fold 1", "fold 1", "fold 2", "fold 2"] * 2
    assert found["components"]["component"].dropna().tolist() == [
        f"c {i}" for i in listed(pd.read_parquet(folder / "components.parquet")).index
    ]


def test_a_single_network_and_predictions_that_never_change_are_drawn_too(folder: Path) -> None:
    write_table(folder / "results.parquet", results({"learned": [0.9], "crop": [0.95]}), {"kind": "learn-results", "words": "few"})
    write_table(
        folder / "check.parquet",
        pd.DataFrame({"predicted": [0.1, 0.2], "measured": 0.0}),
        {"kind": "check", "batch": 16, "train": 80, "target": 20},
    )
    page = write_learn_report(folder).read_text(encoding="utf-8")
    assert "No batch changed anything, so nothing can be said." in page
    assert set(charts(page)["check"]["line"].dropna()) == {"exact"}


def test_hostile_names_stay_text_and_the_policy_allows_the_pages_own_style_and_script_alone(folder: Path) -> None:
    page = write_learn_report(folder).read_text(encoding="utf-8")
    reader = Reader(page)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert [attributes.get("type") for tag, attributes in reader.tags if tag == "script"] == ["application/json"] * len(CHARTS) + [None]
    assert HOSTILE in "".join(reader.words)
    (policy,) = (str(attributes["content"]) for tag, attributes in reader.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert f"style-src 'sha256-{b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
    assert f"script-src 'sha256-{b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()}';" in policy
    assert "default-src 'none'" in policy


def test_the_same_results_give_the_same_bytes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = shutil.copytree(folder, tmp_path_factory.mktemp("other") / "run")
    written = [
        {path.name: path.read_bytes() for path in write_learn_report(one).parent.rglob("*.*") if path.suffix in (".png", ".html")}
        for one in (folder, other)
    ]
    assert written[0] == written[1]


def test_pictures_keep_their_pixels_and_a_line_of_taus_has_five_rows(folder: Path) -> None:
    write_learn_report(folder)
    strips = Image.open(BytesIO((folder / "figures" / "interpolation.png").read_bytes()))
    with np.load(folder / "gallery.npz") as stored:
        shown = stored["strip_images"]
    scale, labels, gap, space = 10, 74, 5, 22
    assert strips.size == (labels + 10 * (8 * scale + gap), 2 * 5 * (8 * scale + gap) + gap + space)
    pixels = np.asarray(strips)
    top = gap + 4 * (8 * scale + gap)  # the first image's last row: results
    for tau in (0, 9):
        left = labels + tau * (8 * scale + gap)
        block = pixels[top + scale // 2 : top + 8 * scale : scale, left + scale // 2 : left + 8 * scale : scale, 0]
        assert np.array_equal(block, shown[0, tau, 0])


def test_colour_pictures_and_a_transformation_without_flow_are_drawn_too(folder: Path) -> None:
    np.savez(folder / "gallery.npz", **pictures(np.random.default_rng(1), 3) | {"grid_flow": np.zeros((4, 3, 2, 8, 8))})
    page = write_learn_report(folder).read_text(encoding="utf-8")
    assert not (folder / "figures" / "flows.png").exists()
    assert [tag for tag, _ in Reader(page).tags].count("img") == 4 * (1 + 3) + 2 * 5 * 10
    assert "<h3>Flows</h3>" not in page


@pytest.mark.parametrize(
    "name", ["config.json", "history.parquet", "components.parquet", "check.parquet", "results.parquet", "gallery.npz"]
)
def test_a_missing_result_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file"):
        write_learn_report(folder)


def test_contradictory_results_are_refused(folder: Path) -> None:
    write_table(folder / "results.parquet", results({"crop": [0.9]}), {"kind": "learn-results", "words": ""})
    with pytest.raises(InputError, match=r"results\.parquet: no row of the learned augmentation"):
        write_learn_report(folder)
    write_json(folder / "config.json", {"data": "digits"})
    with pytest.raises(InputError, match=r"config\.json: not of `augury learn`"):
        write_learn_report(folder)
