"""A cell measured: its curve beside what was predicted, what was chosen, and what choosing cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch

from augury.augmentation import CopiedFeatures, TrainingSet
from augury.copies import CopyOrdering, training_set
from augury.evaluation import HeldOut
from augury.experiment.copies.drawn import Drawn
from augury.experiment.copies.ways import Cell
from augury.head import SoftmaxHead
from augury.report.copies.results import PERCENTS, budget_at
from augury.softmax import point_losses

SHOWN = 0.1  # the share at which it is counted which copies were chosen
REFITS = 3  # timed, for their median
Weight = float | Literal["auto"]
T = TypeVar("T")


class Measured(NamedTuple):
    """The tables of a cell; `choices` and `costs` are empty for policies of points."""

    curves: pd.DataFrame
    choices: pd.DataFrame
    costs: pd.DataFrame


class Reading(NamedTuple):
    """Accuracy and mean loss in nats on the augmented test set."""

    accuracy: float
    loss: float


def read(head: SoftmaxHead, test: HeldOut) -> Reading:
    """What the test set says of a head."""
    labels = torch.from_numpy(np.searchsorted(head.classes_, test.y))
    return Reading(test.accuracy(head), float(point_losses(head.scores(test.X), labels).mean()))


def fit(head: SoftmaxHead, training: TrainingSet) -> SoftmaxHead:
    """The head, fitted."""
    return head.fit(torch.from_numpy(training.X), training.y, training.weights)


def realised(points: CopiedFeatures, ordering: CopyOrdering, budgets: Sequence[int], test: HeldOut) -> list[Reading]:
    """What retraining brings at each of the rising budgets; each fit starts from the one before."""
    head = SoftmaxHead(warm_start=True)
    return [read(fit(head, training_set(points, ordering, budget)), test) for budget in budgets]


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """A result, and the seconds of processor time that it took."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def baseline(drawn: Drawn) -> dict[str, Any]:
    """Sizes, no and full augmentation, and what `choose_copies` lets a copy weigh: the row that all cells of a task and seed share."""
    points, test = drawn.train, drawn.test
    none, full = (read(fit(SoftmaxHead(), points.augmented(np.arange(size))), test) for size in (0, len(points)))
    copies = points.copies.shape[1]
    row = drawn.task.key | {"seed": drawn.seed, "train_points": len(points), "copies_per_point": copies, "copies": len(points) * copies}
    row |= {"validation_points": len(drawn.validation), "test_images": len(test.y), "width": points.features.shape[1]}
    row |= {"none": none.accuracy, "full": full.accuracy, "none_loss": none.loss, "full_loss": full.loss}
    weights = {name: Cell("train", f"copies.{name}", drawn.seed).chosen(drawn, "auto").weight for name in ("validation", "self")}
    return row | {f"weight_{name}": weight for name, weight in weights.items()} | {"note": drawn.task.note}


def measure(drawn: Drawn, cell: Cell, weight: float) -> Measured:
    """All tables of a cell; `weight`: what `auto` gives a copy that a policy of points has chosen.

    Where `auto` comes out at 1, both weightings are one measurement.
    """
    parts: dict[str, Measured] = {}
    for weighting in cell.weightings:
        if weighting == "1" and parts["auto"].curves["weight"].iloc[0] == 1:
            parts["1"] = parts["auto"]._replace(costs=pd.DataFrame())  # nothing was chosen anew, so there is no cost
        else:
            asked: Weight = 1.0 if weighting == "1" else "auto" if cell.chooses else weight
            ordering, seconds = timed(partial(cell.chosen, drawn, asked))
            parts[weighting] = _measured(drawn, cell, ordering, seconds)
    key = drawn.task.key | cell.key
    tables = [[getattr(part, name).assign(**key, weighting=weighting) for weighting, part in parts.items()] for name in Measured._fields]
    return Measured(*(pd.concat(table, ignore_index=True) for table in tables))


def _measured(drawn: Drawn, cell: Cell, ordering: CopyOrdering, seconds: float) -> Measured:
    points, test = drawn.points(cell.pool), drawn.test
    curve = _curve(points, ordering, _budgets(drawn, cell, ordering), test)
    if not cell.chooses:
        return Measured(curve, pd.DataFrame(), pd.DataFrame())
    splits = drawn.pipeline.splits
    choices = tally(ordering, points.labels, splits.train.classes, drawn.pipeline.transform.names)
    everything = points.augmented(np.arange(len(points)))
    refit = float(np.median([timed(lambda: fit(SoftmaxHead(), everything))[1] for _ in range(REFITS)]))
    return Measured(curve, choices, pd.DataFrame({"choose_seconds": [seconds], "refit_seconds": [refit]}))


def _budgets(drawn: Drawn, cell: Cell, ordering: CopyOrdering) -> list[int]:
    """Shares of the training points' copies, all of a joint pool, and where the ordering itself predicts."""
    copies = drawn.train.copies.shape[0] * drawn.train.copies.shape[1]
    shares = {budget_at(percent / 100, copies) for percent in (0, *PERCENTS, 100)}
    return sorted(shares | ({len(ordering)} if cell.pool == "joint" else set()) | set(ordering.budgets.tolist()))


def _curve(points: CopiedFeatures, ordering: CopyOrdering, budgets: list[int], test: HeldOut) -> pd.DataFrame:
    """A row a budget; predictions where the ordering made them, NaN elsewhere."""
    readings = realised(points, ordering, budgets, test)
    predicted: Mapping[int, tuple[float, float]] = dict(
        zip(ordering.budgets.tolist(), zip(ordering.loss.tolist(), ordering.accuracy.tolist(), strict=True), strict=True)
    )
    nothing = (np.nan, np.nan)
    return pd.DataFrame(
        {
            "budget": budgets,
            "accuracy": [reading.accuracy for reading in readings],
            "loss": [reading.loss for reading in readings],
            "predicted_loss": [predicted.get(budget, nothing)[0] for budget in budgets],
            "predicted_accuracy": [predicted.get(budget, nothing)[1] for budget in budgets],
            "weight": ordering.weight,
            "recommended": float(ordering.recommended()) if predicted else np.nan,
        }
    )


def tally(ordering: CopyOrdering, labels: np.ndarray, classes: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """How many copies of each transformation and class are among the first tenth, and how many there are."""
    size = budget_at(SHOWN, len(ordering))
    counts = np.zeros((2, len(names), len(classes)), dtype=np.int64)
    for row, chosen in enumerate((slice(size), slice(None))):
        np.add.at(counts[row], (ordering.copy[chosen], labels[ordering.point[chosen]]), 1)
    rows = [(name, label, *counts[:, i, j]) for i, name in enumerate(names) for j, label in enumerate(classes)]
    return pd.DataFrame(rows, columns=["transformation", "label", "chosen", "available"])
