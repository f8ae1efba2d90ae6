"""The figures: curves, predictions beside what retraining brought, and which copies were chosen for which class."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from augury.files import write_atomic
from augury.progress import track
from augury.report.copies.results import PERCENTS, POLICY_POOL, RANDOM, Results, budget_at, is_policy
from augury.report.copies.tables import way_name
from augury.report.subsampling.figures.canvas import (
    BLACK,
    BLUE,
    COLUMNS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    blank,
    legend,
    legend_height,
    panels,
    remark,
    render,
)
from augury.report.subsampling.paper import title

LARGEST = 9  # panels in a figure
WIDTH, HEIGHT = 3.7, 2.8  # of a panel, in inches
TICKS = (0, *PERCENTS, 100)
COPIES = {("copies.validation", "auto"): (BLUE, "s"), ("copies.validation", "1"): (SKY, "D"), ("copies.self", "auto"): (ORANGE, "^")}
HEAT, HEAT_SEED = "copies.self", 0  # the way and seed of the heat maps
FEW = 6  # rows of a heat map up to which its panel keeps its height
Draw = Callable[[Axes, Results, tuple[str, ...]], None]


class Picture(NamedTuple):
    """A figure as a file: its name below the folder of figures, its words, its panels, how one is drawn, and a panel's height."""

    name: str
    title: str
    caption: str
    variants: Sequence[tuple[str, ...]]
    draw: Draw
    height: float
    names: int  # in the legend


BANDS = (
    "means over seeds, bands from lowest to highest seed; dashed: no and full augmentation; the best policy is that of the largest "
    "mean area on the test set, chosen after the fact"
)
FORECASTS = (
    "seed 0, weight by auto; dashed: the target's mean loss, predicted before any retraining; solid: the test set's after it, whose "
    "points are others, and harder where the network knows the target's"
)
HEATS = (
    "self-target, weight by auto, seed 0: how many times as often as by chance a transformation is among the first 10 % of the copies, by "
    "class"
)
CHARTS: tuple[tuple[str, str, str, int], ...] = (  # the file, what it shows, how it is read, and how many names its legend has
    ("curves", "Accuracy against the number of copies", BANDS, 8),
    ("forecasts", "Predicted and realised loss", FORECASTS, 4),
    ("choices", "Which copies are chosen first", HEATS, 0),
)


