"""All figures of the report, as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from augury.files import write_atomic
from augury.report.learn_run.folder import LearnFolder
from augury.report.learn_run.pictures import draw_flows, draw_grid, draw_strips, grid_size, strip_size
from augury.report.learn_run.plots import components_height, draw_accuracy, draw_check, draw_components, draw_history
from augury.report.subsampling.figures.canvas import render

Draw = Callable[[Figure, LearnFolder], None]


class Sheet(NamedTuple):
    """A figure: its name, how it is drawn, its size in inches, whether 256 colours will do, and then its PNG."""

    name: str
    draw: Draw
    size: tuple[float, float]
    palette: bool = True
    content: bytes = b""


def write_figures(run: LearnFolder, folder: Path) -> dict[str, Sheet]:
    """Draw all figures into `folder`, by name."""
    drawn = {}
    for sheet in _sheets(run):
        content = render(lambda figure, draw=sheet.draw: draw(figure, run), *sheet.size, palette=sheet.palette)  # type: ignore[misc]
        write_atomic(folder / f"{sheet.name}.png", lambda stream, content=content: stream.write(content))  # type: ignore[misc]
        drawn[sheet.name] = sheet._replace(content=content)
    return drawn


def _sheets(run: LearnFolder) -> Iterator[Sheet]:
    yield Sheet("accuracy", draw_accuracy, (7.6, 1.2 + 0.38 * run.results["augmentation"].nunique()))
    yield Sheet("check", draw_check, (6.2, 4.4))
    yield Sheet("interpolation", draw_strips, strip_size(run), palette=False)
    yield Sheet("examples", draw_grid, grid_size(run), palette=False)
    if run.pictures["grid_flow"].any():
        yield Sheet("flows", draw_flows, (8.4, 3.5), palette=False)
    yield Sheet("components", draw_components, (8.4, components_height(run)))
    yield Sheet("history", draw_history, (8.4, 3.3))
