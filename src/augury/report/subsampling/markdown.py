"""Markdown: tables, and numbers as they are read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

NOTHING = "—"
NUMBER = re.compile(r"[<−+±\d.,% ]*|—")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in GitHub's Markdown; columns that hold numbers alone stand to the right."""
    body = [[_escaped(cell) for cell in row] for row in rows]
    columns = zip(*body, strict=True) if body else [() for _ in header]
    rules = ["---:" if all(NUMBER.fullmatch(cell) for cell in column) else "---" for column in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rules, *body)) + "\n"


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def number(value: float, decimals: int) -> str:
    """A number with a proper minus sign; a dash where it is unknown."""
    return NOTHING if math.isnan(value) else f"{value:.{decimals}f}".replace("-", "−")


def percent(share: float, decimals: int) -> str:
    """A share of one in per cent, without the sign; a dash where it is unknown."""
    return number(100 * share, decimals)


def probability(p: float) -> str:
    """A p-value: three decimals, or its order of magnitude where it is small."""
    if math.isnan(p):
        return NOTHING
    return f"{p:.3f}" if p >= 0.001 else f"< 1e−{min(300, math.floor(-math.log10(max(p, 1e-300))))}"
