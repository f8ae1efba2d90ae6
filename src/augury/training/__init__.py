"""The only loop that fits a network: seeded, resumable, with weighted examples.

Order of the examples and dropout follow from (seed, epoch) alone, so that any epoch can be replayed, and a training that was killed and
resumed ends with the same bits as one that was not.
"""

from __future__ import annotations

from augury.training.augment import Augment, Learner, Moment
from augury.training.config import TrainingConfig
from augury.training.crew import Crew, joined, shared_features
from augury.training.loop import TrainingReport, train

__all__ = ["Augment", "Crew", "Learner", "Moment", "TrainingConfig", "TrainingReport", "joined", "shared_features", "train"]