def write_figures(results: Results, folder: Path) -> list[Picture]:
    """Draw all figures into `folder`; gives back what was drawn."""
    found = list(_pictures(results))
    for picture in track(found, "drawing the figures", total=len(found)):
        columns = min(COLUMNS, len(picture.variants))
        size = columns * WIDTH, -(-len(picture.variants) // columns) * picture.height + legend_height(picture.names, columns)
        drawn = render(partial(_draw, picture=picture, results=results), *size)
        write_atomic(folder / picture.name, lambda stream, drawn=drawn: stream.write(drawn))  # type: ignore[misc]
    return found


def _pictures(results: Results) -> Iterator[Picture]:
    draws: dict[str, Draw] = {"curves": _curves, "forecasts": _forecasts, "choices": _choices}
    for preset in dict.fromkeys(variant[1] for variant in results.variants):
        own = [variant for variant in results.variants if variant[1] == preset]
        for start in range(0, len(own), LARGEST):
            shown = own[start : start + LARGEST]
            page = f"-{start // LARGEST + 1}" if len(own) > LARGEST else ""
            for name, words, caption, names in CHARTS:
                file = re.sub(r"[^\w.-]+", "-", f"{name}-{preset}{page}.png")
                height = _heat_height(results, shown) if name == "choices" else HEIGHT
                yield Picture(file, f"{words} (preset {preset})", caption, shown, draws[name], height, names)


def _draw(figure: Figure, picture: Picture, results: Results) -> None:
    columns = min(COLUMNS, len(picture.variants))
    for variant, axes in zip(picture.variants, panels(figure, [title(task) for task, *_ in picture.variants], columns), strict=True):
        picture.draw(axes, results, variant)
    if picture.names:
        legend(figure, columns)


def _curves(axes: Axes, results: Results, variant: tuple[str, ...]) -> None:
    own = results.of(results.curves, variant)
    own = own[own["pool"] == POLICY_POOL]
    baselines = results.of(results.baselines, variant)
    copies = int(baselines["copies"].iloc[0])
    summary = results.of(results.summary, variant)
    lines = {(RANDOM, "1"): (BLACK, "o"), **COPIES}
    for key, look in lines.items():
        _line(axes, own, key, copies, look, way_name(*key))
    policies = summary[(summary["pool"] == POLICY_POOL) & summary["way"].map(is_policy)]
    for weighting, look, name in (("1", (PURPLE, "v"), "best policy"), ("auto", (GREY, "P"), "best weighted policy")):
        areas = policies[policies["weighting"] == weighting].groupby("way")["area"].mean()
        if areas.notna().any():
            _line(axes, own, (str(areas.idxmax()), weighting), copies, look, name)
    for name, colour, style in (("none", RED, (0, (5, 3))), ("full", GREEN, (0, (2, 2)))):
        words = "no augmentation" if name == "none" else "full augmentation"
        axes.axhline(100 * baselines[name].mean(), color=colour, linestyle=style, linewidth=1.2, label=words)
    _shares(axes)
    axes.set_ylabel("test accuracy (%)")
    remark(axes, f"n = {baselines['seed'].nunique()}")


def _line(axes: Axes, curves: pd.DataFrame, key: tuple[str, str], copies: int, look: tuple[str, str], name: str) -> None:
    chosen = curves[(curves["way"] == key[0]) & (curves["weighting"] == key[1])]
    by_budget = 100 * chosen.pivot_table(index="budget", columns="seed", values="accuracy").reindex(
        [budget_at(percent / 100, copies) for percent in TICKS]
    )
    if by_budget.dropna().empty:
        return
    axes.fill_between(TICKS, by_budget.min(axis=1), by_budget.max(axis=1), color=look[0], alpha=0.12, linewidth=0)
    axes.plot(TICKS, by_budget.mean(axis=1), color=look[0], marker=look[1], label=name)


def _shares(axes: Axes) -> None:
    """A budget axis in per cent of the copies that shows the small ones."""
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
    axes.minorticks_off()
    axes.set_xlim(-0.1, 130)
    axes.set_xlabel("copies added (%)")


def _forecasts(axes: Axes, results: Results, variant: tuple[str, ...]) -> None:
    own = results.of(results.curves, variant).dropna(subset=["predicted_loss"])
    own = own[(own["pool"] == POLICY_POOL) & (own["weighting"] == "auto") & (own["seed"] == 0)]
    if own.empty:
        blank(axes)
        return
    for way, colour, words in (("copies.validation", BLUE, "validation target"), ("copies.self", ORANGE, "self-target")):
        curve = own[own["way"] == way].sort_values("budget")
        if not curve.empty:
            percents = 100 * curve["budget"] / curve["budget"].max()
            axes.plot(percents, curve["predicted_loss"], color=colour, linestyle="--", label=f"{words}, predicted")
            axes.plot(percents, curve["loss"], color=colour, label=f"{words}, on the test set")
    _shares(axes)
    axes.set_ylabel("mean loss (nats)")


def _choices(axes: Axes, results: Results, variant: tuple[str, ...]) -> None:
    rates = _rates(results, variant)
    if rates.empty:
        blank(axes)
        return
    most = max(2.0, float(rates.max().max()))
    axes.imshow(rates, cmap="Blues", vmin=0, vmax=most, aspect="auto")
    for (row, column), rate in np.ndenumerate(rates.to_numpy()):
        axes.text(column, row, f"{rate:.1f}", ha="center", va="center", color="white" if rate > 0.6 * most else "black")
    axes.set_xticks(range(rates.shape[1]), list(rates.columns))
    axes.set_yticks(range(rates.shape[0]), list(rates.index))
    axes.grid(visible=False)


def _rates(results: Results, variant: tuple[str, ...]) -> pd.DataFrame:
    """How often a transformation of a class was chosen, over how often by chance: a row a transformation, a column a class."""
    own = results.of(results.choices, variant)
    own = own[(own["pool"] == POLICY_POOL) & (own["way"] == HEAT) & (own["weighting"] == "auto") & (own["seed"] == HEAT_SEED)]
    if own.empty:
        return pd.DataFrame()
    chance = own["chosen"].sum() / own["available"].sum()
    rates = own.assign(rate=own["chosen"] / own["available"] / chance)
    return rates.pivot_table(index="transformation", columns="label", values="rate", sort=False)


def _heat_height(results: Results, variants: Sequence[tuple[str, ...]]) -> float:
    """Of a panel, so that the rows of the tallest have room."""
    rows = max((results.of(results.choices, variant)["transformation"].nunique() for variant in variants), default=0)
    return HEIGHT * max(1.0, rows / FEW / 1.5)
