"""Whether copies should weigh more than originals: asked of the head on a sample of all copies, before any is chosen.

A chosen copy stands for those that were not chosen. Where the head's penalty holds it back, a few copies of weight 1 cannot move it as far
as all of them would, and weighing them more does what a weaker penalty would do. Where the head fits freely, or where copies bring nothing,
it only overfits. Full augmentation tells the two apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from augury.copies.growing import GrowingFit
from augury.copies.leftout import left_out
from augury.copies.pool import CopyPool
from augury.curvature import ExactCurvature, FittedHead, PointSet

HEAVY = 8.0  # what a copy counts for where weighing pays
WORTHWHILE = 0.01  # gain in accuracy by full augmentation from which it is asked whether weighing pays
FALL = 0.02  # share by which the loss must fall further


def heaviest(state: FittedHead, pool: CopyPool, target: PointSet | None, copies: int) -> float:
    """`HEAVY` if weighing all copies so lowers the target's loss below that of full augmentation, and that is worth something; else 1.

    Asked on as many copies of `pool` as there are training points, drawn with a fixed seed, which stand for all `copies`. Without a target
    the training points and these copies are one, each scored without itself (`left_out`); a head too large for that gets 1.
    """
    if target is None and not isinstance(state.curvature, ExactCurvature):
        return 1.0
    sample = _sample(pool)
    stands_for = copies / len(sample)
    fit = GrowingFit(state, sample, target, stands_for)
    none = _reading(fit, sample, target)
    fit.join(torch.arange(len(sample)), stands_for)
    fit.settle()
    full = _reading(fit, sample, target)
    if full[1] - none[1] < WORTHWHILE:
        return 1.0
    fit.weigh(HEAVY * stands_for)
    fit.settle()
    heavy = _reading(fit, sample, target)
    return HEAVY if heavy[0] < (1 - FALL) * full[0] else 1.0


def _sample(pool: CopyPool) -> CopyPool:
    rows = np.sort(np.random.default_rng(0).permutation(len(pool))[: pool.sources])
    points = replace(pool.points, features=pool.points.features[rows], labels=pool.points.labels[rows], weights=pool.points.weights[rows])
    return CopyPool(points, pool.point[rows], pool.copy[rows], pool.sources)


def _reading(fit: GrowingFit, pool: CopyPool, target: PointSet | None) -> tuple[float, float]:
    """The target's loss and accuracy."""
    if target is None:
        if bool(fit.joined.any()):
            fit.refresh()
        fit.leave_out(left_out(fit, pool))
    return fit.read()
