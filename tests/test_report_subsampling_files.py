"""A sweep's folder as its report reads and writes it: cells in, figures and pages out, the same bytes for the same cells."""

from __future__ import annotations

import importlib
import re
import shutil
import struct
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from augury.cells import Cells
from augury.errors import InputError
from augury.files import read_table
from augury.report import subsampling
from augury.report.subsampling import paper, write_sweep_report
from augury.report.subsampling.figures import pictures
from augury.report.subsampling.figures.canvas import GREEN, RED, render
from augury.report.subsampling.figures.images import draw_images, size_of
from augury.report.subsampling.markdown import number, probability, table
from augury.report.subsampling.paper import RANDOM, RANKED
from augury.report.subsampling.sweep import IMAGES, KINDS, Sweep
from test_report_subsampling import AT_RANDOM, VSV, Accuracies, curves, flat, setting, sweep_of

KEY = {"preset": "code", "features": "pixels", "C": "1"}
GRID = (1, 2, 10, 40)
SEEDS: Accuracies = {budget: [0.6 + budget / 200, 0.62 + budget / 200] for budget in GRID}
MEASURED = {AT_RANDOM: SEEDS, ("influence", RANDOM[0]): flat(0.8, GRID), ("loss", RANKED[0]): flat(0.82, GRID), VSV: {7: [0.85]}}
LARGEST = 200_000  # bytes of a figure


def scores_of(task: str, points: int = 40) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    frames = []
    for method in paper.SCORES:
        initial = draw.gamma(0.5, 1, points)
        columns = {"method": method, "point": np.arange(points), "label": "a", "initial": initial, "final": initial**2}
        frames.append(pd.DataFrame({"task": task, **KEY} | columns))
    return pd.concat(frames, ignore_index=True)


def write_cells(folder: Path, task: str = "digits-flip", names: tuple[str, ...] = ("curves", "settings", "scores")) -> Path:
    frames = {
        "curves": curves(task, KEY, MEASURED),
        "settings": setting(task, KEY, train_points=40),
        "scores": scores_of(task),
    }
    for name in names:
        Cells(folder / name, KINDS[name][0]).write("group", task, frames[name])
    return folder


def make_images(count: int = 10, channels: int = 1) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(2)
    return {name: draw.integers(0, 256, (count, channels, 8, 8), dtype=np.uint8) for name in IMAGES}


def drawn(sweep: Sweep, name: str) -> Figure:
    """A figure as matplotlib holds it, before it becomes pixels."""
    (picture,) = (found for found in pictures(sweep) if found.name == name)
    figure = Figure(figsize=picture.size)
    picture.draw(figure)
    return figure


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small task of one's own, reported."""
    folder = write_cells(tmp_path_factory.mktemp("sweep"))
    (folder / "images").mkdir()
    np.savez(folder / "images" / "digits.npz", **make_images())
    return write_sweep_report(folder)


# Pages


def test_the_report_links_to_everything_that_was_written(report: Path) -> None:
    text = report.read_text()
    linked = {report.parent / link for link in re.findall(r"\]\(([^)]+)\)", text)}
    written = {path for path in report.parent.rglob("*") if path.suffix in (".md", ".png")} - {report}
    assert linked == written
    assert "| digits-flip | code | pixels | 84 | — | 1 | 40 | 4 | 10 | 50 | 50.00 | 90.00 | 88.00 | 97.00 | 98.00 | 5 | 2 | — |" in text


