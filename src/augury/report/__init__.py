"""A run folder as one page that opens offline, `report.html`: it reads results and computes none."""

from __future__ import annotations

from pathlib import Path

from augury.files import write_text
from augury.report.folder import RunFolder
from augury.report.page import render
from augury.report.words import SummaryRow, headline, summary_rows

__all__ = ["SummaryRow", "headline", "summary_rows", "write_report"]


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into a run folder from the results in it, atomically; the same results give the same bytes.

    Raises
    ------
    InputError
        If a result is missing, damaged, or of another run; the message names the file.
    """
    page = render(RunFolder.load(Path(folder)))
    return write_text(Path(folder) / "report.html", page)
