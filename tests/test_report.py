from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from augury.errors import InputError
from augury.evaluation import Curve
from augury.files import write_json
from augury.report import headline, summary_rows, write_report
from augury.report.charts import score_chart
from augury.scores import Scores
from augury.selection import Ordering, rank

CHOSEN, RANDOM = "influence, sampled, proportional", "random"
FILES = ("config.json", "versions.json", "scores.parquet", "selection.parquet", "curve.parquet", "gallery.npz")
HOSTILE = '</script><script>console.error("hostile")</script><img src=x onerror=console.error("hostile")>"\''


def make_ordering(points: int = 500, budget: int | None = 50, classes: tuple[str, ...] = ("cat", "dog")) -> Ordering:
    draw = np.random.default_rng(3)
    losses = draw.gamma(0.5, 0.5, points)
    labels = np.arange(points) % len(classes)
    origin = np.array([f"{classes[label]}/{i}.png" for i, label in enumerate(labels)])
    scores = Scores(losses**2, labels, losses, np.exp(-losses), "influence", classes, origin)
    return replace(rank(scores), budget=budget)


def make_curve(
    measured: Mapping[tuple[str, int], list[float]], *, none: float = 0.88, full: float = 0.932, points: int = 500, policy: str = CHOSEN
) -> Curve:
    rows = [(name, seed, budget, a) for (name, budget), accuracies in measured.items() for seed, a in enumerate(accuracies)]
    frame = pd.DataFrame(rows, columns=["policy", "seed", "budget", "accuracy"])
    return Curve(frame, none, full, points, {"policy": policy, "baseline": RANDOM, "test": "augmented", "test_images": 1500})


def at_50(chosen: float, random: float, **baselines: float) -> Curve:
    """Two seeds each, a little apart, with these means."""
    return make_curve({(CHOSEN, 50): [chosen - 0.001, chosen + 0.001], (RANDOM, 50): [random - 0.002, random + 0.002]}, **baselines)


# Headline


TENTH, USUAL = "10 % of the points (50 of 500)", "accuracy 93.1 % against 88.0 % without and 93.2 % with full augmentation"
MOST = f"{TENTH} gave 97 % of full augmentation's gain"
ONE_SEED = "Only one seed was measured, so the spread is unknown."
HEADLINES = {
    "share": (at_50(0.9306, 0.9117), MOST, f"{USUAL}; as many random points gave 61 %."),
    "above full": (
        at_50(0.9420, 0.9117),
        f"{TENTH} gave more than full augmentation, 119 % of its gain",
        "accuracy 94.2 % against 88.0 % without and 93.2 % with full augmentation; as many random points gave 61 %.",
    ),
    "lost": (
        at_50(0.8746, 0.9117),
        f"{TENTH} lost accuracy",
        "87.5 % against 88.0 % without and 93.2 % with full augmentation; as many random points gave 61 % of full augmentation's gain.",
    ),
    "random better": (at_50(0.9306, 0.9420), MOST, f"{USUAL}; as many random points gave more, 119 %."),
    "random lost": (at_50(0.9306, 0.8746), MOST, f"{USUAL}; as many random points lost accuracy (87.5 %)."),
    "nothing to gain": (
        at_50(0.8846, 0.8794, full=0.88),
        "Full augmentation gained nothing",
        f"accuracy 88.00 % with it against 88.00 % without; {TENTH} gave 88.46 %, as many random points 87.94 %.",
    ),
    "full lost": (
        at_50(0.8846, 0.8794, full=0.86),
        "Full augmentation lost accuracy",
        f"86.0 % with it against 88.0 % without; {TENTH} gave 88.5 %, as many random points 87.9 %.",
    ),
    "within the spread": (
        at_50(0.8924, 0.8805, full=0.882),
        "Full augmentation gained 0.20 points, no more than draws differ",
        f"accuracy 88.20 % with it against 88.00 % without; {TENTH} gave 89.24 %, as many random points 88.05 %.",
    ),
    "close baselines": (
        make_curve({(CHOSEN, 50): [0.8814, 0.8816], (RANDOM, 50): [0.8804, 0.8806]}, full=0.882),
        f"{TENTH} gave 75 % of full augmentation's gain",
        "accuracy 88.15 % against 88.00 % without and 88.20 % with full augmentation; as many random points gave 25 %.",
    ),
    "one seed": (
        make_curve({(CHOSEN, 50): [0.9306], (RANDOM, 50): [0.9117]}),
        MOST,
        f"{USUAL}; as many random points gave 61 %. {ONE_SEED}",
    ),
    "one seed of a ranked policy": (
        make_curve({(CHOSEN, 50): [0.9306], (RANDOM, 50): [0.9107, 0.9127]}),
        MOST,
        f"{USUAL}; as many random points gave 61 %.",
    ),
    "no random baseline": (make_curve({(CHOSEN, 50): [0.93, 0.9312]}), MOST, f"{USUAL}."),
    "random is the policy": (
        make_curve({(RANDOM, 50): [0.9107, 0.9127]}, policy=RANDOM),
        f"{TENTH} gave 61 % of full augmentation's gain",
        "accuracy 91.2 % against 88.0 % without and 93.2 % with full augmentation.",
    ),
}