def test_figures_are_small_and_hold_no_words_of_their_maker(report: Path) -> None:
    written = sorted((report.parent / "figures").rglob("*.png"))
    assert [path.stem for path in written] == [
        *("figure-03", "figure-06", "figure-07", "figure-08", "figure-09", "figure-10-loss"),
        "images-digits",
    ]
    for path in written:
        assert path.stat().st_size < LARGEST
        assert chunks(path.read_bytes()) <= {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def chunks(png: bytes) -> set[bytes]:
    found, place = set(), 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        found.add(png[place + 4 : place + 8])
        place += 12 + length
    return found


def test_the_same_cells_give_the_same_bytes_in_whatever_order_they_were_stored(report: Path, tmp_path: Path) -> None:
    frame = curves("digits-flip", KEY, MEASURED)
    for name, part in zip(("a", "b"), (frame[::-2], frame[-2::-2]), strict=True):
        Cells(tmp_path / "curves", KINDS["curves"][0]).write("group", name, part)
    write_cells(tmp_path, names=("settings", "scores"))
    shutil.copytree(report.parent / "images", tmp_path / "images")
    write_sweep_report(tmp_path)
    written = [path for path in report.parent.rglob("*") if path.suffix in (".md", ".png") or path.name == "fidelity.parquet"]
    assert len(written) == 11
    for path in written:
        assert (tmp_path / path.relative_to(report.parent)).read_bytes() == path.read_bytes(), path.name


def test_the_fidelity_figures_are_stored_as_a_table(report: Path) -> None:
    frame, record = read_table(report.parent / "fidelity.parquet", "subsampling-fidelity", ["rho", "random_above_baseline"])
    assert record == {"kind": "subsampling-fidelity"}
    assert frame["score"].tolist() == ["influence", "loss"]
    assert frame["random_above_baseline"].tolist() == [True, None]


def test_curves_whose_settings_are_not_stored_yet_are_named_and_left_out(tmp_path: Path) -> None:
    write_cells(tmp_path, "digits-flip", names=("settings",))
    write_cells(tmp_path, "digits-crop", names=("curves",))
    text = write_sweep_report(tmp_path).read_text()
    assert "not reported, of: digits-crop, code, pixels, 1." in text
    assert not (tmp_path / "figures").exists()


# Bad folders


def test_a_folder_without_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no settings of a sweep in it.*expected cells in curves, settings, scores"):
        write_sweep_report(tmp_path)


def test_a_cell_without_a_column_is_refused(tmp_path: Path) -> None:
    Cells(tmp_path / "settings", KINDS["settings"][0]).write("group", "a", setting("digits", KEY).drop(columns="full"))
    with pytest.raises(InputError, match="the cells lack the column 'full'"):
        Sweep.load(tmp_path)


def test_a_cell_that_was_stored_twice_is_refused(tmp_path: Path) -> None:
    write_cells(tmp_path)
    Cells(tmp_path / "curves", KINDS["curves"][0]).write("copy", "digits-flip", curves("digits-flip", KEY, {AT_RANDOM: SEEDS}))
    with pytest.raises(InputError, match=r"two measurements of one thing \(task digits-flip, .*seed 0, budget 1\)"):
        Sweep.load(tmp_path)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"good_influence": np.zeros((1, 1, 8, 8), dtype=np.uint8)}, "not readable pictures"),
        ({name: np.zeros((2, 1, 8, 8)) for name in IMAGES}, "good_influence is float64"),
        ({name: np.zeros((2, 2, 8, 8), dtype=np.uint8) for name in IMAGES}, "expected grey or RGB uint8 images"),
    ],
)
def test_pictures_that_are_none_are_refused(tmp_path: Path, images: dict[str, np.ndarray], message: str) -> None:
    write_cells(tmp_path)
    (tmp_path / "images").mkdir()
    np.savez(tmp_path / "images" / "digits.npz", **images)
    with pytest.raises(InputError, match=rf"digits\.npz.*{message}"):
        Sweep.load(tmp_path)


