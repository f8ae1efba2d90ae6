"""The report's charts as Vega-Lite specifications: they lay out numbers that are given and compute none.

Colours are the page's CSS variables, so that the charts follow its light and dark themes. The colours are Okabe and Ito's, which people
with any kind of colour vision tell apart; policies differ by the shape of their points as well.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd

from augury.report.outcome import Outcome
from augury.report.words import accuracy, interval, share
from augury.scores import Scores

Records = list[dict[str, Any]]

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
INK, QUIET, PAPER, ACCENT = "var(--ink)", "var(--quiet)", "var(--paper)", "var(--series-0)"
ACCURACY = "test accuracy (%)"
AS_FIT = alt.ExprRef("max(3, width / 100)")  # about how many ticks an axis as wide as the page has room for
COUNTED = {"points": "points augmented", "copies": "copies added"}
HIDDEN = "hidden"  # the parameter that lists the policies whose lines a reader has switched off
VISIBLE = f"indexof({HIDDEN}, datum.policy) < 0"
ROOTED = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)  # shares with a label on the axis of copies
BINS = 40
LONGEST = 150  # pixels of a name
EMPTY = 0.5  # where the logarithmic axis of counts begins, so that a single point is a visible bar

SCORE_UNITS = {"influence": "nats", "loss": "nats", "validation": "nats"}
SCORE_TITLES = {
    "influence": "score: leave-one-out influence (nats)",
    "loss": "score: loss (nats)",
    "validation": "score: predicted fall of the loss (nats)",
    "margin": "score: 1 / distance to the boundary",
}


def accuracy_chart(outcome: Outcome) -> dict[str, Any]:
    """Accuracy against budget: each policy's mean with its interval, the two baselines, and the chosen budget marked."""
    paths = [record for policy in reversed(outcome.policies) for record in _path(outcome, policy)]  # the chosen policy in front
    heights = alt.Scale(domain=_domain(outcome, paths), nice=False, zero=False)
    x = budgets(outcome)
    y, low = (alt.Y(f"{name}:Q", title=ACCURACY, scale=heights, stack=None, axis=alt.Axis(tickCount=6)) for name in ("mean", "low"))
    every = alt.Chart(pd.DataFrame(paths)).transform_filter(VISIBLE)
    base = every.encode(x=x, y=y, color=_by_policy(alt.Color, outcome, _colours(outcome)))
    shape = _by_policy(alt.Shape, outcome, SHAPES)
    details = [alt.Tooltip(f"{name}:N") for name in ("policy", "budget", "accuracy", "95 % interval", "share of the gain", "seeds")]
    measured = base.transform_filter("datum.seeds > 0")
    layers = [
        base.mark_area(opacity=0.18).encode(y=low, y2="high:Q"),
        base.mark_line(strokeWidth=2),
        *_chosen_budget(outcome),
        measured.mark_point(filled=True, size=50, opacity=1).encode(shape=shape, tooltip=details),
        *_baselines(outcome),
    ]
    told = f"Test accuracy against the number of {COUNTED[outcome.unit]}, a line a policy; the tables below hold the numbers"
    return finished(alt.layer(*layers).add_params(alt.param(name=HIDDEN, value=[])), 380, told)


def budgets(outcome: Outcome) -> alt.X:
    """The axis of budgets, from none to all; of copies by the root of their number, since a few bring most."""
    whole, copies = outcome.curve.points, outcome.unit == "copies"
    scale = alt.Scale(domain=[0, whole], type="sqrt" if copies else alt.Undefined)
    marked = sorted({round(share * whole) for share in ROOTED})
    axis = alt.Axis(values=marked, format=",d", labelOverlap="greedy") if copies else alt.Axis(tickCount=AS_FIT)
    return alt.X("budget:Q", title=f"{COUNTED[outcome.unit]}, of {whole:,}", scale=scale, axis=axis)


