"""Figures 3, 4, 9 and 10: accuracy against the number of augmented points, a panel a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from augury.report.subsampling import paper
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
    panels,
    remark,
)
from augury.report.subsampling.paper import BASELINE, RANDOM, RANKED, RANKED_INVERSE, Policy
from augury.report.subsampling.variant import Variant


class Line(NamedTuple):
    """A policy's curve in a figure."""

    score: str
    policy: Policy
    name: str
    colour: str
    marker: str


VSV = Policy("vsv")
AT_RANDOM = Line("uniform", BASELINE, "baseline", BLACK, "o")
REFINED = ((BLUE, "s"), (ORANGE, "^"), (SKY, "D"), (PURPLE, "v"))


def by_score() -> list[Line]:
    """Figure 3: random sampling by influence and by loss."""
    found = [Line(score, RANDOM[0], f"random proportional, {score}", *look) for score, look in zip(paper.SCORES, REFINED, strict=False)]
    return [AT_RANDOM, *found]


def by_refinement(policies: Sequence[Policy], score: str) -> list[Line]:
    """Figures 4, 9 and 10: a policy with and without its two refinements."""
    return [AT_RANDOM, *(Line(score, policy, policy.name, *look) for policy, look in zip(policies, REFINED, strict=True))]


def randomized(score: str) -> list[Line]:
    """Figures 4 and 9: the random policies."""
    return by_refinement(RANDOM, score)


def deterministic(score: str) -> list[Line]:
    """Figure 10: the deterministic policies, and their inverse."""
    return [*by_refinement(RANKED, score), Line(score, RANKED_INVERSE, RANKED_INVERSE.name, GREY, "P")]


def measured(variant: Variant | None, lines: Sequence[Line]) -> bool:
    """Whether a panel would show anything besides the baseline."""
    return variant is not None and any((line.score, line.policy) in variant.policies for line in lines if line != AT_RANDOM)


def seeds(variants: Iterable[Variant], lines: Sequence[Line]) -> str:
    """Over how many seeds the means are: "5 seeds", or "1 to 5 seeds" where curves differ."""
    shown = [(variant, (line.score, line.policy)) for variant in variants for line in lines]
    counts = {len(variant.accuracies(key, budget)) for variant, key in shown for budget in variant.budgets} - {0}
    low, high = min(counts), max(counts)
    return f"{high} seed{'s' * (high > 1)}" if low == high else f"{low} to {high} seeds"


def draw_curves(figure: Figure, variants: Mapping[str, Variant], tasks: Sequence[str], lines: Sequence[Line], *, vsv: bool = False) -> None:
    """A panel a task, three in a row: each policy's mean over seeds with its bootstrap 95 % interval, and the two dashed baselines."""
    for task, axes in zip(tasks, panels(figure, [paper.title(task) for task in tasks], columns=min(COLUMNS, len(tasks))), strict=True):
        variant = variants.get(task)
        if variant is None or not measured(variant, lines):
            blank(axes)
            continue
        for line in lines:
            _draw_line(axes, variant, line)
        if vsv:
            _draw_support_vectors(axes, variant)
        _draw_baselines(axes, variant)
    legend(figure, min(COLUMNS, len(tasks)))


def _draw_line(axes: Axes, variant: Variant, line: Line) -> None:
    curve = variant.curve((line.score, line.policy))
    if curve.empty:
        return
    budgets = np.array([0, *curve["budget"]])
    mean, low, high = (100 * np.array([variant.none, *curve[name].fillna(curve["mean"])]) for name in ("mean", "low", "high"))
    axes.fill_between(budgets, low, high, color=line.colour, alpha=0.15, linewidth=0)
    axes.plot(budgets, mean, color=line.colour, marker=line.marker, label=line.name)


def _draw_support_vectors(axes: Axes, variant: Variant) -> None:
    curve = variant.curve(("support", VSV))
    if not curve.empty:
        points = axes.plot(curve["budget"], 100 * curve["mean"], "X", label="support vectors (VSV)", zorder=5)
        points[0].set(color=PURPLE, markersize=10, markeredgecolor="white")


def _draw_baselines(axes: Axes, variant: Variant) -> None:
    axes.axhline(100 * variant.none, color=RED, linestyle=(0, (5, 3)), linewidth=1.2, label="no augmentation")
    axes.axhline(100 * variant.full, color=GREEN, linestyle=(0, (2, 2)), linewidth=1.2, label="full augmentation")
    axes.set_xlim(-0.02 * variant.points, 1.02 * variant.points)
    axes.set_xlabel("points augmented")
    axes.set_ylabel("test accuracy (%)")
    remark(axes, variant.features)
