"""Figures 1, 2, 6, 7 and 8: how scores are distributed, and how they change when every point has been augmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from augury.report.subsampling import paper
from augury.report.subsampling.fidelity import spearman
from augury.report.subsampling.figures.canvas import BLUE, COLUMNS, ORANGE, QUIET, blank, panels, remark
from augury.report.subsampling.markdown import number, probability
from augury.report.subsampling.variant import Variant

BINS = 40
AXES = {"influence": "influence (nats, magnitude)", "loss": "loss (nats)"}


def scored(variant: Variant | None, method: str) -> bool:
    """Whether a task's points were scored by `method`."""
    return variant is not None and bool((variant.scores["method"] == method).any())


def draw_histograms(figure: Figure, variants: Mapping[str, Variant], tasks: Sequence[str], method: str) -> None:
    """A panel a task: how many points have which score before augmentation, counts on a logarithmic axis."""
    for task, axes in zip(tasks, panels(figure, [paper.title(task) for task in tasks], columns=min(COLUMNS, len(tasks))), strict=True):
        variant = variants.get(task)
        if variant is None or not scored(variant, method):
            blank(axes)
            continue
        axes.hist(_scores(variant, method)["initial"], bins=BINS, color=BLUE, edgecolor="white", linewidth=0.5, log=True)
        axes.set_ylim(bottom=0.7)
        remark(axes, variant.features)
        axes.set_xlabel(AXES[method])
        axes.set_ylabel("points")


def draw_joint(figure: Figure, variants: Mapping[str, Variant], tasks: Sequence[str], method: str) -> None:
    """Two panels a task, one above the other: scores before and after full augmentation, of all points and of those below the mean."""
    places = panels(figure, [paper.title(task) for task in tasks], columns=min(COLUMNS, len(tasks)), rows=2)
    for task, above, below in zip(tasks, places[::2], places[1::2], strict=True):
        variant = variants.get(task)
        if variant is None or not scored(variant, method):
            blank(above)
            blank(below)
            continue
        scores = _scores(variant, method)
        low = scores["initial"] < scores["initial"].mean()
        _draw_points(above, scores, low)
        _draw_points(below, scores[low], low[low])
        above.set_title(f"{above.get_title('left')}\n{_correlated(scores, 'all points')}", loc="left", fontsize=9)
        remark(above, variant.features)
        below.set_title(_correlated(scores[low], "points below the mean"), loc="left", fontsize=9)
        below.set_xlabel(f"{AXES[method]} before")


def _scores(variant: Variant, method: str) -> pd.DataFrame:
    return variant.scores[variant.scores["method"] == method]


def _correlated(scores: pd.DataFrame, which: str) -> str:
    rho, p = spearman(scores["initial"], scores["final"])
    shown = probability(p)
    return f"{which} ({len(scores):,}):\nSpearman's ρ {number(rho, 2)}, p {'' if shown[0] == '<' else '= '}{shown}"


def _draw_points(axes: Axes, scores: pd.DataFrame, low: pd.Series) -> None:
    for chosen, colour in ((low, ORANGE), (~low, BLUE)):
        axes.scatter(scores["initial"][chosen], scores["final"][chosen], s=10, color=colour, alpha=0.5, linewidth=0)
    axes.set_ylabel("after full augmentation")
    axes.axline((0, 0), slope=1, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
