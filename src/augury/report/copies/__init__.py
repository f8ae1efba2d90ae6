"""The report of choosing copies against choosing points: tables and figures from stored cells. It trains nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

__all__ = ["write_copies_report"]


def write_copies_report(folder: str | Path) -> Path:
    """Write `report.md` and `figures/` into a folder that `augury reproduce copies` filled, from its stored cells.

    It reads `baselines/`, `curves/`, `choices/` and `costs/` (cells of the kinds `copies-baselines` and so on). What is not finished gives
    what it has, with n beside each mean. Every file is written atomically, and the same cells give the same bytes.

    Returns
    -------
    Path
        That of `report.md`.

    Raises
    ------
    InputError
        If a cell lacks a column or is damaged, or if there is none; the message names it.

    Notes
    -----
    matplotlib is imported with the first call, so that commands which draw nothing need not wait for it.
    """
    written: Path = importlib.import_module("augury.report.copies.page").write_pages(Path(folder))
    return written
