"""The charts of a choice of copies: the forecast beside the measurement, and which transformations were chosen for which classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from augury.copies import CopyOrdering
from augury.report.charts import ACCENT, HIDDEN, INK, QUIET, budget_line, budgets, finished, named
from augury.report.forecast import Forecast, Quantity
from augury.report.words import number
from augury.scores import Scores

TITLES = {"loss": "mean loss (nats)", "accuracy": "accuracy (%)"}
MEASURE = "measure"  # the parameter that says what the heat map shows: "chosen" or "gain"
ROWS = 40  # transformations that are shown: those most chosen
ROOMY = 54  # pixels of a cell in which any number fits
NUMBERED = 12  # classes up to which each cell shows its number
FAINTEST, STRONGEST = 0.04, 0.62  # opacities between which text stays legible in light and in dark


def forecast_chart(forecast: Forecast, of: Quantity) -> dict[str, Any]:
    """Predicted and measured values against the number of copies, with the selection's and the recommended budget marked."""
    outcome, rises = forecast.outcome, of == "accuracy"  # names stand where the lines do not
    scale = 100 if of == "accuracy" else 1
    values = [
        {"kind": kind, "budget": budget, "value": scale * value}
        for kind, frame in (("predicted", forecast.predicted), ("measured", forecast.measured))
        for budget, value in zip(frame["budget"].tolist(), frame[of].tolist(), strict=True)
    ]
    heights = alt.Y("value:Q", title=TITLES[of], scale=alt.Scale(domain=_extent(values), nice=True), axis=alt.Axis(tickCount=5))
    colour = alt.Color("kind:N", scale=alt.Scale(domain=["predicted", "measured"], range=[QUIET, ACCENT]), legend=None)
    base = alt.Chart(pd.DataFrame(values)).encode(x=budgets(outcome), y=heights, color=colour)
    details = [alt.Tooltip("kind:N"), alt.Tooltip("budget:Q", format=","), alt.Tooltip("value:Q", title=TITLES[of], format=".4~g")]
    visible = {kind: f"datum.kind == '{kind}' && indexof({HIDDEN}, '{kind}') < 0" for kind in ("predicted", "measured")}
    predicted, measured = (base.transform_filter(condition) for condition in visible.values())
    layers = [
        predicted.mark_line(strokeWidth=2, strokeDash=[6, 4]),
        measured.mark_line(strokeWidth=2),
        *budget_line(outcome, forecast.recommended, f"recommended: {forecast.recommended:,}", 1, foot=rises, strokeDash=[2, 3]),
        *budget_line(outcome, outcome.budget, f"selection: {outcome.budget:,}", foot=rises),
        predicted.mark_point(filled=True, size=30, opacity=1, shape="square").encode(tooltip=details),
        measured.mark_point(filled=True, size=50, opacity=1).encode(tooltip=details),
    ]
    told = f"Predicted and measured {of} against the number of copies added; the table below holds the numbers"
    return finished(alt.layer(*layers).add_params(alt.param(name=HIDDEN, value=[])), 300, told)


def _extent(values: list[dict[str, Any]]) -> list[float]:
    """The lowest and the highest value, so that the axis stays as it is while a line is switched off."""
    heights = [float(record["value"]) for record in values]
    low, high = min(heights), max(heights)
    return [low, high if high > low else low + 1]


class Chosen(NamedTuple):
    """What was chosen, a row a transformation, a column a class: how many copies, and how many points each class has.

    `gains` is by how much these copies together were predicted to lower the target's mean loss, in nats, each weighing 1.
    """

    names: list[str]
    classes: list[str]
    counts: Int64[np.ndarray, "names classes"]
    points: Int64[np.ndarray, " classes"]
    gains: Float64[np.ndarray, "names classes"]

    @property
    def shares(self) -> Float64[np.ndarray, "names classes"]:
        """The share of a class's points for which a transformation was chosen."""
        found: Float64[np.ndarray, "names classes"] = self.counts / np.maximum(self.points, 1)
        return found

    def most(self, rows: int) -> Chosen:
        """The transformations that were chosen most, in their own order."""
        kept = np.sort(np.argsort(-self.counts.sum(axis=1), kind="stable")[:rows])
        return Chosen([self.names[i] for i in kept], self.classes, self.counts[kept], self.points, self.gains[kept])


def chosen_by_class(ordering: CopyOrdering, scores: Scores, names: list[str]) -> Chosen:
    """Count the chosen copies, and add up what they are predicted to bring, by transformation and class."""
    chosen, classes = len(ordering.selected), list(scores.classes)
    cells = ordering.copy[:chosen], scores.labels[ordering.point[:chosen]]
    counts, gains = np.zeros((len(names), len(classes)), dtype=np.int64), np.zeros((len(names), len(classes)))
    np.add.at(counts, cells, 1)
    np.add.at(gains, cells, -np.nan_to_num(ordering.influence[:chosen]))
    return Chosen(names, classes, counts, np.bincount(scores.labels, minlength=len(classes)), gains)


def heat_map(chosen: Chosen) -> dict[str, Any]:
    """A cell a transformation and class: how many copies were chosen, or, where the parameter `measure` says so, what they bring.

    The stronger the colour, the larger the share of the class's points for which it was chosen, or the gain.
    """
    few = len(chosen.classes) <= NUMBERED
    x = alt.X("class:N", sort=chosen.classes, title="class", axis=alt.Axis(orient="top", labelAngle=0 if few else -90))
    gain = f"{MEASURE} == 'gain'"
    told = f"{gain} ? (width > {ROOMY * len(chosen.classes)} ? datum.gained : '') : datum.counted"
    base = alt.Chart(pd.DataFrame(_cells(chosen))).encode(x=x, y=named("transformation", chosen.names))
    base = base.transform_calculate(shade=f"{gain} ? datum.worth : datum.share", told=told)
    shade = alt.Opacity("shade:Q", scale=alt.Scale(domain=[0, 1], range=[FAINTEST, STRONGEST], clamp=True), legend=None)
    titles = {
        "transformation": "transformation",
        "class": "class",
        "counted": "chosen",
        "part": "of the points",
        "gained": "predicted gain (nats)",
    }
    details = [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]
    layers = [base.mark_rect(color=ACCENT, stroke="var(--paper)", cursor="pointer").encode(opacity=shade, tooltip=details)]
    if few:
        layers.append(base.mark_text(color=INK, fontSize=11, limit=60).encode(text="told:N", tooltip=details))
    chart = alt.layer(*layers).add_params(alt.param(name=MEASURE, value="chosen"))
    description = "How many copies of each transformation were chosen for each class; the table below holds the numbers"
    return finished(chart, 24 * len(chosen.names) + 8, description)


def _cells(chosen: Chosen) -> list[dict[str, Any]]:
    """A record a cell; `share` and `worth` are parts of the largest share and gain."""
    most, best = (max(float(values.max()), 1e-300) for values in (chosen.shares, chosen.gains))
    return [
        {
            "transformation": name,
            "class": label,
            "chosen": int(chosen.counts[i, j]),
            "of": int(chosen.points[j]),
            "share": float(chosen.shares[i, j]) / most,
            "gain": float(chosen.gains[i, j]),
            "worth": float(chosen.gains[i, j]) / best,
            "counted": f"{chosen.counts[i, j]:,}",
            "gained": number(chosen.gains[i, j]),
            "part": f"{100 * chosen.shares[i, j]:.1f} % of {chosen.points[j]:,}",
        }
        for i, name in enumerate(chosen.names)
        for j, label in enumerate(chosen.classes)
    ]
