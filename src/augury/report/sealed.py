"""What all pages share: the templates' environment, styles and scripts, and the policy that allows these and nothing else.

A page carries everything inside: styles, pictures as data URIs, the charts' library. A content-security policy forbids it to load anything,
and to run any script but its own, which it names by their digests; Vega's expressions are interpreted, not compiled, for that reason. Text
is escaped wherever it stands, so that hostile class names and paths are shown and do nothing.
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

from augury.report.words import NOTHING, number, share

STYLES = ("style.css", "gallery.css", "learn.css")


def filled(template: str, content: Mapping[str, Any], *scripts: str) -> str:
    """A template with its content, and with these scripts of the package: `charts.js` comes with the library that draws them."""
    environment = Environment(
        loader=PackageLoader("augury", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    environment.filters |= {"number": number, "share": share, "setting": setting, "typeset": _typeset}
    return environment.get_template(template).render({**content, **_sealed(scripts)})


def setting(value: Any) -> str:  # noqa: ANN401  (anything JSON can hold)
    """A setting's value as a person reads it."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(setting(part) for part in value)
    return str(value)


def _typeset(text: str) -> str:
    """`text` with its numbers tied to their per cent signs, and with typographic apostrophes."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")


@cache
def _sealed(scripts: tuple[str, ...]) -> dict[str, Any]:
    """Styles, scripts, and the policy that names them."""
    texts = [_bundled(name) if name == "charts.js" else _resource(name) for name in scripts]
    style = "\n".join(_resource(name) for name in STYLES)
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(map(_digest, texts)),
        "style-src": _digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return {
        "scripts": [Markup(text) for text in texts],  # noqa: S704  (the package's own text, which no input reaches)
        "style": Markup(style),  # noqa: S704  (the same)
        "policy": "; ".join(f"{name} {allowed}" for name, allowed in policy.items()),
    }


@cache
def _bundled(name: str) -> str:
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return str(vl_convert.javascript_bundle(_resource(name), version))


def _resource(name: str) -> str:
    return files("augury.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
