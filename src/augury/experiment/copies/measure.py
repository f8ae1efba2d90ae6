"""A cell measured: its curve beside what was predicted, what was chosen, and what choosing costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

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
TURNS = 3  # in which times are taken
Weight = float | Literal["auto"]


class Measured(NamedTuple):
    """The tables of a cell; `choices` is empty for policies of points."""

    curves: pd.DataFrame
    choices: pd.DataFrame


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


def seconds(work: Callable[[], object]) -> float:
    """The processor time that some work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


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
            parts["1"] = parts["auto"]
        else:
            parts[weighting] = _measured(drawn, cell, cell.chosen(drawn, _asked(cell, weighting, weight)))
    key = drawn.task.key | cell.key
    tables = [[getattr(part, name).assign(**key, weighting=weighting) for weighting, part in parts.items()] for name in Measured._fields]
    return Measured(*(pd.concat(table, ignore_index=True) for table in tables))


def _asked(cell: Cell, weighting: str, weight: float) -> Weight:
    return 1.0 if weighting == "1" else "auto" if cell.chooses else weight


def _measured(drawn: Drawn, cell: Cell, ordering: CopyOrdering) -> Measured:
    points = drawn.points(cell.pool)
    curve = _curve(points, ordering, _budgets(drawn, cell, ordering), drawn.tested(cell.pool))
    if not cell.chooses:
        return Measured(curve, pd.DataFrame())
    return Measured(curve, tally(ordering, points.labels, drawn.pipeline.splits.train.classes, drawn.pipeline.transform.names))


def cost(drawn: Drawn, cell: Cell) -> pd.DataFrame:
    """What choosing takes beside a cold refit on the fully augmented set: medians of processor times, taken in turns."""
    points = drawn.points(cell.pool)
    everything, head = points.augmented(np.arange(len(points))), drawn.head(cell.pool)
    rows = []
    for weighting in cell.weightings:
        weight = _asked(cell, weighting, np.nan)
        choose = partial(cell.choose, drawn, head, weight)
        turns = [(seconds(choose), seconds(lambda: fit(SoftmaxHead(), everything))) for _ in range(TURNS)]
        rows.append([weighting, *np.median(turns, axis=0)])
    frame = pd.DataFrame(rows, columns=["weighting", "choose_seconds", "refit_seconds"])
    return frame.assign(**drawn.task.key, **cell.key)


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
