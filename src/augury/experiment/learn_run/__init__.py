"""`augury learn`: an augmentation learned from a person's data, checked, compared and reported, in a folder that can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augury import lazy
from augury.experiment.learn_run.config import ForeseeConfig, LearnConfig

if TYPE_CHECKING:
    from augury.experiment.learn_run.foreseen import foresee_data
    from augury.experiment.learn_run.running import LearnRun, learn_run
    from augury.experiment.learn_run.stages import LEARNED, LearnStages

__all__ = ["LEARNED", "ForeseeConfig", "LearnConfig", "LearnRun", "LearnStages", "foresee_data", "learn_run"]

__getattr__ = lazy.names(
    __name__, {"foreseen": ("foresee_data",), "running": ("LearnRun", "learn_run"), "stages": ("LEARNED", "LearnStages")}
)