@pytest.mark.parametrize(("curve", "claim", "evidence"), HEADLINES.values(), ids=HEADLINES)
def test_the_headline_says_in_words_what_the_selection_was_worth(curve: Curve, claim: str, evidence: str) -> None:
    assert headline(curve, make_ordering()) == f"{claim}: {evidence}"


def test_the_headline_of_a_whole_selection_says_that_it_is_full_augmentation() -> None:
    words = "All 500 points were selected, which is full augmentation: accuracy 93.2 % against 88.0 % without."
    assert headline(at_50(0.9306, 0.9117), make_ordering(budget=None)) == words


def test_the_headline_gives_small_shares_and_large_counts_legibly() -> None:
    curve = make_curve({(CHOSEN, 20): [0.9, 0.902], (RANDOM, 20): [0.89, 0.892]}, points=12_000)
    assert headline(curve, make_ordering(12_000, 20)).startswith("0.167 % of the points (20 of 12,000) gave 40 % of")


def test_a_curve_that_names_no_measured_policy_is_refused() -> None:
    with pytest.raises(InputError, match="curve: its cause names the policy 'entropy'; expected one that was measured: influence"):
        headline(make_curve({(CHOSEN, 50): [0.9]}, policy="entropy"), make_ordering())


def test_a_curve_without_the_selections_budget_is_refused() -> None:
    with pytest.raises(InputError, match=r"curve: no accuracy of the policy 'influence, .*' at the selection's budget of 40; measure it"):
        headline(at_50(0.9306, 0.9117), make_ordering(budget=40))


# Summary


def test_the_summary_lists_both_baselines_and_every_policy_at_the_selections_budget() -> None:
    measured = {(RANDOM, 50): [0.9107, 0.9127], (CHOSEN, 10): [0.9, 0.9], ("ranked", 50): [0.8746], (CHOSEN, 50): [0.9296, 0.9316]}
    assert summary_rows(make_curve(measured), make_ordering()) == [
        ("no augmentation", "0", "88.0 %", "0 %"),
        (CHOSEN, "50", "93.1 ± 0.1 %", "97 %"),
        (RANDOM, "50", "91.2 ± 0.1 %", "61 %"),
        ("ranked", "50", "87.5 %", "−10 %"),
        ("full augmentation", "500", "93.2 %", "100 %"),
    ]


def test_the_summary_shows_no_share_of_a_gain_that_is_none() -> None:
    rows = summary_rows(at_50(0.8846, 0.8794, full=0.86), make_ordering())
    assert {row.share for row in rows} == {"—"}


def test_the_summary_of_a_whole_selection_is_the_two_baselines() -> None:
    rows = summary_rows(at_50(0.9306, 0.9117), make_ordering(budget=500))
    assert [row.policy for row in rows] == ["no augmentation", "full augmentation"]