def _path(outcome: Outcome, policy: str) -> Records:
    """A policy's measurements, between no and full augmentation, where all policies meet."""
    measured = [_point(outcome, row) for _, row in outcome.measurements(policy).iterrows()]
    met = {record["budget"] for record in measured}
    ends = [(0, 100 * outcome.curve.none), (outcome.curve.points, 100 * outcome.curve.full)]
    meeting = [{"policy": policy, "budget": budget, "mean": y, "low": y, "high": y} for budget, y in ends if budget not in met]
    return sorted(measured + meeting, key=lambda record: record["budget"])


def _point(outcome: Outcome, row: pd.Series) -> dict[str, Any]:
    mean = 100 * float(row["mean"])
    low, high = (mean if np.isnan(row[name]) else 100 * float(row[name]) for name in ("low", "high"))
    told = {"accuracy": accuracy(outcome, row), "95 % interval": interval(outcome, row), "share of the gain": share(row)}
    return {"policy": row["policy"], "budget": int(row["budget"]), "mean": mean, "low": low, "high": high, "seeds": int(row["n"]), **told}


def _domain(outcome: Outcome, paths: Records) -> list[float]:
    heights = [record[name] for record in paths for name in ("low", "high")] + [100 * outcome.curve.none, 100 * outcome.curve.full]
    low, high = min(heights), max(heights)
    span = high - low or 1.0
    return [max(0.0, low - 0.18 * span), min(100.0, high + 0.1 * span)]


def _colours(outcome: Outcome) -> list[str]:
    return [f"var(--series-{i % len(SHAPES)})" for i in range(len(outcome.policies))]


def _by_policy(channel: Any, outcome: Outcome, values: Any) -> Any:  # noqa: ANN401  (Altair's channels share no public type)
    return channel("policy:N", scale=alt.Scale(domain=outcome.policies, range=list(values)), legend=None)


def _baselines(outcome: Outcome) -> list[alt.Chart]:
    """Two dashed lines with their names: full augmentation's at the left, where curves start, none's at the right, where they end."""
    none, full = outcome.curve.none, outcome.curve.full
    upper: dict[str, Any] = {"baseline": "bottom", "dy": -5}
    lower: dict[str, Any] = {"baseline": "top", "dy": 6}
    of_full, of_none = (upper, lower) if full >= none else (lower, upper)
    return [
        *_baseline(f"full augmentation {outcome.percent(full)}", 100 * full, alt.value(6), {"align": "left", **of_full}),
        *_baseline(f"no augmentation {outcome.percent(none)}", 100 * none, alt.value("width"), {"align": "right", "dx": -6, **of_none}),
    ]


def _baseline(name: str, height: float, x: Any, place: dict[str, Any]) -> list[alt.Chart]:  # noqa: ANN401  (see `_by_policy`)
    base = alt.Chart(pd.DataFrame([{"name": name, "height": height}])).encode(y=alt.Y("height:Q", title=ACCURACY))
    return [base.mark_rule(strokeDash=[5, 4], color=INK, opacity=0.7), base.mark_text(**place, **halo()).encode(x=x, text="name:N")]


def _chosen_budget(outcome: Outcome) -> list[alt.Chart]:
    """A line at the selection's budget, its name at the foot, and a ring around what was measured there."""
    layers = budget_line(outcome, outcome.budget, f"selection: {outcome.budget:,} {outcome.unit}")
    if outcome.is_full:
        return layers
    ringed = [{"policy": outcome.policy, "budget": outcome.budget, "mean": 100 * float(outcome.chosen(outcome.policy)["mean"])}]
    ring = alt.Chart(pd.DataFrame(ringed)).transform_filter(VISIBLE).encode(x="budget:Q", y=alt.Y("mean:Q", title=ACCURACY))
    return [*layers, ring.mark_point(size=240, color=ACCENT, strokeWidth=1.5, filled=False)]


