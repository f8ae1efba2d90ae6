"""The page of a run: its results laid out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from augury.report.charts import COUNTED, accuracy_chart, score_chart
from augury.report.copy_folder import CopyRunFolder
from augury.report.copy_page import copy_content, copy_facts
from augury.report.folder import RunFolder
from augury.report.gallery import explorer
from augury.report.outcome import Outcome
from augury.report.sealed import filled, setting
from augury.report.words import accuracy, areas, claim_and_evidence, interval, summary_rows

# The order in which the configuration is told; settings that are not named here follow.
SETTINGS = (
    *("data", "image", "classes", "class_names", "first", "size", "train_points", "test", "test_points", "test_copies"),
    *("validation", "validation_points", "transform", "copies_per_point", "model", "features", "weights", "epochs", "C"),
    *("unit", "score", "target", "policy", "preference", "order", "budget", "price", "copy_weight", "downweight", "seeds", "seed"),
)


def render(run: RunFolder | CopyRunFolder) -> str:
    """The whole page as HTML."""
    return filled("page.html.jinja", _content(run), "charts.js", "gallery.js")


def _content(run: RunFolder | CopyRunFolder) -> dict[str, Any]:
    outcome = Outcome(run.curve, run.ordering)
    claim, evidence = claim_and_evidence(outcome)
    return {
        "run": run,
        "outcome": outcome,
        "claim": claim,
        "evidence": evidence[0].upper() + evidence[1:],
        "counted": COUNTED[outcome.unit],
        "summary": summary_rows(run.curve, run.ordering),
        "areas": areas(outcome),
        "measurements": [(row, accuracy(outcome, row), interval(outcome, row)) for row in _rows(outcome)],
        "accuracy_chart": accuracy_chart(outcome),
        "explorer": explorer(run),
        "facts": _facts(run, outcome),
        "config": _in_order(run.config),
        **(_point_content(run) if isinstance(run, RunFolder) else copy_content(run, outcome)),
    }


def _point_content(run: RunFolder) -> dict[str, Any]:
    return {"score_chart": score_chart(run.scores, run.ordering.selected)}


def _facts(run: RunFolder | CopyRunFolder, outcome: Outcome) -> list[tuple[str, str]]:
    """The few settings that a reader needs to place the result."""
    named = [(name, setting(run.config[name])) for name in ("data", "transform", "model", "score") if run.config.get(name) is not None]
    budget = ("budget", f"{outcome.budget:,} of {outcome.curve.points:,} {outcome.unit}")
    if isinstance(run, CopyRunFolder):
        return [*named, budget, *copy_facts(run)]
    return [*named, ("policy", outcome.policy), budget]


def _rows(outcome: Outcome) -> list[Any]:
    return [row for policy in outcome.policies for _, row in outcome.measurements(policy).iterrows()]


def _in_order(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    known = [name for name in SETTINGS if name in config]
    others = sorted(set(config) - {*SETTINGS, "command"})
    return [(name, config[name]) for name in [*known, *others]]
