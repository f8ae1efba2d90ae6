"""How the experiments' networks are fitted, the same in every sweep."""

from __future__ import annotations

import math
from dataclasses import replace

from augury.training import TrainingConfig

SMALL = TrainingConfig(batch=64, learning_rate=2e-3, schedule="onecycle")  # of 28 pixels
RESIDUAL = TrainingConfig(
    batch=128,
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule="onecycle",
    precision="bfloat16",
    channels_last=True,
)


def lasting(training: TrainingConfig, points: int, steps: int, seed: int) -> TrainingConfig:
    """The same for so many points, in as many whole epochs as come nearest to the steps, and at least one."""
    return replace(training, epochs=max(1, round(steps / math.ceil(points / training.batch))), seed=seed)
