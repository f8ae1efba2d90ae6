"""The sheet that figures are drawn on: type, colours, panels, and PNG files of the same bytes for the same numbers.

Colours are Okabe and Ito's, which people with any kind of colour vision tell apart; lines differ by their markers as well. Nothing here
touches pyplot or leaves settings behind.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

BLACK, BLUE, SKY, GREEN, ORANGE, PURPLE = "#000000", "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#cc79a7"
RED, GREY, QUIET = "#c8201e", "#777777", "#bbbbbb"
DPI = 100
COLUMNS = 3  # panels in a row
LEGEND_COLUMNS = {1: 1, 2: 2, 3: 4}  # by the panels in a row: so many of the longest names fit
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "legend.frameon": False,
}
Draw = Callable[[Figure], None]


def render(draw: Draw, width: float, height: float, *, palette: bool = True) -> bytes:
    """A figure of `width` x `height` inches as PNG: `draw` is given an empty one. With a palette, it has at most 256 colours.

    The bytes depend on what is drawn alone: no date, no version of any program is in them.
    """
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="raw")
        size = figure.canvas.get_width_height()
    pixels = Image.frombytes("RGBA", size, stream.getvalue()).convert("RGB")
    if palette:
        pixels = pixels.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    pixels.save(stream, format="png", optimize=True)
    return stream.getvalue()


def panels(figure: Figure, titles: Sequence[str], columns: int, rows: int = 1) -> list[Axes]:
    """`rows` rows of panels for each row of `titles`, by row; the titles stand over the first, lettered as in the paper: "(a) ..."."""
    lines = -(-len(titles) // columns)
    grid = figure.subplots(lines * rows, columns, squeeze=False)
    for place in range(len(titles), lines * columns):
        for row in range(rows):
            grid[place // columns * rows + row, place % columns].set_axis_off()
    found = []
    for place, title in enumerate(titles):
        for row in range(rows):
            axes = grid[place // columns * rows + row, place % columns]
            if row == 0:
                axes.set_title(f"({chr(ord('a') + place)}) {_plain(title)}", loc="left")
            found.append(axes)
    return found


def remark(axes: Axes, words: str) -> None:
    """A quiet word over a panel, at the right: what the title leaves out."""
    axes.set_title(_plain(words), loc="right", fontsize=8, color=GREY)


def _plain(words: str) -> str:
    """Words that matplotlib does not take for a formula."""
    return words.replace("$", r"\$")


def blank(axes: Axes, words: str = "not measured") -> None:
    """An empty panel that says why."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.spines[:].set_visible(False)


def legend(figure: Figure, columns: int) -> None:
    """One legend below all panels, each name once, in the order in which it was first drawn; `columns` as the panels have."""
    found: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    if found:
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=LEGEND_COLUMNS[columns])


def legend_height(names: int, columns: int) -> float:
    """How much height a legend of `names` takes, in inches."""
    return 0.2 * -(-names // LEGEND_COLUMNS[columns])
