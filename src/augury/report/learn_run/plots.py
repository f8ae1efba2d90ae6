"""Figures of numbers: accuracy, predictions, the history of the teaching, and what became likely."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from augury.report.learn_run.folder import LEARNED, LearnFolder
from augury.report.learn_run.words import check_words, rows
from augury.report.subsampling.figures.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, QUIET, RED, SKY, legend, remark

UNIFORM = 1 / math.sqrt(3)  # the standard deviation of what is uniform on [-1, 1]
LISTED = 28  # components with a line of their own
NONE = 1e-3  # components that differ by no more are uniform
FOLDS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)


def draw_accuracy(figure: Figure, run: LearnFolder) -> None:
    """A line an augmentation: each network as a dot, their mean with its 95 % interval."""
    axes = figure.subplots()
    found = rows(run.results)[::-1]
    for place, row in enumerate(found):
        colour = BLUE if row.name == LEARNED else GREY
        own = 100 * run.results.loc[run.results["augmentation"] == row.name, "accuracy"]
        axes.plot(own, np.full(len(own), place), "o", color=colour, alpha=0.45, markersize=5, markeredgewidth=0)
        if not math.isnan(row.accuracy.low):
            axes.plot([100 * row.accuracy.low, 100 * row.accuracy.high], [place, place], color=colour, linewidth=2)
        axes.plot([100 * row.accuracy.mean], [place], "D", color=colour, markersize=6)
    axes.set_yticks(range(len(found)), [row.name for row in found])
    axes.set_ylim(-0.6, len(found) - 0.4)
    for label, row in zip(axes.get_yticklabels(), found, strict=True):
        label.set_fontweight("bold" if row.name == LEARNED else "normal")
    axes.grid(visible=False, axis="y")
    low, high = 100 * run.results["accuracy"].min(), 100 * run.results["accuracy"].max()
    room = max(0.1, 0.6 * (high - low))  # for intervals, which may be far wider where networks are few
    axes.set_xlim(max(0, low - room), min(100.3, high + room))
    axes.set_xlabel("test accuracy (%)")
    remark(axes, run.words)


def draw_check(figure: Figure, run: LearnFolder) -> None:
    """A dot an augmented batch."""
    axes = figure.subplots()
    predicted, measured = run.check["predicted"].to_numpy(), run.check["measured"].to_numpy()
    correlation, slope = check_words(run.check)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.axvline(0, color=QUIET, linewidth=0.8)
    ends = np.array([predicted.min(), predicted.max()])
    axes.plot(ends, ends, color=BLACK, linestyle=(0, (5, 3)), linewidth=1, label="predictions come true")
    if not math.isnan(slope):
        axes.plot(ends, measured.mean() + slope * (ends - predicted.mean()), color=ORANGE, label=f"least squares, slope {slope:.2f}")
        remark(axes, f"r = {correlation:.3f}, {len(predicted)} batches")
    axes.plot(predicted, measured, "o", color=BLUE, alpha=0.5, markersize=4, markeredgewidth=0)
    axes.set_xlabel("predicted change of the target's loss (nats)")
    axes.set_ylabel("measured (nats)")
    axes.legend(loc="upper left")


def draw_history(figure: Figure, run: LearnFolder) -> None:
    """Predicted effect of E's draws, and how far E is from random, by step and fold."""
    effects, divergence = figure.subplots(1, 2)
    folds = list(run.history.groupby("fold"))
    for number, (fold, part) in enumerate(folds):
        colour = FOLDS[number % len(FOLDS)]
        name = f"fold {int(str(fold)) + 1}" if len(folds) > 1 else "all draws"
        effects.plot(part["step"], part["effect"], color=colour, marker="o", label=name)
        effects.plot(
            part["step"], part["kept"], color=colour, linestyle=(0, (2, 2)), linewidth=1, label=run.axes.kept if number == 0 else None
        )
        divergence.plot(part["step"], part["divergence"], color=colour, marker="o")
    effects.axhline(0, color=QUIET, linewidth=0.8)
    effects.set_ylabel(run.axes.effect)
    divergence.set_ylabel(run.axes.divergence)
    for axes in (effects, divergence):
        axes.set_xlabel("step of F")
    legend(figure, 2)


def draw_components(figure: Figure, run: LearnFolder) -> None:
    """Mean and spread of components of tau, beside those of the uniform distribution."""
    shown = listed(run.components)
    half = -(-len(shown) // 2)
    columns = figure.subplots(1, 2, sharex=True) if len(shown) > 8 else [figure.subplots()]
    parts = [shown.iloc[:half], shown.iloc[half:]] if len(columns) > 1 else [shown]
    for axes, part in zip(columns, parts, strict=True):
        _spreads(axes, part)
    legend(figure, 2)


def components_height(run: LearnFolder) -> float:
    """Of that figure, in inches."""
    shown = len(listed(run.components))
    return 1.0 + 0.22 * (-(-shown // 2) if shown > 8 else shown)


def listed(components: pd.DataFrame) -> pd.DataFrame:
    """The components that differ most from uniform ones, in their own order; if all are uniform, the first."""
    departure = components["mean"].abs() + (components["deviation"] - UNIFORM).abs()
    largest = departure.sort_values(ascending=False, kind="stable")[:LISTED]
    differing = largest[largest > NONE]
    return components.loc[sorted((differing if len(differing) else largest).index)]


def _spreads(axes: Axes, part: pd.DataFrame) -> None:
    places = np.arange(len(part))[::-1]
    axes.axvspan(-UNIFORM, UNIFORM, color="#ececec", linewidth=0, label="uniform: mean ± deviation")
    axes.axvline(0, color=QUIET, linewidth=0.8)
    low, high = part["mean"] - part["deviation"], part["mean"] + part["deviation"]
    axes.hlines(places, low, high, color=BLUE, linewidth=2, label="learned: mean ± deviation")
    axes.plot(part["mean"], places, "o", color=BLUE, markersize=5)
    axes.set_yticks(places, [str(name).replace("_", " ") for name in part["component"]])
    axes.set_ylim(-0.7, len(part) - 0.3)
    axes.set_xlim(-1, 1)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("component of tau")
