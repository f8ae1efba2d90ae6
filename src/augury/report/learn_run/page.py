"""The page: figures and tables laid out, escaped, and sealed: it carries everything inside and runs no script."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from augury.report.learn_run.figures import Sheet
from augury.report.learn_run.folder import LEARNED, LearnFolder
from augury.report.learn_run.plots import listed
from augury.report.learn_run.words import check_words, headline, rows
from augury.report.subsampling.figures.canvas import DPI
from augury.report.words import NOTHING

FACTS = ("data", "model", "rule", "transformation", "steps", "share")


def render(run: LearnFolder, figures: Mapping[str, Sheet]) -> str:
    """The whole page as HTML."""
    environment = Environment(
        loader=PackageLoader("augury", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"setting": _setting, "typeset": _typeset}
    return environment.get_template("learn.html.jinja").render(_content(run, figures) | _sealed())


def _content(run: LearnFolder, figures: Mapping[str, Sheet]) -> dict[str, Any]:
    claim, evidence = headline(run.results)
    correlation, slope = check_words(run.check)
    config = {name: value for name, value in run.config.items() if name not in ("command", "kind", "training")}
    return {
        "run": run,
        "claim": claim,
        "evidence": evidence,
        "learned": LEARNED,
        "facts": [(name.replace("_", " "), run.config[name]) for name in FACTS if name in run.config] + [("labels", run.words)],
        "rows": rows(run.results),
        "images": int(run.results["test_images"].iloc[0]),
        "agreement": _agreement(correlation, slope),
        "hidden": len(run.components) - len(listed(run.components)),
        "solves": len(run.history),
        "config": sorted(config.items()),
        "figures": {name: _picture(sheet) for name, sheet in figures.items()},
    }


def _agreement(correlation: float, slope: float) -> str:
    if math.isnan(correlation):
        return "No batch changed anything, so nothing can be said"
    return (
        f"Predicted and measured changes correlate with r = {correlation:.3f}; the slope of the measured ones is {slope:.2f}, 1 being exact"
    )


def _picture(sheet: Sheet) -> dict[str, Any]:
    width, height = (round(side * DPI) for side in sheet.size)
    return {"source": f"data:image/png;base64,{base64.b64encode(sheet.content).decode()}", "width": width, "height": height}


def _setting(value: Any) -> str:  # noqa: ANN401  (anything JSON can hold)
    """A setting's value as a person reads it."""
    if value is None:
        return NOTHING
    return ", ".join(map(_setting, value)) if isinstance(value, list) else str(value)


def _typeset(text: str) -> str:
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace("'", "\N{RIGHT SINGLE QUOTATION MARK}").replace("-", "\N{MINUS SIGN}")


def _sealed() -> dict[str, Any]:
    """The page's style, and the policy that allows this and pictures from within, and nothing else."""
    style = "".join(files("augury.report").joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "learn.css"))
    known = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = {"default-src": "'none'", "style-src": f"'sha256-{known}'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    return {
        "style": Markup(style),  # noqa: S704  (the package's own text, which no input reaches)
        "policy": "; ".join(f"{name} {allowed}" for name, allowed in policy.items()),
    }
