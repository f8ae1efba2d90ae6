"""The report of learned augmentations beside their baselines: tables and figures from stored cells. It trains nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

__all__ = ["write_learning_report"]


def write_learning_report(folder: str | Path) -> Path:
    """Write `report.md`, `tables.md` and `figures/` into a folder that `augury reproduce learning` filled, from its stored cells.

    It reads `cells/` and `costs/` (cells of the kinds `learning-cells` and `learning-costs`). What is not finished gives what it has, with
    n beside each mean. Every file is written atomically, and the same cells give the same bytes.

    Returns
    -------
    Path
        That of `report.md`.

    Raises
    ------
    InputError
        If a cell lacks a column or is damaged, if cells of a task were measured with different settings, or if there is none.

    Notes
    -----
    matplotlib is imported with the first call, so that commands which draw nothing need not wait for it.
    """
    written: Path = importlib.import_module("augury.report.learning.page").write_pages(Path(folder))
    return written
