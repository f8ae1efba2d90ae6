"""A configuration becomes a run folder that can be resumed, replayed and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augury import lazy
from augury.experiment.config import RunConfig

if TYPE_CHECKING:
    from augury.experiment.pipeline import Pipeline
    from augury.experiment.running import Run, run
    from augury.experiment.splits import read_splits
    from augury.experiment.stages import augment_data, curve_data, load_selection, score_data

__all__ = ["Pipeline", "Run", "RunConfig", "augment_data", "curve_data", "load_selection", "read_splits", "run", "score_data"]

__getattr__ = lazy.names(
    __name__,
    {
        "pipeline": ("Pipeline",),
        "running": ("Run", "run"),
        "splits": ("read_splits",),
        "stages": ("augment_data", "curve_data", "load_selection", "score_data"),
    },
)
