"""The paper's thirteen figures from a sweep, as PNG files; the only part of the package that needs matplotlib."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from augury.files import write_atomic
from augury.progress import track
from augury.report.subsampling import paper
from augury.report.subsampling.figures.canvas import COLUMNS, legend_height, render
from augury.report.subsampling.figures.curves import Line, by_score, deterministic, draw_curves, measured, randomized, seeds
from augury.report.subsampling.figures.images import draw_images, size_of
from augury.report.subsampling.figures.scores import draw_histograms, draw_joint, scored
from augury.report.subsampling.sweep import Sweep, VariantSet
from augury.report.subsampling.variant import Variant, notes

LARGEST = 9  # panels in a figure of tasks that are not the paper's
WIDTH, CURVES_HEIGHT, HISTOGRAM_HEIGHT, JOINT_HEIGHT = 3.7, 2.8, 2.6, 5.6  # of a panel, in inches
TRANSLATE, ROTATE = (tuple(f"{data}-{transform}" for data in paper.DATA) for transform in ("translate", "rotate"))


class Chart(NamedTuple):
    """One of the paper's figures with a panel a task: what it shows, whether a variant has that, and how it is drawn."""

    number: str
    caption: str
    tasks: Sequence[str]
    shows: Callable[[Variant], bool]
    draw: Callable[[Figure, Mapping[str, Variant], Sequence[str]], None]
    height: float
    note: Callable[[Sequence[Variant]], str]
    names: int = 0  # in the legend


def _curves(number: str, caption: str, lines: Sequence[Line], tasks: Sequence[str] = paper.TASKS, *, vsv: bool = False) -> Chart:
    def note(variants: Sequence[Variant]) -> str:
        return f"means over {seeds(variants, lines)}, with the bootstrap 95 % interval where there are two or more"

    draw = partial(draw_curves, lines=lines, vsv=vsv)
    return Chart(number, caption, tasks, partial(measured, lines=lines), draw, CURVES_HEIGHT, note, len(lines) + 2 + vsv)


def _histograms(number: str, method: str, tasks: Sequence[str] = TRANSLATE) -> Chart:
    caption = f"{method} of the training points before augmentation"
    draw = partial(draw_histograms, method=method)
    return Chart(number, caption, tasks, partial(scored, method=method), draw, HISTOGRAM_HEIGHT, lambda _: "counts on a logarithmic axis")


def _joint(number: str, tasks: Sequence[str] = TRANSLATE) -> Chart:
    caption = "influence of the training points before and after full augmentation"
    note = "in the second row, the points whose score was below the mean (orange in both); dashed: no change"
    draw = partial(draw_joint, method="influence")
    return Chart(number, caption, tasks, partial(scored, method="influence"), draw, JOINT_HEIGHT, lambda _: note)


CHARTS = (
    _histograms("01", "influence", TRANSLATE[1:]),
    _joint("02", TRANSLATE[1:]),
    _curves("03", "random policies by influence and loss against the baseline", by_score(), vsv=True),
    _curves("04", "random policies by influence, downweighted and with updated scores, on rotated images", randomized("influence"), ROTATE),
    _histograms("06", "loss"),
    _histograms("07", "influence"),
    _joint("08"),
    _curves("09", "random policies by influence", randomized("influence")),
    _curves("09-loss", "random policies by loss (not in the paper)", randomized("loss")),
    _curves("10", "deterministic policies by influence", deterministic("influence")),
    _curves("10-loss", "deterministic policies by loss (not in the paper)", deterministic("loss")),
)
SELECTIONS = ("01", "02", "04")  # figures that show a part of another
IMAGE_FIGURES = {"05": "mnist", "11": "mnist", "12": "cifar10", "13": "norb"}


