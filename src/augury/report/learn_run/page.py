"""The page of `augury learn`: charts, pictures and tables laid out."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from augury.learned.augmentation import LEARNED as DIVERGED
from augury.report.learn_run.charts import accuracy_chart, check_chart, components_chart, history_chart
from augury.report.learn_run.figures import Sheet
from augury.report.learn_run.folder import LEARNED, LearnFolder
from augury.report.learn_run.pictures import grid, strips
from augury.report.learn_run.plots import listed
from augury.report.learn_run.words import check_words, headline, rows
from augury.report.pictures import Picture
from augury.report.sealed import filled
from augury.report.subsampling.figures.canvas import DPI
from augury.report.words import NOTHING

FACTS = ("data", "model", "rule", "transformation", "steps", "share")


def render(run: LearnFolder, figures: Mapping[str, Sheet]) -> str:
    """The whole page as HTML."""
    return filled("learn.html.jinja", _content(run, figures), "charts.js")


def _content(run: LearnFolder, figures: Mapping[str, Sheet]) -> dict[str, Any]:
    claim, evidence = headline(run.results, elsewhere=run.config.get("elsewhere", False))
    config = {name: value for name, value in run.config.items() if name not in ("command", "kind", "training")}
    return {
        "run": run,
        "claim": claim,
        "evidence": _minus(evidence),
        "learned": LEARNED,
        "facts": [(name.replace("_", " "), run.config[name]) for name in FACTS if name in run.config] + [("labels", run.words)],
        "rows": [(row.name, [_minus(cell) for cell in (*row.cells, *_foreseen(run, row.name))]) for row in rows(run.results)],
        "images": int(run.results["test_images"].iloc[0]),
        "agreement": _minus(_agreement(*check_words(run.check))),
        "laid": _laid(run.components),
        "hidden": len(run.components) - len(listed(run.components)),
        "solves": len(run.history),
        "folds": sorted({int(fold) + 1 for fold in run.history["fold"]}),
        "config": sorted(config.items()),
        "grid": grid(run),
        "strips": strips(run),
        "flows": _picture(figures["flows"]) if "flows" in figures else None,
        **_charts(run),
    }


def _charts(run: LearnFolder) -> dict[str, Any]:
    return {
        "accuracy_chart": accuracy_chart(run),
        "check_chart": check_chart(run),
        "components_chart": components_chart(run),
        "history_words": run.axes.words,
        "effect_chart": history_chart(run, "effect", run.axes.effect),
        "divergence_chart": history_chart(run, "divergence", run.axes.divergence),
    }


def _foreseen(run: LearnFolder, name: str) -> list[str]:
    """The cell of what was foreseen of a row, where it was."""
    if run.foreseen is None:
        return []
    agreements = run.foreseen["agreement"]
    return [f"{float(agreements[name]):.3f}" if name in agreements.index else NOTHING]


def _agreement(correlation: float, slope: float) -> str:
    if math.isnan(correlation):
        return "No batch changed anything, so nothing can be said"
    return (
        f"Predicted and measured changes correlate with r = {correlation:.3f}; the slope of the measured ones is {slope:.2f}, 1 being exact"
    )


def _laid(components: pd.DataFrame) -> list[str] | None:
    """The components that are laid over another augmentation, those that have learned most first; None where E draws no taus."""
    if components["divergence"].isna().all():
        return None
    known = components[components["divergence"] > DIVERGED].sort_values("divergence", ascending=False, kind="stable")
    return [str(name).replace("_", " ") for name in known["component"]]


def _picture(sheet: Sheet) -> Picture:
    width, height = (round(side * DPI) for side in sheet.size)
    source = f"data:image/png;base64,{base64.b64encode(sheet.content).decode()}"
    return Picture(source, width, height, "Flows as arrows over training images")


def _minus(text: str) -> str:
    """`text` with proper minus signs before its numbers."""
    return "".join("\N{MINUS SIGN}" if mark == "-" and after.isdigit() else mark for mark, after in zip(text, f"{text[1:]} ", strict=True))
