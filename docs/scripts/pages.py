"""Hooks of the site: stored reports become pages, and `::: augury.NAME` is documented where the name is defined.

Reports and figures of `experiments/` become pages without a second copy in `docs/`, and `<!-- stored: FILE: HEADING -->` becomes the first
table under that heading. The documentation of a public name is read from the module that defines it (several names are both a package and
a function), under the name by which people import it; members after the name are the ones to show, if not all. Settings become a table.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from reproduced import EXPERIMENTS, table, whole

import augury


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every stored report and its pictures."""
    for pattern in ("*/*.md", "*/figures/**/*.png"):
        for path in sorted(EXPERIMENTS.glob(pattern)):
            place = Path("experiments") / path.relative_to(EXPERIMENTS)
            files.append(File.generated(config, place.as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401  (what else mkdocs gives)
    """Put stored tables in the places that ask for them, and the place of its definition in the place of each public name."""
    markdown = re.sub(r"^<!-- stored: ([^:]+?)(?:: (.+?))? -->$", _stored, markdown, flags=re.MULTILINE)
    return re.sub(r"^::: augury\.(\w+)((?: \w+)*)$", _defined, markdown, flags=re.MULTILINE)


def _stored(found: re.Match[str]) -> str:
    return table(found[1], found[2]) if found[2] else whole(found[1])


def _defined(found: re.Match[str]) -> str:
    thing = getattr(augury, found[1])
    settings = [field for field in fields(thing) if "help" in field.metadata] if is_dataclass(thing) else []
    options = [f'heading: "augury.{found[1]}"', f'toc_label: "{found[1]}"']
    options += [f"members: [{', '.join(found[2].split())}]"] if found[2] else []
    options += ["show_signature: false"] if settings else []
    lines = [f"::: {thing.__module__}.{thing.__qualname__}", "    options:", *(f"      {option}" for option in options)]
    return "\n".join([*lines, "", *_rows(settings)])


def _rows(settings: list[Field[Any]]) -> list[str]:
    """Settings with their defaults, as a table."""
    defaults = {setting.name: "required" if setting.default is MISSING else f"`{setting.default!r}`" for setting in settings}
    rows = [f"| `{setting.name}` | {setting.metadata['help']} | {defaults[setting.name]} |" for setting in settings]
    return ["| setting | | default |", "| --- | --- | --- |", *rows] if rows else []
