"""`measure`: the curves of several policies, each over several draws, in parallel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from augury.augmentation import CopiedFeatures
from augury.errors import InputError
from augury.evaluation.curve import COLUMNS, Curve
from augury.evaluation.setting import FixedFeatures, HeldOut
from augury.evaluation.trial import Draw, trial
from augury.head import SoftmaxHead
from augury.parallel import Engine, each
from augury.progress import track
from augury.selection import Ordering, budget_size


def measure(
    train: CopiedFeatures,
    test: tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.int64]],
    policies: Mapping[str, Sequence[Ordering | Draw]],
    budgets: Sequence[int],
    *,
    head: SoftmaxHead | None = None,
    downweight: bool = False,
    jobs: int | Engine = 1,
    cause: Mapping[str, Any] | None = None,
) -> Curve:
    """Retrain the head at each budget of each draw, and measure its accuracy on the test set.

    Parameters
    ----------
    train
        Training points and all their copies, as features.
    test
        Features and labels; with the copies of the test points among them, if invariance is to be measured ("augmented test").
    policies
        For each policy its draws, one for each seed: an `Ordering` of the training points whose prefixes are augmented, or a `Draw` that
        looks again at each budget.
    budgets
        Numbers of points augmented, each from 1 to all; none is measured twice.
    head
        The head to be cloned and fitted; None: C = 1.
    downweight
        Whether a point and its copies share the point's weight.
    jobs
        Processes, or an engine; no result depends on it.
    cause
        What should travel with the curve into files.

    Raises
    ------
    InputError
        If a budget is out of range, a draw is of another number of points, or a policy has two draws of one seed.

    Notes
    -----
    Each draw's refits start from the solution at the budget before. One refit costs some Newton steps on the augmented set; each process
    computes with one thread.
    """
    plain = SoftmaxHead() if head is None else head
    sizes = sorted({budget_size(budget, len(train)) for budget in budgets})
    cells = [(policy, draw) for policy, draws in policies.items() for draw in draws]
    _check_cells(cells, len(train))
    setting = FixedFeatures(train, HeldOut.of(*test))
    order = np.arange(len(train))
    trials = [(order, [0]), (order, [len(train)]), *((draw, sizes) for _, draw in cells)]
    calls = ((setting, draw, at, plain, downweight) for draw, at in trials)
    found = list(track(each(_trial, calls, Engine.of(jobs)), "measuring the curve", total=len(trials)))
    (none,), (full,) = found[:2]
    rows = [
        (policy, draw.seed, budget, accuracy)
        for (policy, draw), accuracies in zip(cells, found[2:], strict=True)
        for budget, accuracy in zip(sizes, accuracies, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return Curve(frame, none, full, len(train), dict(cause or {}))


def _check_cells(cells: Sequence[tuple[str, Ordering | Draw]], points: int) -> None:
    for policy, draw in cells:
        if len(draw) != points:
            raise InputError(f"policies: an ordering of {policy!r} has {len(draw)} points, and the training set {points}")
    if len({(policy, draw.seed) for policy, draw in cells}) < len(cells):
        raise InputError("policies: two orderings of a policy have the same seed; expected one ordering for each seed")


def _trial(
    setting: FixedFeatures,
    draw: Ordering | Draw | npt.NDArray[np.int64],
    budgets: Sequence[int],
    head: SoftmaxHead,
    downweight: bool,  # noqa: FBT001  (called by `each`, all by position)
) -> list[float]:
    return trial(setting, draw, budgets, head, downweight=downweight)
