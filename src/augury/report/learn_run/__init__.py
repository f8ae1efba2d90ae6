"""The report of `augury learn`: figures and one page that opens offline, from the results in a folder; it computes none."""

from __future__ import annotations

from pathlib import Path

from augury.files import write_text
from augury.report.learn_run.figures import write_figures
from augury.report.learn_run.folder import LearnFolder, read_foreseen
from augury.report.learn_run.page import render
from augury.report.learn_run.words import Row, headline, rows

__all__ = ["LearnFolder", "Row", "headline", "read_foreseen", "rows", "write_learn_report"]


def write_learn_report(folder: str | Path) -> Path:
    """Write `figures/` and `report.html` into a folder of `augury learn`, atomically; the same results give the same bytes.

    Raises
    ------
    InputError
        If a result is missing, damaged, or of another run; the message names the file.
    """
    folder = Path(folder)
    run = LearnFolder.load(folder)
    return write_text(folder / "report.html", render(run, write_figures(run, folder / "figures")))
