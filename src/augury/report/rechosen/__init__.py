"""The report of networks trained on chosen copies: tables and a figure from stored cells. It trains nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

__all__ = ["write_rechosen_report"]


def write_rechosen_report(folder: str | Path) -> Path:
    """Write `report.md` and `curves.png` into a folder that `augury reproduce rechosen` filled, from its stored cells.

    Both are written atomically, and the same cells give the same bytes.

    Returns
    -------
    Path
        That of `report.md`.

    Raises
    ------
    InputError
        If a cell lacks a column or is damaged, or if there is none.

    Notes
    -----
    matplotlib is imported with the first call, so that commands which draw nothing need not wait for it.
    """
    written: Path = importlib.import_module("augury.report.rechosen.page").write_page(Path(folder))
    return written
