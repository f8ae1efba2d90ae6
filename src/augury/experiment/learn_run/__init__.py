"""`augury learn`: an augmentation learned from a person's data, checked, compared and reported, in a folder that can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augury import lazy
from augury.experiment.learn_run.config import LearnConfig

if TYPE_CHECKING:
    from augury.experiment.learn_run.running import LearnRun, learn_run
    from augury.experiment.learn_run.stages import LEARNED, LearnStages

__all__ = ["LEARNED", "LearnConfig", "LearnRun", "LearnStages", "learn_run"]

__getattr__ = lazy.names(__name__, {"running": ("LearnRun", "learn_run"), "stages": ("LEARNED", "LearnStages")})
