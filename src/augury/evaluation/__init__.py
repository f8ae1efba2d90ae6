"""What a selection is worth, measured: accuracy by policy, budget and seed, between no and full augmentation."""

from __future__ import annotations

from augury.evaluation.curve import Curve, interval
from augury.evaluation.measure import measure
from augury.evaluation.refits import C_GRID
from augury.evaluation.setting import FixedFeatures, HeldOut, Setting
from augury.evaluation.trial import WITH_FEATURES, Draw, check_update, rescored, trial

__all__ = [
    "C_GRID",
    "WITH_FEATURES",
    "Curve",
    "Draw",
    "FixedFeatures",
    "HeldOut",
    "Setting",
    "check_update",
    "interval",
    "measure",
    "rescored",
    "trial",
]
