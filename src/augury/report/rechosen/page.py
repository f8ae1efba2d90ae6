"""The page of networks trained on chosen copies, `report.md`, and its figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from augury.files import write_atomic, write_text
from augury.report.copies.results import WORTHWHILE
from augury.report.copies.tables import points
from augury.report.rechosen.results import WAYS, Results
from augury.report.subsampling.figures.canvas import (
    BLACK,
    BLUE,
    COLUMNS,
    GREY,
    ORANGE,
    SKY,
    blank,
    legend,
    legend_height,
    panels,
    remark,
    render,
)
from augury.report.subsampling.markdown import NOTHING, percent, table

TITLE = "# Whole networks trained on chosen copies\n"
INTRODUCTION = """Every budget's network is trained anew, from the same first weights and for the same number of steps, on all points and
the copies that were chosen, each image with weight 1. Accuracies are the network's own, in per cent, on the test points and all their
copies: means ± sample deviations over seeds; a seed draws the points, the first weights and the order. No way looks at labels other than
the training points'.

- *Copies at random*: single copies.
- *Points by influence*: paper 2's policy (sampled, proportional), by the features of the network trained on the points alone; all copies of
  a point together, and of the last one as many as are left.
- *Copies, chosen once*: `choose_copies` with the self-target, by the features of the network trained on the points alone.
- *Copies, rescored at every budget*: the same for the first budget; then what follows is chosen by the features of the network that was
  trained at the budget before.
"""
LOOKS = {"random": (GREY, "o"), "points": (ORANGE, "v"), "once": (SKY, "s"), "rechosen": (BLUE, "D")}
WIDTH, HEIGHT = 3.4, 2.7  # of a panel, in inches
FIGURE = "curves.png"


def write_page(folder: Path) -> Path:
    """What `write_rechosen_report` does."""
    results = Results.load(folder)
    columns = min(COLUMNS, len(results.tasks))
    size = columns * WIDTH, -(-len(results.tasks) // columns) * HEIGHT + legend_height(len(WAYS) + 2, columns)
    drawn = render(partial(_draw, results=results, columns=columns), *size)
    write_atomic(folder / FIGURE, lambda stream: stream.write(drawn))
    return write_text(folder / "report.md", "\n".join(_page(results)))


def _page(results: Results) -> Iterator[str]:
    yield from (TITLE, INTRODUCTION, f"![accuracy by the share of copies]({FIGURE})\n")
    for task in results.tasks:
        yield from (f"## {task}\n", _conditions(results, task), _accuracies(results, task))
        yield from ("Points above as many random copies (mean ± standard error over seeds):\n", _differences(results, task))
        yield from _shares(results, task)


def _conditions(results: Results, task: str) -> str:
    own = results.of(task)
    first = own.iloc[0]
    ends = []
    for way, words in (("none", "without copies"), ("full", "with all")):
        heights = results.heights(task, way)
        ends.append(f"{words} {NOTHING if heights.empty else points(heights.iloc[:, 0])}")
    return (
        f"{first['network']}, {int(first['steps']):,} steps; {int(first['points']):,} points, {int(first['copies']):,} copies; "
        f"{int(first['test_images']):,} test images; n = {own['seed'].nunique()}. Accuracy {' and '.join(ends)}.\n"
    )


def _accuracies(results: Results, task: str) -> str:
    return _by_budget(results, task, {way: results.heights(task, way) for way in WAYS}, points)


def _differences(results: Results, task: str) -> str:
    return _by_budget(results, task, {way: results.above(task, way) for way in WAYS if way != "random"}, _paired)


def _shares(results: Results, task: str) -> Iterator[str]:
    if not {"none", "full"} <= set(results.of(task)["way"]):
        return
    ends = (results.heights(task, way).mean().iloc[0] for way in ("full", "none"))
    if float(next(ends) - next(ends)) < WORTHWHILE:
        yield "Full augmentation gains less than a point: shares of its gain would mean nothing.\n"
        return
    yield "Share of full augmentation's gain, in per cent of it (mean over seeds):\n"
    yield _by_budget(results, task, {way: results.gained(task, way) for way in WAYS}, _mean)


def _by_budget(results: Results, task: str, found: dict[str, pd.DataFrame], told: Callable[[pd.Series], str]) -> str:
    """A row a way, a column a budget."""
    own = results.of(task)
    copies = int(own["copies"].iloc[0])
    budgets = sorted(own.loc[own["way"].isin(list(WAYS)), "budget"].unique())
    rows = [
        [WAYS[way], *(told(values[budget].dropna()) if budget in values else NOTHING for budget in budgets)]
        for way, values in found.items()
    ]
    return table(["way", *(f"{percent(budget / copies, 0)} %" for budget in budgets)], rows)


def _paired(values: pd.Series) -> str:
    mean = float(values.mean())
    text = ("+" if mean > 0 else "") + percent(mean, 2)
    return f"{text} ± {percent(float(values.std()) / math.sqrt(len(values)), 2)}" if len(values) > 1 else f"{text} (one pair)"


def _mean(values: pd.Series) -> str:
    return percent(float(values.mean()), 0)


def _draw(figure: Figure, results: Results, columns: int) -> None:
    for task, axes in zip(results.tasks, panels(figure, results.tasks, columns), strict=True):
        _panel(axes, results, task)
    legend(figure, columns)


def _panel(axes: Axes, results: Results, task: str) -> None:
    own = results.of(task)
    shown = [way for way in WAYS if way in set(own["way"])]
    if not shown:
        blank(axes)
        return
    for way in shown:
        heights = 100 * results.heights(task, way)
        colour, marker = LOOKS[way]
        share = 100 * heights.columns.to_numpy() / int(own["copies"].iloc[0])
        axes.errorbar(share, heights.mean(), yerr=heights.std().fillna(0), color=colour, marker=marker, label=WAYS[way])
    for way, words, style in (("none", "no copies", ":"), ("full", "all copies", "--")):
        if way in set(own["way"]):
            axes.axhline(100 * float(results.heights(task, way).mean().iloc[0]), color=BLACK, linestyle=style, linewidth=1, label=words)
    axes.set_xlabel("copies, % of all")
    axes.set_ylabel("accuracy, %")
    remark(axes, f"n = {own['seed'].nunique()}")
