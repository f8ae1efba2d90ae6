"""The page's charts of numbers, which follow its theme and tell their values; `plots.py` draws the same on paper."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from augury.report.charts import ACCENT, AS_FIT, HIDDEN, INK, QUIET, finished, named
from augury.report.learn_run.folder import LEARNED, LearnFolder
from augury.report.learn_run.plots import UNIFORM, listed
from augury.report.learn_run.words import check_words, rows

SERIES = 7  # colours of the page's style
CHANGE = "change of the target’s loss (nats)"
FORMAT = ".3~g"
EXTENT = 52  # pixels of the widest number at the left, which is measured too short before the page's type is known
Chart = dict[str, Any]


def accuracy_chart(run: LearnFolder) -> Chart:
    """A line an augmentation: each network as a dot, their mean as a diamond with its 95 % interval."""
    found = rows(run.results)
    names = [row.name for row in found]
    means = [
        {"augmentation": row.name, "mean": 100 * row.accuracy.mean, "low": _or(row.accuracy.low, row), "high": _or(row.accuracy.high, row)}
        for row in found
    ]
    networks = run.results[["augmentation", "seed", "accuracy"]].assign(accuracy=100 * run.results["accuracy"])
    own = networks["accuracy"]
    room = max(0.1, 0.6 * float(own.max() - own.min()))  # for intervals, which may be far wider where networks are few
    scale = alt.Scale(domain=[max(0.0, float(own.min()) - room), min(100.3, float(own.max()) + room)], nice=False, zero=False)
    y = named("augmentation", names)
    colour = alt.condition(alt.datum.augmentation == LEARNED, alt.value(ACCENT), alt.value(QUIET))

    def x(name: str) -> alt.X:
        return alt.X(f"{name}:Q", title="test accuracy (%)", scale=scale, axis=alt.Axis(tickCount=AS_FIT))

    each = alt.Chart(networks).encode(y=y, color=colour)
    both = alt.Chart(pd.DataFrame(means)).encode(y=y, color=colour)
    layers = [
        both.mark_rule(strokeWidth=2, clip=True).encode(x=x("low"), x2="high:Q"),
        each.mark_point(filled=True, size=45, opacity=0.45).encode(x=x("accuracy"), tooltip=_told("augmentation", "seed", "accuracy")),
        both.mark_point(filled=True, shape="diamond", size=110, opacity=1).encode(
            x=x("mean"), tooltip=_told("augmentation", "mean", "low", "high")
        ),
    ]
    return finished(alt.layer(*layers), 34 * len(names), "Test accuracy of each network, a line an augmentation; the table holds the means")


def _or(end: float, row: Any) -> float:  # noqa: ANN401  (a row of `words.rows`)
    return 100 * (row.accuracy.mean if np.isnan(end) else end)


def check_chart(run: LearnFolder) -> Chart:
    """A dot an augmented batch, the line on which predictions come true, and the line by least squares."""
    found = run.check[["predicted", "measured"]].reset_index(drop=True).rename_axis("batch").reset_index()
    predicted, measured = found["predicted"].to_numpy(), found["measured"].to_numpy()
    _, slope = check_words(run.check)
    ends = np.array([predicted.min(), predicted.max()])
    lines = [{"line": "exact", "predicted": end, "measured": end} for end in ends.tolist()]
    if not np.isnan(slope):
        fitted = measured.mean() + slope * (ends - predicted.mean())
        lines += [
            {"line": "fitted", "predicted": end, "measured": value} for end, value in zip(ends.tolist(), fitted.tolist(), strict=True)
        ]
    x = alt.X("predicted:Q", title=f"predicted {CHANGE}", axis=alt.Axis(format=FORMAT, tickCount=AS_FIT, labelOverlap="greedy"))
    y = alt.Y("measured:Q", title=f"measured {CHANGE}", axis=alt.Axis(format=FORMAT, tickCount=6, minExtent=EXTENT))
    colour = alt.Color("line:N", scale=alt.Scale(domain=["exact", "fitted"], range=[INK, "var(--series-2)"]), legend=None)
    dash = alt.StrokeDash("line:N", scale=alt.Scale(domain=["exact", "fitted"], range=[[5, 4], [1, 0]]), legend=None)
    layers = [
        alt.Chart(pd.DataFrame(lines)).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour, strokeDash=dash),
        alt.Chart(found)
        .mark_point(filled=True, size=45, opacity=0.6, color=ACCENT)
        .encode(x=x, y=y, tooltip=_told("batch", "predicted", "measured")),
    ]
    return finished(alt.layer(*layers), 340, "Predicted against measured change of the target's loss, a dot an augmented batch")


def components_chart(run: LearnFolder) -> Chart:
    """Mean and deviation of the components of tau that differ most from uniform ones, and those of uniform ones as a band."""
    shown = listed(run.components)
    told = shown.assign(component=[str(name).replace("_", " ") for name in shown["component"]])
    told = told.assign(low=shown["mean"] - shown["deviation"], high=shown["mean"] + shown["deviation"])
    y = named("component", list(told["component"]))
    scale = alt.Scale(domain=[-1, 1])

    def x(name: str) -> alt.X:
        return alt.X(f"{name}:Q", title="component of tau", scale=scale, axis=alt.Axis(values=[-1, -0.5, 0, 0.5, 1], format="~g"))

    band = alt.Chart(pd.DataFrame([{"from": -UNIFORM, "to": UNIFORM}])).mark_rect(color="var(--bar)", opacity=0.3)
    base = alt.Chart(told[["component", "mean", "deviation", "low", "high"]]).encode(y=y)
    layers = [
        band.encode(x=x("from"), x2="to:Q"),
        alt.Chart(pd.DataFrame([{"at": 0}])).mark_rule(color=QUIET).encode(x=x("at")),
        base.mark_rule(color=ACCENT, strokeWidth=2, clip=True).encode(x=x("low"), x2="high:Q"),
        base.mark_point(filled=True, color=ACCENT, size=60, opacity=1).encode(x=x("mean"), tooltip=_told("component", "mean", "deviation")),
    ]
    return finished(alt.layer(*layers), 20 * len(told) + 10, "Mean and spread of components of tau, beside those of a uniform distribution")


def history_chart(run: LearnFolder, column: str, title: str) -> Chart:
    """A quantity of the teaching against F's steps, a line a fold; for the effect also, dashed, that of some draws."""
    folds = [f"fold {int(fold) + 1}" for fold in run.history["fold"]]
    told = run.history[["step"]].assign(fold=folds, value=run.history[column], drawn="all draws")
    if column == "effect":
        told = pd.concat([told, told.assign(value=run.history["kept"], drawn=run.axes.kept)], ignore_index=True)
    names = sorted(set(folds), key=lambda name: int(name.split()[1]))
    palette = [f"var(--series-{number % SERIES})" for number in range(len(names))]
    base = (
        alt.Chart(told)
        .transform_filter(f"indexof({HIDDEN}, datum.fold) < 0")
        .encode(
            x=alt.X("step:Q", title="step of F", axis=alt.Axis(tickCount=5, format="~s")),
            y=alt.Y(
                "value:Q",
                title=title,
                axis=alt.Axis(format=FORMAT, minExtent=EXTENT),
                scale=alt.Scale(domain=_extent(told["value"]), nice=True),
            ),
            color=alt.Color("fold:N", scale=alt.Scale(domain=names, range=palette), legend=None),
            strokeDash=alt.StrokeDash("drawn:N", scale=alt.Scale(domain=["all draws", run.axes.kept], range=[[1, 0], [3, 3]]), legend=None),
        )
    )
    points = base.transform_filter("datum.drawn == 'all draws'").mark_point(filled=True, size=35, opacity=1)
    layers = [base.mark_line(strokeWidth=2), points.encode(strokeDash=alt.Undefined, tooltip=_told("fold", "step", "value"))]
    return finished(alt.layer(*layers).add_params(alt.param(name=HIDDEN, value=[])), 280, f"{title} by step, a line a fold")


def _extent(values: pd.Series) -> list[float]:
    """From the lowest to the highest value, zero among them."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    return [low, high if high > low else 1.0]


def _told(*names: str) -> list[alt.Tooltip]:
    words = ("augmentation", "component", "fold")
    return [alt.Tooltip(f"{name}:N") if name in words else alt.Tooltip(f"{name}:Q", format=".4~g") for name in names]
