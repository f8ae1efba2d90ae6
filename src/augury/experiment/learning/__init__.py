"""Experiments with learned augmentations: which labels they use, how deployment differs, and what every row makes of them."""

from __future__ import annotations

from augury.experiment.learning.labels import SCARCITIES, Labels, Scarcity, draw_labels
from augury.experiment.learning.rows import ROWS, Row
from augury.experiment.learning.shifts import SHIFTS, Blurred, Lit, Placed, Shift, Thick, Tinted, shifted
from augury.experiment.learning.sweep import Sweep, reproduce_learning
from augury.experiment.learning.tasks import TASKS, Fitting, Task, read_task

__all__ = [
    "ROWS",
    "SCARCITIES",
    "SHIFTS",
    "TASKS",
    "Blurred",
    "Fitting",
    "Labels",
    "Lit",
    "Placed",
    "Row",
    "Scarcity",
    "Shift",
    "Sweep",
    "Task",
    "Thick",
    "Tinted",
    "draw_labels",
    "read_task",
    "reproduce_learning",
    "shifted",
]