# Score chart


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60), st.integers(0, 2**32))
def test_the_histograms_bars_hold_every_point_and_every_selected_point(values: list[float], seed: int) -> None:
    points = len(values)
    draw = np.random.default_rng(seed)
    selected = draw.permutation(points)[: draw.integers(1, points, endpoint=True)]
    zeros = np.zeros(points)
    scores = Scores(np.array(values), np.zeros(points, dtype=np.int64), zeros, zeros, "loss", ("a",), np.arange(points).astype(str))
    (bars,) = score_chart(scores, selected)["datasets"].values()
    counted = pd.DataFrame(bars).groupby("kind")["points"].sum()
    assert counted.to_dict() == {"all points": points, "selected points": len(selected)}


# Page


def make_images(points: int, channels: int = 1, side: int = 8) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (points, channels, side, side), dtype=np.uint8)


def make_gallery(ordering: Ordering, images: npt.NDArray[np.uint8], copy_names: tuple[str, ...] = ("left", "right")) -> dict[str, Any]:
    """All points, and the copies of three chosen ones."""
    chosen, everyone = np.repeat(ordering.selected[:3], 2), np.arange(len(images))
    copies = np.concatenate([np.roll(images[i : i + 1], step, axis=-1) for i in ordering.selected[:3] for step in (-1, 1)])
    return {
        "points": np.concatenate([everyone, chosen]),
        "copies": np.concatenate([np.full(len(images), -1), np.tile([0, 1], 3)]),
        "images": np.concatenate([images, copies]),
        "copy_names": np.array(copy_names),
    }


def make_run(folder: Path, *, name: str = "digits", classes: tuple[str, ...] = ("cat", "dog"), policy: str = CHOSEN) -> Path:
    """A run folder whose files agree with each other, the hostile text wherever the caller puts it."""
    folder.mkdir()
    ordering = make_ordering(200, 20, classes)
    climb = {budget: 0.88 + 0.052 * (1 - np.exp(-budget / 30)) for budget in (1, 20, 100)}
    measured = {(policy, b): [a, a + 0.002, a + 0.003] for b, a in climb.items()} | {(RANDOM, b): [a - 0.02] * 3 for b, a in climb.items()}
    curve = make_curve(measured, points=200, policy=policy)
    ordering.scores.save(folder / "scores.parquet")
    ordering.save(folder / "selection.parquet")
    curve.save(folder / "curve.parquet")
    np.savez_compressed(folder / "gallery.npz", **make_gallery(ordering, make_images(200), ("left", name)))
    config = {"data": name, "transform": "translate:1", "classes": None, "first": 200, "test_copies": True, "own": ["a", name], "seed": 0}
    write_json(folder / "config.json", config | {"command": f"augury run {name} --out DIR"})
    write_json(folder / "versions.json", {"augury": "0.1.0", "machine": name})
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A run in which every text that a user can choose tries to break out of the page."""
    return make_run(tmp_path / "hostile", name=HOSTILE, classes=(f"cat{HOSTILE}", HOSTILE), policy=f"influence{HOSTILE}")


class Page(HTMLParser):
    """A written report as a browser parses it: its elements, the text it shows, and its scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.shown = ""
        self.scripts: list[str] = []
        self.style = ""
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in ("script", "style"):
            self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, text: str) -> None:
        if self._inside == "script":
            self.scripts.append(text)
        elif self._inside == "style":
            self.style += text
        else:
            self.shown += text

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def attributes(self, *names: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements for name in names if name in attributes]


def charts(page: Page) -> list[dict[str, Any]]:
    return [json.loads(script) for script in page.scripts if script.startswith('{"$schema"')]


def test_the_page_tells_headline_settings_command_and_versions(run: Path) -> None:
    shown = Page(write_report(run)).shown
    assert "10\u00a0% of the points (20 of 200) gave 52\u00a0% of full augmentation’s gain." in shown
    assert "Accuracy 90.7\u00a0% against 88.0\u00a0% without and 93.2\u00a0% with full augmentation; as many random points" in shown
    assert "augmented test set (1,500 images)" in shown
    for told in ("augury run digits --unit points --out DIR", "translate:1", "a, digits", "test_copies", "yes", "0.1.0"):
        assert told in shown


def told(page: Page) -> dict[str, Any]:
    """What the gallery's script reads."""
    found: dict[str, Any] = next(json.loads(script) for script in page.scripts if script.startswith('{"classes"'))
    return found


