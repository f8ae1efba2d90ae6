"""A run folder as one page that opens offline, `report.html`: it reads results and computes none."""

from __future__ import annotations

from pathlib import Path

from augury.files import read_json, write_text
from augury.report.copy_folder import CopyRunFolder
from augury.report.copy_words import flagged, recommendation
from augury.report.folder import RunFolder
from augury.report.page import render
from augury.report.words import SummaryRow, headline, summary_rows

__all__ = ["SummaryRow", "flagged", "headline", "recommendation", "summary_rows", "write_report"]


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into a run folder from the results in it, atomically; the same results give the same bytes.

    Raises
    ------
    InputError
        If a result is missing, damaged, or of another run; the message names the file.
    """
    folder = Path(folder)
    of_copies = read_json(folder / "config.json").get("unit") == "copies"
    page = render(CopyRunFolder.load(folder) if of_copies else RunFolder.load(folder))
    return write_text(folder / "report.html", page)
