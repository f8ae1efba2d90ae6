"""The report of a subsampling sweep: the paper's tables and figures from stored cells, ours beside theirs. It trains nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

__all__ = ["write_sweep_report"]


def write_sweep_report(folder: str | Path) -> Path:
    """Write `report.md`, `tables.md`, `fidelity.md`, `fidelity.parquet` and `figures/` into a sweep's folder from its stored cells.

    It reads `curves/`, `settings/` and `scores/` (cells of the kinds `subsampling-curve`, `subsampling-setting` and `subsampling-scores`)
    and `images/*.npz`, and computes no retraining. A sweep that is not finished gives what it has, with n beside each mean. Every file is
    written atomically, and the same cells give the same bytes.

    Returns
    -------
    Path
        That of `report.md`, the page that links to the others.

    Raises
    ------
    InputError
        If a cell lacks a column, is damaged or was measured twice, or if there is none; the message names it.

    Notes
    -----
    About half a second a figure. matplotlib is imported with the first call, so that commands which draw nothing need not wait for it.
    """
    written: Path = importlib.import_module("augury.report.subsampling.page").write_pages(Path(folder))
    return written
