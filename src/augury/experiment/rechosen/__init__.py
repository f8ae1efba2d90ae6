"""Choosing copies for whole networks: every budget's network is trained on what was chosen, and the next copies by its features."""

from __future__ import annotations

from augury.experiment.rechosen.sweep import Sweep, reproduce_rechosen
from augury.experiment.rechosen.tasks import NAMES, Task, read_task
from augury.experiment.rechosen.ways import WAYS, Cell

__all__ = ["NAMES", "WAYS", "Cell", "Sweep", "Task", "read_task", "reproduce_rechosen"]