class Picture(NamedTuple):
    """A figure as a file.

    Parameters
    ----------
    name
        Its place below the folder of figures.
    section, title, caption
        What it belongs to, what it is called ("Figure 3"), and what it shows.
    draw
        How it is drawn.
    size
        Width and height in inches.
    palette
        Whether 256 colours will do.
    """

    name: str
    section: str
    title: str
    caption: str
    draw: Callable[[Figure], None]
    size: tuple[float, float]
    palette: bool = True

    def write(self, folder: Path) -> Path:
        """Draw it into `folder`, atomically."""
        return write_atomic(folder / self.name, lambda stream: stream.write(render(self.draw, *self.size, palette=self.palette)))


def pictures(sweep: Sweep) -> list[Picture]:
    """Every figure for which something was measured: the paper's by number, the same for other tasks, then for further variants."""
    first, *further = [_charts(sweep, chosen) for chosen in sweep.sets]
    numbered = sorted([*first, *_image_figures(sweep)], key=lambda picture: ("/" in picture.name, picture.name.removesuffix(".png")))
    return [*numbered, *(picture for group in further for picture in group)]


def write_figures(sweep: Sweep, folder: Path) -> list[Picture]:
    """Draw all figures into `folder`; gives back what was drawn, in the order in which a reader wants it."""
    found = pictures(sweep)
    for picture in track(found, "drawing the figures", total=len(found)):
        picture.write(folder)
    return found


def _charts(sweep: Sweep, chosen: VariantSet) -> Iterator[Picture]:
    prefix = "" if chosen is sweep.sets[0] else f"{_slug(chosen)}/"
    for chart in CHARTS:
        yield from _picture(chart, chosen, chart.tasks, f"{prefix}figure-{chart.number}.png", f"The paper's tasks: {chosen.name}")
    own = [task for task in chosen.variants if task not in paper.TASKS]
    for chart in CHARTS:
        if chart.number not in SELECTIONS:
            shown = [task for task in own if chart.shows(chosen.variants[task])]
            for page, start in enumerate(range(0, len(shown), LARGEST), start=1):
                name = f"{prefix}own/figure-{chart.number}{f'-{page}' if len(shown) > LARGEST else ''}.png"
                yield from _picture(chart, chosen, shown[start : start + LARGEST], name, f"Other tasks: {chosen.name}")


def _picture(chart: Chart, chosen: VariantSet, tasks: Sequence[str], name: str, section: str) -> Iterator[Picture]:
    shown = [chosen.variants[task] for task in tasks if task in chosen.variants and chart.shows(chosen.variants[task])]
    if shown:
        columns = min(COLUMNS, len(tasks))
        size = (columns * WIDTH, -(-len(tasks) // columns) * chart.height + legend_height(chart.names, columns))
        caption = "; ".join(filter(None, (chart.caption, chart.note(shown), notes(shown))))
        yield Picture(name, section, _title(chart.number), caption, lambda figure: chart.draw(figure, chosen.variants, tasks), size)


def _image_figures(sweep: Sweep) -> Iterator[Picture]:
    first = sweep.sets[0].name
    named = [(f"figure-{number}.png", f"The paper's tasks: {first}", number, data) for number, data in IMAGE_FIGURES.items()]
    own = (data for data in sweep.images if data not in paper.DATA)
    named += [(f"own/images-{_plain(data)}.png", f"Other tasks: {first}", "11", data) for data in own]
    for name, section, number, data in named:
        if data in sweep.images:
            images = sweep.images[data]
            shown = f"{paper.TITLES.get(data, data)}, points with the highest (good) and the lowest (bad) influence and loss"
            noted = notes(variant for variant in sweep.variants if variant.task.startswith(f"{data}-"))
            caption = "; ".join(filter(None, (shown, noted)))
            yield Picture(name, section, _title(number), caption, partial(draw_images, images=images), size_of(images), palette=False)


def _title(number: str) -> str:
    return f"Figure {int(number[:2])}"


def _slug(chosen: VariantSet) -> str:
    return _plain(f"{chosen.preset}-C{chosen.C}{f'-features{chosen.position + 1}' if chosen.position else ''}")


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)
