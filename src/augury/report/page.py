"""The page: results laid out, escaped, and sealed.

The page carries everything inside: styles, pictures as data URIs, and the charts' script. A content-security policy forbids it to load
anything, and to run any script but its own, which it names by its digest; Vega's expressions are interpreted, not compiled, for
that reason. Text is escaped wherever it stands, so that hostile class names and paths are shown and do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from augury.report.charts import COUNTED, accuracy_chart, score_chart
from augury.report.copy_folder import CopyRunFolder
from augury.report.copy_page import copy_content, copy_facts
from augury.report.folder import RunFolder
from augury.report.outcome import Outcome
from augury.report.pictures import cards, cards_with_copies
from augury.report.words import NOTHING, accuracy, areas, claim_and_evidence, interval, number, share, summary_rows

# The order in which the configuration is told; settings that are not named here follow.
SETTINGS = (
    *("data", "image", "classes", "class_names", "first", "size", "train_points", "test", "test_points", "test_copies"),
    *("validation", "validation_points", "transform", "copies_per_point", "model", "features", "weights", "epochs", "C"),
    *("unit", "score", "target", "policy", "preference", "order", "budget", "price", "copy_weight", "downweight", "seeds", "seed"),
)


def render(run: RunFolder | CopyRunFolder) -> str:
    """The whole page as HTML."""
    environment = Environment(
        loader=PackageLoader("augury", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    environment.filters |= {"number": number, "share": share, "setting": _setting, "typeset": _typeset}
    return environment.get_template("page.html.jinja").render(_content(run) | _sealed())


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
        "facts": _facts(run, outcome),
        "config": _in_order(run.config),
        **(_point_content(run) if isinstance(run, RunFolder) else copy_content(run, outcome)),
    }


def _point_content(run: RunFolder) -> dict[str, Any]:
    selection, gallery = run.ordering.to_frame(), run.gallery
    return {
        "score_chart": score_chart(run.scores, run.ordering.selected),
        "highest": cards(gallery.highest, gallery.highest_images, selection),
        "lowest": cards(gallery.lowest, gallery.lowest_images, selection),
        "chosen": cards_with_copies(gallery, selection),
    }


def _facts(run: RunFolder | CopyRunFolder, outcome: Outcome) -> list[tuple[str, str]]:
    """The few settings that a reader needs to place the result."""
    named = [(name, _setting(run.config[name])) for name in ("data", "transform", "model", "score") if run.config.get(name) is not None]
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


def _setting(value: Any) -> str:  # noqa: ANN401  (anything JSON can hold)
    """A setting's value as a person reads it."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_setting(part) for part in value)
    return str(value)


def _typeset(text: str) -> str:
    """`text` with its numbers tied to their per cent signs, and with typographic apostrophes."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")


@cache
def _sealed() -> dict[str, Any]:
    """The page's style and script, and the policy that allows these and nothing else."""
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    script = vl_convert.javascript_bundle(_resource("charts.js"), version)
    style = _resource("style.css")
    policy = {
        "default-src": "'none'",
        "script-src": _digest(script),
        "style-src": _digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return {
        "script": Markup(script),  # noqa: S704  (the package's own text, which no input reaches)
        "style": Markup(style),  # noqa: S704  (the same)
        "policy": "; ".join(f"{name} {allowed}" for name, allowed in policy.items()),
    }


def _resource(name: str) -> str:
    return files("augury.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
