"""The curve of a choice of copies: accuracy and loss after retraining with a growing number of copies added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import clone

from augury.arrays import encode
from augury.augmentation import CopiedFeatures
from augury.copies import CopyOrdering, by_points, training_set
from augury.evaluation import Curve
from augury.evaluation.curve import COLUMNS
from augury.head import SoftmaxHead
from augury.parallel import Engine, each
from augury.progress import track
from augury.scores import Scores
from augury.selection import rank
from augury.softmax import point_losses

Labelled = tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.int64]]
Draws = Mapping[str, Sequence[CopyOrdering]]
CHOSEN, POINTS = "copies by influence", "whole points by influence"
RANDOM, WEIGHTED = "random copies", "equally weighted random copies"


class Measured(NamedTuple):
    """A fitted head on the test set: share of points classified rightly, and mean loss in nats."""

    accuracy: float
    loss: float


def compared(chosen: CopyOrdering, scores: Scores, copies: int, seeds: Sequence[int]) -> dict[str, list[CopyOrdering]]:
    """The policies of a curve.

    The choice; copies at random, weighing 1 and, where chosen ones may weigh more, also as they do; and all `copies` of each point that
    paper 2's policy draws by its own influence.
    """
    random = [random_copies(len(scores), copies, seed) for seed in seeds]
    weighted = {WEIGHTED: [replace(draw, weight=chosen.weight) for draw in random]} if chosen.weight > 1 else {}
    points = [by_points(rank(scores, "proportional", "sampled", seed), copies) for seed in seeds]
    return {CHOSEN: [chosen], RANDOM: random, **weighted, POINTS: points}


def random_copies(points: int, copies: int, seed: int) -> CopyOrdering:
    """All copies of all points in an order that knows nothing of them."""
    candidates = np.random.default_rng(seed).permutation(points * copies)
    none = np.empty(0)
    return CopyOrdering(
        candidates, candidates // copies, candidates % copies, np.full(len(candidates), np.nan), none.astype(np.int64), none, none
    )


def measure_copies(
    train: CopiedFeatures,
    test: Labelled,
    policies: Draws,
    budgets: Sequence[int],
    *,
    head: SoftmaxHead,
    seeds: Sequence[int],
    also: Labelled | None = None,
    jobs: int | Engine = 1,
    cause: Mapping[str, Any],
) -> Curve:
    """Retrain the head at each budget of each ordering, and measure its accuracy and loss on the test set.

    Parameters
    ----------
    train
        Training points and all their copies, as features.
    test
        Features and labels.
    policies
        For each policy its draws, by the first of `seeds`.
    budgets
        Numbers of copies, rising.
    head
        The head to be cloned and fitted.
    also
        Further labelled points that every head is fitted to: those of a target that a choice has looked at, so that all policies use the
        same labels.
    jobs
        Processes, or an engine; no result depends on it.
    cause
        What should travel with the curve into files; the losses of none and all copies are added.

    Returns
    -------
    Curve
        Counted in copies, with the column `loss`, in nats, beside `accuracy`.
    """
    cells = [(name, seed, ordering) for name, draws in policies.items() for seed, ordering in zip(seeds, draws, strict=False)]
    every = cells[0][2]
    trials = [(every, [0]), (every, [len(every)]), *((ordering, budgets) for _, _, ordering in cells)]
    calls = ((train, test, ordering, at, head, also) for ordering, at in trials)
    found = list(track(each(_trial, calls, Engine.of(jobs)), "measuring the curve", total=len(trials)))
    (none,), (full,) = found[:2]
    rows = [
        (name, seed, budget, *measured)
        for (name, seed, _), trial in zip(cells, found[2:], strict=True)
        for budget, measured in zip(budgets, trial, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "loss"])
    return Curve(frame, none.accuracy, full.accuracy, len(every), {**cause, "none_loss": none.loss, "full_loss": full.loss})


def _trial(
    train: CopiedFeatures, test: Labelled, ordering: CopyOrdering, budgets: Sequence[int], head: SoftmaxHead, also: Labelled | None
) -> list[Measured]:
    machine = clone(head).set_params(warm_start=True)
    X = torch.from_numpy(test[0].astype(np.float64))
    return [_measured(_fitted(machine, train, ordering, budget, also), X, test[1]) for budget in budgets]


def _fitted(machine: SoftmaxHead, train: CopiedFeatures, ordering: CopyOrdering, budget: int, also: Labelled | None) -> SoftmaxHead:
    X, y, weights = training_set(train, ordering, budget)
    if also is not None:
        X, y, weights = np.concatenate([X, also[0]]), np.concatenate([y, also[1]]), np.concatenate([weights, np.ones(len(also[1]))])
    return machine.fit(torch.from_numpy(X), y, weights)


def _measured(head: SoftmaxHead, X: torch.Tensor, y: npt.NDArray[np.int64]) -> Measured:
    scores, labels = head.scores(X), torch.from_numpy(encode(y, head.classes_, "y"))
    return Measured(float((scores.argmax(dim=1) == labels).double().mean()), float(point_losses(scores, labels).mean()))
