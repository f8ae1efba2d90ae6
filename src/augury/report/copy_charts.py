"""The charts of a choice of copies: the forecast beside the measurement, and which transformations were chosen for which classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from augury.copies import CopyOrdering
from augury.report.charts import ACCENT, INK, QUIET, budget_line, budgets, finished
from augury.report.forecast import Forecast, Quantity
from augury.scores import Scores

TITLES = {"loss": "mean loss (nats)", "accuracy": "accuracy (%)"}
ROWS = 40  # transformations that are shown: those most chosen
NUMBERED = 12  # classes up to which each cell shows its number
LONGEST = 150  # pixels of a transformation's name
FAINTEST, STRONGEST = 0.04, 0.62  # opacities between which text stays legible in light and in dark


def forecast_chart(forecast: Forecast, of: Quantity) -> dict[str, Any]:
    """Predicted and measured values against the number of copies, with the selection's and the recommended budget marked."""
    outcome, rises = forecast.outcome, of == "accuracy"  # names stand where the lines do not
    scale = 100 if of == "accuracy" else 1
    told = [
        {"kind": kind, "budget": budget, "value": scale * value}
        for kind, frame in (("predicted", forecast.predicted), ("measured", forecast.measured))
        for budget, value in zip(frame["budget"].tolist(), frame[of].tolist(), strict=True)
    ]
    heights = alt.Y("value:Q", title=TITLES[of], scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=5))
    colour = alt.Color("kind:N", scale=alt.Scale(domain=["predicted", "measured"], range=[QUIET, ACCENT]), legend=None)
    base = alt.Chart(pd.DataFrame(told)).encode(x=budgets(outcome), y=heights, color=colour)
    details = [alt.Tooltip("kind:N"), alt.Tooltip("budget:Q", format=","), alt.Tooltip("value:Q", title=TITLES[of], format=".4~g")]
    predicted, measured = (base.transform_filter(alt.datum.kind == kind) for kind in ("predicted", "measured"))
    layers = [
        predicted.mark_line(strokeWidth=2, strokeDash=[6, 4]),
        measured.mark_line(strokeWidth=2),
        *budget_line(outcome, forecast.recommended, f"recommended: {forecast.recommended:,}", 1, foot=rises, strokeDash=[2, 3]),
        *budget_line(outcome, outcome.budget, f"selection: {outcome.budget:,}", foot=rises),
        predicted.mark_point(filled=True, size=30, opacity=1, shape="square").encode(tooltip=details),
        measured.mark_point(filled=True, size=50, opacity=1).encode(tooltip=details),
    ]
    return finished(
        alt.layer(*layers), 300, f"Predicted and measured {of} against the number of copies added; the table below holds the numbers"
    )


class Chosen(NamedTuple):
    """How many copies were chosen: a row a transformation, a column a class; with how many points each class has."""

    names: list[str]
    classes: list[str]
    counts: Int64[np.ndarray, "names classes"]
    points: Int64[np.ndarray, " classes"]

    @property
    def shares(self) -> Float64[np.ndarray, "names classes"]:
        """The share of a class's points for which a transformation was chosen."""
        found: Float64[np.ndarray, "names classes"] = self.counts / np.maximum(self.points, 1)
        return found

    def most(self, rows: int) -> Chosen:
        """The transformations that were chosen most, in their own order."""
        kept = np.sort(np.argsort(-self.counts.sum(axis=1), kind="stable")[:rows])
        return Chosen([self.names[i] for i in kept], self.classes, self.counts[kept], self.points)


def chosen_by_class(ordering: CopyOrdering, scores: Scores, names: list[str]) -> Chosen:
    """Count the chosen copies by transformation and class."""
    chosen, classes = len(ordering.selected), list(scores.classes)
    counts = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(counts, (ordering.copy[:chosen], scores.labels[ordering.point[:chosen]]), 1)
    return Chosen(names, classes, counts, np.bincount(scores.labels, minlength=len(classes)))


def heat_map(chosen: Chosen) -> dict[str, Any]:
    """A cell a transformation and class, the stronger its colour, the larger the share of the class's points for which it was chosen."""
    cells = [
        {"transformation": name, "class": label, "chosen": int(count), "of": int(of), "share": 100 * float(share)}
        for name, counts, shares in zip(chosen.names, chosen.counts, chosen.shares, strict=True)
        for label, count, of, share in zip(chosen.classes, counts, chosen.points, shares, strict=True)
    ]
    x = alt.X(
        "class:N", sort=chosen.classes, title="class", axis=alt.Axis(orient="top", labelAngle=0 if len(chosen.classes) <= NUMBERED else -90)
    )
    room = min(LONGEST, 7 * max(map(len, chosen.names))) + 8  # before the page's type is known, labels are measured too short
    y = alt.Y("transformation:N", sort=chosen.names, title=None, axis=alt.Axis(labelLimit=LONGEST, minExtent=room))
    base = alt.Chart(pd.DataFrame(cells)).encode(x=x, y=y)
    shade = alt.Opacity(
        "share:Q", scale=alt.Scale(domain=[0, max(float(chosen.shares.max()) * 100, 1e-9)], range=[FAINTEST, STRONGEST]), legend=None
    )
    details = [
        *(alt.Tooltip(f"{name}:N") for name in ("transformation", "class")),
        *(alt.Tooltip(f"{name}:Q", format=",") for name in ("chosen", "of")),
        alt.Tooltip("share:Q", title="share (%)", format=".1f"),
    ]
    layers = [base.mark_rect(color=ACCENT, stroke="var(--paper)").encode(opacity=shade, tooltip=details)]
    if len(chosen.classes) <= NUMBERED:
        layers.append(base.mark_text(color=INK, fontSize=11).encode(text=alt.Text("chosen:Q", format=",")))
    told = "How many copies of each transformation were chosen for each class; the table below holds the numbers"
    return finished(alt.layer(*layers), 24 * len(chosen.names) + 8, told)