def tiles(page: Page) -> list[npt.NDArray[np.uint8]]:
    """The gallery's images, cut out of their sheet as the script cuts them."""
    sheet = told(page)["sheet"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["source"].split(",")[1]))))
    places = [divmod(number, sheet["columns"]) for number in range(len(told(page)["items"]))]
    corners = [(row * sheet["down"], column * sheet["across"]) for row, column in places]
    return [pixels[top : top + sheet["height"], left : left + sheet["width"]] for top, left in corners]


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """All of a file's arrays."""
    with np.load(path) as stored:
        return dict(stored)


def test_the_gallery_tells_every_points_label_origin_and_numbers(run: Path) -> None:
    ordering, found = Ordering.load(run / "selection.parquet"), told(Page(write_report(run)))
    frame = ordering.to_frame().set_index("index")
    assert [item["point"] for item in found["items"]] == arrays_of(run / "gallery.npz")["points"].tolist()
    for item in found["items"]:
        row = frame.loc[item["point"]]
        assert (found["classes"][item["label"]], item["origin"], item["selected"], item["rank"]) == tuple(
            row[["label", "origin", "selected", "rank"]]
        )
        for name in ("score", "loss", "probability"):
            assert item[name] == pytest.approx(row[name], rel=1e-5)


def test_the_gallerys_pixels_are_the_images(run: Path) -> None:
    found = tiles(Page(write_report(run)))
    np.testing.assert_array_equal(np.stack(found), arrays_of(run / "gallery.npz")["images"][:, 0])


def test_large_pictures_in_colour_are_reduced_and_do_not_run_into_each_other(run: Path) -> None:
    white, black = np.full((100, 3, 300, 200), 255, np.uint8), np.zeros((100, 3, 300, 200), np.uint8)
    images = np.stack([white, black], axis=1).reshape(200, 3, 300, 200)
    np.savez(run / "gallery.npz", **make_gallery(Ordering.load(run / "selection.parquet"), images))
    page = Page(write_report(run))
    assert told(page)["sheet"]["source"].startswith("data:image/jpeg;base64,")
    assert {tile.shape for tile in tiles(page)} == {(96, 64, 3)}
    assert all(np.ptp(tile) <= 2 for tile in tiles(page))


def test_a_page_of_1000_images_that_compress_as_badly_as_any_stays_below_8_mb(run: Path) -> None:
    noise = make_images(1000, channels=3, side=96)
    gallery = {"points": np.arange(1000) % 200, "copies": np.arange(1000) % 3 - 1, "images": noise, "copy_names": np.array(["a", "b"])}
    np.savez(run / "gallery.npz", **gallery)
    assert write_report(run).stat().st_size < 8e6


def test_the_accuracy_chart_holds_each_policys_means_and_intervals_between_the_baselines(run: Path) -> None:
    curve = Curve.load(run / "curve.parquet")
    drawn = pd.concat([pd.DataFrame(rows) for rows in charts(Page(write_report(run)))[0]["datasets"].values()])
    for policy in curve.policies:
        path = drawn[(drawn["policy"] == policy) & drawn["low"].notna()]
        summary = curve.summary().query("policy == @policy")
        assert path["budget"].tolist() == [0, 1, 20, 100, 200]
        np.testing.assert_allclose(path["mean"], 100 * np.array([curve.none, *summary["mean"], curve.full]))
        np.testing.assert_allclose(path["low"], 100 * np.array([curve.none, *summary["low"], curve.full]))
        np.testing.assert_allclose(path["high"], 100 * np.array([curve.none, *summary["high"], curve.full]))


def test_a_run_that_selects_every_point_is_reported(run: Path) -> None:
    replace(Ordering.load(run / "selection.parquet"), budget=None).save(run / "selection.parquet")
    assert "All 200 points were selected, which is full augmentation." in Page(write_report(run)).shown


def test_the_same_results_give_the_same_bytes_in_any_folder(tmp_path: Path) -> None:
    first = write_report(make_run(tmp_path / "first")).read_bytes()
    alt.layer(alt.Chart(pd.DataFrame({"a": [1]})).mark_point().encode(x="a:Q").interactive()).to_dict()
    assert write_report(make_run(tmp_path / "second")).read_bytes() == first


