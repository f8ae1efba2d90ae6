"""What the page of a run that chose copies shows beside what every page does."""

from __future__ import annotations

from typing import Any

from augury.report.copy_charts import ROWS, chosen_by_class, forecast_chart, heat_map
from augury.report.copy_folder import CopyRunFolder
from augury.report.copy_pictures import flagged_copies
from augury.report.copy_words import agreement, flagged, forecast_rows, recommendation, target_words
from augury.report.forecast import Forecast
from augury.report.outcome import Outcome
from augury.report.words import number


def copy_content(run: CopyRunFolder, outcome: Outcome) -> dict[str, Any]:
    """The template's variables."""
    forecast = Forecast(run.ordering, outcome)
    every = chosen_by_class(run.ordering, run.scores, run.gallery.copy_names.tolist())
    shown = every.most(ROWS)
    return {
        "forecast": forecast,
        "recommendation": recommendation(run.ordering),
        "agreement": agreement(forecast.correlation("loss"), forecast.correlation("accuracy")),
        "target": target_words(run.config.get("target")),
        "loss_chart": forecast_chart(forecast, "loss"),
        "forecast_accuracy_chart": forecast_chart(forecast, "accuracy"),
        "forecast_rows": forecast_rows(forecast.compared, outcome.decimals),
        "shown": shown,
        "hidden": len(every.names) - len(shown.names),
        "heat_map": heat_map(shown),
        "flagged": flagged_copies(run),
        "flagged_words": flagged(run.flags, len(run.ordering)),
    }


def copy_facts(run: CopyRunFolder) -> list[tuple[str, str]]:
    """What a reader needs to place a choice of copies."""
    weight = run.ordering.weight_at(len(run.ordering.selected))
    return [("target", str(run.config.get("target"))), ("weight of a copy", number(weight))]
