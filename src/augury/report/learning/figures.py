"""The figure: how far every row lies above or below the best baseline, a panel a task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from augury.files import write_atomic
from augury.report.learning.results import Results, scarcity_of
from augury.report.learning.tables import task_name
from augury.report.subsampling.figures.canvas import (
    BLACK,
    BLUE,
    COLUMNS,
    GREY,
    ORANGE,
    blank,
    legend,
    legend_height,
    panels,
    remark,
    render,
)

WIDTH, LINE, EDGE = 4.2, 0.2, 1.0  # of a panel, of a row in it, and of what stands around it, in inches
LOOKS = {"baseline": (BLACK, "o"), "learned": (BLUE, "s"), "control": (ORANGE, "v")}
PAST = 2.0  # points below the best baseline that are still drawn at their place


class Picture(NamedTuple):
    """A figure as a file: its name below the folder of figures, and its tasks."""

    name: str
    tasks: list[str]


def write_figures(results: Results, folder: Path) -> list[Picture]:
    """Draw a figure for each scarcity of labels into `folder`; gives back what was drawn."""
    found = list(_pictures(results))
    for picture in found:
        columns = min(COLUMNS, len(picture.tasks))
        height = EDGE + LINE * max(len(results.rows(task)) for task in picture.tasks)
        size = columns * WIDTH, -(-len(picture.tasks) // columns) * height + legend_height(len(LOOKS), columns)
        drawn = render(partial(_draw, picture=picture, results=results), *size)
        write_atomic(folder / picture.name, lambda stream, drawn=drawn: stream.write(drawn))  # type: ignore[misc]
    return found


def _pictures(results: Results) -> Iterator[Picture]:
    for scarcity in dict.fromkeys(scarcity_of(task) for task in results.tasks):
        tasks = [task for task in results.tasks if scarcity_of(task) == scarcity]
        yield Picture(re.sub(r"[^\w.-]+", "-", f"differences-{scarcity}.png"), tasks)


def _draw(figure: Figure, picture: Picture, results: Results) -> None:
    columns = min(COLUMNS, len(picture.tasks))
    for task, axes in zip(picture.tasks, panels(figure, [task_name(task) for task in picture.tasks], columns), strict=True):
        _panel(axes, results, task)
    legend(figure, columns)


def _panel(axes: Axes, results: Results, task: str) -> None:
    best, own = results.best_baseline(task), results.of(task)
    if best is None:
        blank(axes)
        return
    differences = {row: results.difference(task, row, best) for row in results.rows(task)}
    rows = {row: found for row, found in differences.items() if found.n}
    for place, (row, found) in enumerate(rows.items()):
        kind = str(own.loc[own["row"] == row, "kind"].iloc[0])
        colour, marker = LOOKS[kind]
        error = 0.0 if found.n < 2 else 100 * found.error
        shown = max(100 * found.mean, -PAST)
        axes.errorbar(shown, place, xerr=error if shown > -PAST else 0, color=colour, marker=marker, linestyle="none", label=kind)
        if shown == -PAST:
            axes.annotate(f"{100 * found.mean:.1f}".replace("-", "−"), (shown, place), (5, 0), textcoords="offset points", va="center")
    axes.axvline(0, color=GREY, linewidth=1)
    most = max(found.n for found in rows.values())
    axes.set_yticks(range(len(rows)), [row if found.n == most else f"{row} ({found.n})" for row, found in rows.items()])
    axes.invert_yaxis()
    axes.set_xlabel(f"points above {best}")
    remark(axes, f"n = {most}, else in brackets" if any(found.n < most for found in rows.values()) else f"n = {most}")