def test_hostile_names_are_shown_and_do_nothing(run: Path, hostile: Path) -> None:
    tame, page = Page(write_report(run)), Page(write_report(hostile))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in tame.elements]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.scripts[-2:] == tame.scripts[-2:]
    assert "<" not in "".join(page.scripts[:-2])
    assert f"influence{HOSTILE}" in charts(page)[0]["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert page.shown.count(HOSTILE) > 12  # title, facts, policies, settings, classes, transformation, tables


def test_the_page_loads_nothing_from_outside(run: Path) -> None:
    page = Page(write_report(run))
    assert {source[:5] for source in page.attributes("src", "href", "srcset", "data", "action", "poster")} == {"data:"}
    assert not re.search(r"url\(|@import", page.style)
    assert not {tag for tag, _ in page.elements} & {"iframe", "object", "embed", "form", "base", "video", "audio", "source"}


def test_the_security_policy_allows_the_pages_own_script_and_style_alone(run: Path) -> None:
    page = Page(write_report(run))
    policy = next(attributes["content"] for _, attributes in page.elements if attributes.get("http-equiv") == "Content-Security-Policy")
    allowed = dict(directive.split(" ", 1) for directive in policy.split("; "))
    *scripts, style = (
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (*page.scripts[-2:], page.style)
    )
    assert allowed == {
        "default-src": "'none'",
        "script-src": " ".join(scripts),
        "style-src": style,
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


# Bad run folders


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_and_an_earlier_report_stays(run: Path, name: str) -> None:
    before = write_report(run).read_bytes()
    (run / name).unlink()
    with pytest.raises(InputError, match=rf"{re.escape(name)}: no such file"):
        write_report(run)
    assert (run / "report.html").read_bytes() == before


@pytest.mark.parametrize("damage", ["emptied", "cut", "overwritten"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(run: Path, name: str, damage: str) -> None:
    content = (run / name).read_bytes()
    damaged = {"emptied": b"", "cut": content[: len(content) // 2], "overwritten": bytes(range(256)) * 4}
    (run / name).write_bytes(damaged[damage])
    with pytest.raises(InputError, match=rf"{re.escape(name)}: not a (readable|JSON)"):
        write_report(run)


def test_a_gallery_of_pickles_is_refused_unopened(run: Path) -> None:
    gallery = arrays_of(run / "gallery.npz")
    np.savez(run / "gallery.npz", **gallery | {"copy_names": np.array([print, None], dtype=object)})
    with pytest.raises(InputError, match=r"gallery\.npz: not a readable gallery \(Object arrays cannot be loaded"):
        write_report(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.full(206, 0.5)}, r"points is float64 of shape \(206,\); expected an integer index for each image"),
        ({"copies": np.full(3, -1)}, r"copies is int64 of shape \(3,\); expected an integer index for each image"),
        ({"images": np.zeros((206, 1, 8, 8))}, r"images is float64 of shape \(206, 1, 8, 8\); expected 206 grey or RGB uint8 images"),
        ({"images": np.zeros((206, 2, 8, 8), np.uint8)}, "images is uint8 .* expected 206 grey or RGB uint8 images"),
        ({"copy_names": np.array(["left"])}, "shows copy 1 of a point, and names 1;"),
        ({"copy_names": np.array([], dtype=str)}, "copy_names is .* expected the name of each copy of a point"),
        ({"points": np.arange(206)}, "shows a point outside 0 to 199; expected files of one run"),
    ],
    ids=["fractional indices", "too few indices", "float pixels", "two channels", "unnamed copy", "no names", "unknown point"],
)
def test_a_gallery_that_contradicts_itself_or_the_selection_is_refused(run: Path, change: dict[str, Any], message: str) -> None:
    gallery = arrays_of(run / "gallery.npz")
    np.savez(run / "gallery.npz", **gallery | change)
    with pytest.raises(InputError, match=rf"gallery\.npz: {message}"):
        write_report(run)


def test_a_curve_of_another_run_is_refused(run: Path) -> None:
    at_50(0.9306, 0.9117).save(run / "curve.parquet")
    with pytest.raises(InputError, match=r"curve\.parquet: 500 points, but selection\.parquet has 200; expected files of one run"):
        write_report(run)
