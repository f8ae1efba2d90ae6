"""The toy problem: Figure 3 of *Learning to Augment Influential Data*, what influence says of every place, and what was gained."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from augury.files import read_table, write_atomic, write_text
from augury.report.subsampling.figures.canvas import BLUE, GREY, RED, panels, remark, render
from augury.report.subsampling.markdown import number, table

KEY = ["row", "rule", "seed"]
LOSSES = [f"{part}_{name}" for part in ("validation", "test") for name in ("plain", "random", "learned")]
POINTS = [*KEY, "part", "x", "y", "label", "right", "up"]
FIELDS = [*KEY, "x", "y", "before", "after", "red", "blue"]
SUMMARY = [*KEY, "wrong", "approach", "chance", "right", "up", *LOSSES]

WIDTH, HEIGHT = 3.0, 3.0  # of a panel, in inches
LOOKS = {0: (RED, "o", "red"), 1: (BLUE, "s", "blue")}
LEVELS = np.linspace(0, 1, 11)
COLUMNS = (  # as in Figure 3: what is shown, and by which classifier
    ("training points", "train", "before"),
    ("validation points", "validation", "before"),
    ("augmented points", "augmented", "after"),
    ("validation points", "validation", "after"),
)
WORDS = {1: "row 1: some misclassified", 2: "row 2: validation moved down"}
RULES = {"gradient": "one transition a point, by the gradient", "choice": "a distribution of transitions, by choice"}
TITLE = """# The toy problem: points in the plane

Section 5.1 and Figure 3 of *Learning to Augment Influential Data*. A classifier of three layers tells red from blue; E looks at a training
point and moves it by up to 1 along each axis, as influence on the validation points teaches. In row 1, some red validation points lie on
the blue side, where training has no points. In row 2, validation is moved down by 0.6.

By the gradient, E maps a point to one transition and follows the derivative of influence, as in the paper (but with influence bounded
by the probability of the own label). By choice, E is a distribution of transitions, and of four draws the better ones become likelier.
The classifier by whose last layer influence is taken is fitted to the training points as they are, and stays so.

Colours: the probability of red by a classifier fitted to the training points as they are (first two columns), and by one for which half of
each batch is moved by E (last two). One seed is drawn; the tables are means ± sample deviations over all.

The problem's places, the classifier's fit and E's settings were chosen on these seeds, so the numbers illustrate and test nothing. Where
the classifier was surer (no weight decay, longer fits), influence was a narrow band along its border, and gradients led astray.
"""
LOSS = """## Loss

In nats, on the validation points by whose influence E was taught, and on 2,000 fresh points like them: without augmentation, with random
transitions within the same bound, and with E's.
"""
MOVES = """## Transitions

Approach: how much nearer training points come to the closest misclassified validation point of their class, for the class that is
misclassified more often, beside what random transitions give. Right and up: the mean transition of all training points.
"""
FIELD = """Where a new training point of a class would lower the loss on the validation points (green) or raise it (purple), by influence
through the last layer, and where E moves the training points of that class in the mean.
"""


def write_toy(folder: str | Path) -> Path:
    """Write `report.md` and `figures/` into a folder that `augury reproduce toy` filled, from its tables; gives the page's path."""
    folder = Path(folder)
    summary = read_table(folder / "summary.parquet", "toy-summary", SUMMARY)[0]
    points = read_table(folder / "points.parquet", "toy-points", POINTS)[0]
    fields = read_table(folder / "fields.parquet", "toy-fields", FIELDS)[0]
    for rule in RULES:
        for name, draw, columns in (("figure-03", draw_figure, len(COLUMNS)), ("influence", draw_influence, len(LOOKS))):
            tables = points[points["rule"] == rule], fields[fields["rule"] == rule]
            drawn = render(partial(draw, tables=tables), columns * WIDTH, len(WORDS) * HEIGHT, palette=False)
            write_atomic(folder / "figures" / f"{name}-{rule}.png", lambda stream, drawn=drawn: stream.write(drawn))  # type: ignore[misc]
    return write_text(folder / "report.md", "\n".join(_page(summary)))


