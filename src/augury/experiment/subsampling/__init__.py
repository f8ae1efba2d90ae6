"""*Efficient Augmentation via Data Subsampling* (Kuchnik and Smith, ICLR 2019), whole: tasks, policies, and the sweep over them."""

from __future__ import annotations

from augury.experiment.subsampling.policies import POLICIES, SCORES
from augury.experiment.subsampling.sweep import Sweep, reproduce_subsampling
from augury.experiment.subsampling.tasks import NAMES, Task, own_task, paper_task

__all__ = ["NAMES", "POLICIES", "SCORES", "Sweep", "Task", "own_task", "paper_task", "reproduce_subsampling"]