def test_a_damaged_file_of_pictures_is_refused(tmp_path: Path) -> None:
    write_cells(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "digits.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"digits\.npz: not readable pictures"):
        Sweep.load(tmp_path)


# Figures


def paper_sweep(**changed: object) -> Sweep:
    measured = {
        AT_RANDOM: {1: [0.6, 0.62], 10: [0.7, 0.7], 1000: [0.9, 0.9]},
        ("influence", RANDOM[0]): flat(0.8, (1, 10, 1000)),
        VSV: {137: [0.85]},
    }
    return sweep_of(("cifar10-translate", measured, {"features": "pixels", **changed}))


def test_figure_3_shows_means_baselines_and_support_vectors_in_the_papers_place() -> None:
    axes = drawn(paper_sweep(), "figure-03.png").axes
    assert [panel.get_title("left") for panel in axes] == [
        f"({letter}) {paper.title(task)}" for letter, task in zip("abcdefghi", paper.TASKS, strict=True)
    ]
    lines = {line.get_label(): line for line in axes[1].lines}
    assert set(lines) == {"baseline", "random proportional, influence", "support vectors (VSV)", "no augmentation", "full augmentation"}
    assert lines["baseline"].get_xdata().tolist() == [0, 1, 10, 1000]
    assert lines["baseline"].get_ydata().tolist() == pytest.approx([50, 61, 70, 90])
    assert (lines["support vectors (VSV)"].get_xdata().tolist(), lines["support vectors (VSV)"].get_ydata().tolist()) == ([137], [85])
    for name, colour, height in (("no augmentation", RED, 50), ("full augmentation", GREEN, 90)):
        assert (to_hex(lines[name].get_color()), set(lines[name].get_ydata())) == (colour, {height})
        assert lines[name].get_linestyle() == "--"


def test_intervals_lie_around_the_mean_where_there_are_seeds_to_tell() -> None:
    bands = [band.get_paths()[0].vertices for band in drawn(paper_sweep(), "figure-03.png").axes[1].collections]
    baseline = bands[0]
    assert sorted(set(baseline[baseline[:, 0] == 1][:, 1])) == pytest.approx([60, 62])  # of two seeds, 95 % of resamples span both
    alone = bands[1]
    assert set(alone[alone[:, 0] == 10][:, 1]) == {80}


def test_panels_that_were_not_measured_say_so() -> None:
    axes = drawn(paper_sweep(), "figure-03.png").axes
    silent = [i for i, panel in enumerate(axes) if [text.get_text() for text in panel.texts] == ["not measured"]]
    assert silent == [0, 2, 3, 4, 5, 6, 7, 8]


def test_figures_without_any_measurement_are_not_drawn() -> None:
    assert [picture.name for picture in pictures(paper_sweep())] == ["figure-03.png", "figure-09.png"]


def test_captions_tell_over_how_many_seeds_means_are() -> None:
    captions = {picture.name: picture.caption for picture in pictures(paper_sweep(note="JPEG pixels"))}
    assert "means over 1 to 2 seeds" in captions["figure-09.png"]
    assert captions["figure-09.png"].endswith("cifar10-translate: JPEG pixels")


def with_scores(task: str) -> Sweep:
    return Sweep.of(curves(task, KEY, MEASURED), setting(task, KEY, train_points=40), scores_of(task), {"mnist": make_images()})


def test_histograms_hold_every_point_on_a_logarithmic_axis() -> None:
    (panel,) = drawn(with_scores("digits-flip"), "own/figure-06.png").axes
    assert sum(bar.get_height() for bar in panel.patches) == 40
    assert panel.get_yscale() == "log"


def test_scores_before_and_after_are_compared_over_all_points_and_below_the_mean() -> None:
    sweep = with_scores("mnist-translate")
    above, *_, below, _, _ = drawn(sweep, "figure-08.png").axes
    initial = sweep.variants[0].scores.query("method == 'influence'")["initial"]
    low = int((initial < initial.mean()).sum())
    assert above.get_title("left").endswith("all points (40):\nSpearman's ρ 1.00, p < 1e−300")  # the square keeps the order of all
    assert below.get_title("left").startswith(f"points below the mean ({low}):")
    assert sum(len(points.get_offsets()) for points in above.collections) == 40
    assert sum(len(points.get_offsets()) for points in below.collections) == low


def test_all_of_the_papers_figures_come_from_a_whole_sweep() -> None:
    tasks = [f"{data}-{transform}" for transform in ("translate", "rotate") for data in paper.DATA]
    frames = (curves, lambda task, key, _: setting(task, key, train_points=40), lambda task, *_: scores_of(task))
    tables = [pd.concat([make(task, KEY, MEASURED) for task in tasks], ignore_index=True) for make in frames]
    names = [picture.name for picture in pictures(Sweep.of(*tables, {data: make_images() for data in paper.DATA}))]
    assert {name[:9] for name in names} == {f"figure-{n:02}" for n in range(1, 14)}


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_enlarged_without_a_change(channels: int) -> None:
    images = make_images(channels=channels)
    figure = Figure(figsize=size_of(images))
    draw_images(figure, images)
    assert len(figure.axes) == 4
    row = figure.axes[2].images[0].get_array()
    third = np.broadcast_to(images["bad_influence"][2].transpose(1, 2, 0), (8, 8, 3))
    assert (row[:, 18:26] == third).all()  # each picture is followed by a gap of one pixel
    box = figure.axes[2].get_position()
    width, height = figure.get_size_inches() * 100
    assert (box.width * width, box.height * height) == pytest.approx((10 * row.shape[1], 10 * 8))


def test_names_with_signs_of_formulas_are_drawn_as_they_are() -> None:
    sweep = sweep_of(("my $x_1$ & co", MEASURED, {"train_points": 40, "features": "$y"}))
    (picture,) = (found for found in pictures(sweep) if found.name == "own/figure-03.png")
    assert render(picture.draw, *picture.size).startswith(b"\x89PNG")
    assert r"\$x_1\$" in drawn(sweep, "own/figure-03.png").axes[0].get_title("left")


def test_drawing_leaves_matplotlibs_settings_alone_and_heeds_none_of_them() -> None:
    picture = next(found for found in pictures(paper_sweep()) if found.name == "figure-09.png")
    first = render(picture.draw, *picture.size)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "pink"}):
        assert render(picture.draw, *picture.size) == first
        assert mpl.rcParams["font.size"] == 20


def test_matplotlib_is_not_imported_before_a_report_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.startswith("augury.report.subsampling.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("matplotlib", "matplotlib.axes", "matplotlib.artist", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)  # to import it is an error
    report = importlib.reload(subsampling)
    with pytest.raises(ImportError, match="matplotlib"):
        report.write_sweep_report(tmp_path)


# Markdown


def test_a_cell_of_a_table_cannot_break_it() -> None:
    assert table(["a", "b"], [["x|y\nz", "−1.5"]]) == "| a | b |\n| --- | ---: |\n| x\\|y z | −1.5 |\n"


def test_numbers_are_written_with_a_minus_sign_and_unknown_ones_as_a_dash() -> None:
    assert [number(-1.25, 1), number(np.nan, 3)] == ["−1.2", "—"]
    assert [probability(p) for p in (0.04, 0.0002, 1e-300, 0.0, np.nan)] == ["0.040", "< 1e−3", "< 1e−300", "< 1e−300", "—"]