def draw_figure(figure: Figure, tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Figure 3: a line of panels for each row of the problem."""
    points, fields = tables
    titles = [title for _ in WORDS for title, *_ in COLUMNS]
    places = iter(panels(figure, titles, len(COLUMNS)))
    for row, words in WORDS.items():
        own, field = points[points["row"] == row], fields[fields["row"] == row]
        for place, ((_, part, classifier), axes) in enumerate(zip(COLUMNS, places, strict=False)):
            axes.contourf(*_grid(field, classifier), levels=LEVELS, cmap="RdBu_r", vmin=-0.15, vmax=1.15, alpha=0.75)
            axes.contour(*_grid(field, classifier), levels=[0.5], colors=GREY, linewidths=1)
            _scatter(axes, own[own["part"] == part])
            _frame(axes, words if place == 0 else "")


def draw_influence(figure: Figure, tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """What influence says of every place, and where E moves the points: a line for each row, a panel for each class."""
    points, fields = tables
    places = iter(panels(figure, [f"a {name} training point" for _ in WORDS for *_, name in LOOKS.values()], len(LOOKS)))
    for row, words in WORDS.items():
        own, field = points[(points["row"] == row) & (points["part"] == "train")], fields[fields["row"] == row]
        for (label, (colour, _, name)), axes in zip(LOOKS.items(), places, strict=False):
            x, y, values = _grid(field, name)
            most = float(np.abs(values).max())
            axes.contourf(x, y, values, levels=np.linspace(-most, most, 22), cmap="PRGn_r", norm=TwoSlopeNorm(0, -most, most))
            mine = own[own["label"] == label]
            arrows = (mine[name] for name in ("x", "y", "right", "up"))
            axes.quiver(*arrows, color=colour, angles="xy", scale_units="xy", scale=1, width=0.006, edgecolor="white", linewidth=0.3)
            remark(axes, f"up to {most:.2g}")
            _frame(axes, words if label == 0 else "")


def _grid(field: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places along both axes, and the values, row by row."""
    values = field.pivot_table(index="y", columns="x", values=name)
    return values.columns.to_numpy(), values.index.to_numpy(), values.to_numpy()


def _scatter(axes: Axes, points: pd.DataFrame) -> None:
    for label, (colour, marker, _) in LOOKS.items():
        mine = points[points["label"] == label]
        axes.scatter(mine["x"], mine["y"], s=14, color=colour, marker=marker, edgecolors="white", linewidths=0.5)


def _frame(axes: Axes, words: str) -> None:
    axes.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal", xticks=(-2, 0, 2), yticks=(-2, 0, 2), ylabel=words)
    axes.grid(visible=False)


def _page(summary: pd.DataFrame) -> Iterator[str]:
    yield TITLE
    for rule, words in RULES.items():
        yield f"![Figure 3, {words}](figures/figure-03-{rule}.png)\n\n**Figure 3**: {words}.\n"
    losses = [f"{part}: {name}" for part in ("validation", "fresh") for name in ("plain", "random", "learned")]
    yield from (LOSS, table(["row", "rule", "n", *losses], _rows(summary, LOSSES)))
    moves = _rows(summary, ["approach", "chance", "right", "up"])
    yield from (MOVES, table(["row", "rule", "n", "approach", "by chance", "right", "up"], moves))
    yield f"## Influence\n\n{FIELD}"
    for rule, words in RULES.items():
        yield f"![Influence, {words}](figures/influence-{rule}.png)\n\n**Influence**: {words}.\n"


def _rows(summary: pd.DataFrame, columns: list[str]) -> Iterator[list[str]]:
    for (rule, row), group in summary.groupby(["rule", "row"], sort=False):
        yield [str(row), str(rule), str(len(group)), *(_spread(group[column]) for column in columns)]


def _spread(values: pd.Series[float]) -> str:
    """Mean and sample deviation."""
    return f"{number(float(values.mean()), 2)} ± {number(float(values.std()), 2)}" if len(values) > 1 else number(float(values.mean()), 2)