def budget_line(
    outcome: Outcome,
    budget: int,
    name: str,
    line: int = 0,
    *,
    foot: bool = True,
    **look: Any,  # noqa: ANN401  (of a rule)
) -> list[alt.Chart]:
    """A line at a budget, its name on a line of text, counted from 0, at the foot of the chart or at its head."""
    late = budget > outcome.curve.points / (4 if outcome.unit == "copies" else 2)  # right of the middle of the axis
    place: dict[str, Any] = {"align": "right", "dx": -6} if late else {"align": "left", "dx": 6}
    place |= {"baseline": "bottom", "dy": -6 - 16 * line} if foot else {"baseline": "top", "dy": 6 + 16 * line}
    base = alt.Chart(pd.DataFrame([{"budget": budget, "name": name}])).encode(x="budget:Q")
    text = base.mark_text(**place, **halo()).encode(y=alt.value("height" if foot else 0), text="name:N")
    return [base.mark_rule(color=ACCENT, opacity=0.6, **look), text]


def named(column: str, names: list[str]) -> alt.Y:
    """The axis of names down the left side; its room is told, since before the page's type is known labels are measured too short."""
    room = min(LONGEST, 7 * max(map(len, names))) + 8
    return alt.Y(f"{column}:N", sort=names, title=None, axis=alt.Axis(labelLimit=LONGEST, minExtent=room))


def halo() -> dict[str, Any]:
    """The look of text that stands on lines."""
    return {"color": INK, "stroke": PAPER, "strokeWidth": 4, "strokeJoin": "round", "fontSize": 12}


def score_chart(scores: Scores, selected: npt.NDArray[np.int64]) -> dict[str, Any]:
    """How many points have which score, on a logarithmic axis of counts: all points, and the selected ones in front of them."""
    edges = _edges(scores.values)
    bars = _bars(scores.values, edges, "all points") + _bars(scores.values[selected], edges, "selected points")
    counts = alt.Scale(type="log", domain=[EMPTY, 1.3 * max(bar["points"] for bar in bars)], nice=False)
    chart = (
        alt.Chart(pd.DataFrame(bars))
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X(
                "from:Q",
                bin="binned",
                title=SCORE_TITLES.get(scores.method, f"score: {scores.method}"),
                axis=alt.Axis(format="~g", tickCount=AS_FIT),
            ),
            x2="to:Q",
            y=alt.Y("points:Q", title="points (logarithmic)", scale=counts, axis=alt.Axis(values=[10**k for k in range(8)], format=",d")),
            y2=alt.datum(EMPTY),
            color=alt.Color("kind:N", scale=alt.Scale(domain=["all points", "selected points"], range=["var(--bar)", ACCENT]), legend=None),
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("kind", "score", "points")],
        )
    )
    return finished(chart, 260, "How many points have which score, all of them and the selected ones")


def _edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = values.min(), values.max()
    edges = np.unique(np.linspace(low, high, BINS + 1))
    return edges if len(edges) > 1 else np.array([low - 0.5, high + 0.5])


def _bars(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], kind: str) -> Records:
    counts, _ = np.histogram(values, edges)
    bins = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    return [
        {"kind": kind, "from": low, "to": high, "points": count, "score": f"{low:.3g} to {high:.3g}"} for low, high, count in bins if count
    ]


def finished(chart: alt.TopLevelMixin, height: int, description: str) -> dict[str, Any]:
    """The chart as a specification as wide as its place on the page, in the page's type and colours, described for who cannot see it."""
    axis: dict[str, Any] = {"labelColor": QUIET, "titleColor": INK, "titleFontWeight": "normal", "labelFontSize": 12, "titleFontSize": 13}
    lines = {"gridColor": "var(--line)", "domainColor": "var(--line)", "tickColor": "var(--line)", "titlePadding": 10}
    placed = chart.properties(width="container", height=height, background="transparent", description=description)
    styled = placed.configure(font="inherit").configure_view(stroke=None).configure_axis(**axis, **lines).configure_axisX(grid=False)
    specification: dict[str, Any] = styled.to_dict()
    return specification
