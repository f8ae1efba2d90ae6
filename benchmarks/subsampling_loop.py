"""One task of the subsampling sweep against the same loop written plainly, in one run on one thread.

    AUGURY_DATA=... OMP_NUM_THREADS=1 python benchmarks/subsampling_loop.py

MNIST 3 v 8 translated, fixed LeNet features, the paper's eleven policies by both scores, one seed. The plain loop fits scikit-learn's
LogisticRegression from scratch at every budget and scores with an explicit inverse of the Hessian, as the paper's authors did, on the same
draws. Writes `subsampling_loop.json` beside this file: processor seconds, ratio, and how far the accuracies differ.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from machine import OURS, case, interleaved, save
from sklearn.linear_model import LogisticRegression

from augury.evaluation import trial
from augury.experiment.subsampling import Sweep, paper_task
from augury.experiment.subsampling.policies import POLICIES, Cell, cells
from augury.experiment.subsampling.settings import Settings
from augury.head import SoftmaxHead
from augury.scores import Scores
from augury.selection import rank

PAPER = ("baseline", *(f"{how}_{way}" for how in ("random", "deterministic") for way in ("proportional", "inverse_proportional")))
PENALTY = 2e-10
REPEATS = 3
WHAT = (
    "One task of the subsampling sweep (MNIST 3 v 8 translated, fixed features, the paper's eleven policies by both scores) against the "
    "same loop written plainly, with scikit-learn's fits from scratch and explicit inverses; processor seconds of one thread. Accuracies "
    "by both ways are compared."
)


def plain_scores(method: str, machine: LogisticRegression, X: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Loss, or g^T H^-1 g by an explicit inverse, of every row."""
    p = machine.predict_proba(X)[:, 1]
    if method == "loss":
        return -np.log(np.where(y == 1, p, 1 - p))
    design = np.column_stack([X, np.ones(len(X))])
    hessian = (design * (p * (1 - p))[:, None]).T @ design + PENALTY * np.diag([*np.ones(X.shape[1]), 0])
    g = (p - y)[:, None] * design
    return ((g @ np.linalg.inv(hessian)) * g).sum(axis=1)


def plain(settings: Settings, cell: Cell) -> list[float]:
    """The cell, plainly."""
    train, test = settings.features, settings.test
    scores, chosen, accuracies = settings.scores(cell.score), np.arange(0), []
    preference, order = POLICIES[cell.policy]
    test_X = test.X.numpy()
    for step, budget in enumerate(settings.checkpoints):
        if step == 0 or cell.update:
            seed = cell.seed if step == 0 else int(np.random.SeedSequence([cell.seed, step]).generate_state(1)[0])
            ordering = rank(scores, preference, order, seed).indices
        left = ordering[~np.isin(ordering, chosen)]
        chosen = np.concatenate([chosen, left[: budget - len(chosen)]])
        X, y, weights = train.augmented(chosen, downweight=cell.downweight)
        machine = LogisticRegression(C=1.0, tol=1e-7, max_iter=10_000).fit(X, y, sample_weight=weights)
        accuracies.append(float(machine.score(test_X, test.y)))
        if cell.update:
            values = plain_scores(cell.score, machine, X, y)[: len(train)]
            scores = Scores(values, scores.labels, scores.losses, scores.probabilities, scores.method, scores.classes, scores.origin)
    return accuracies


def ours(settings: Settings, cell: Cell) -> list[float]:
    """The cell, as the sweep measures it."""
    scores = settings.scores(cell.score)
    draw = cell.draw(scores, settings.task.penalty)
    return trial(settings.setting(cell.seed), draw, settings.checkpoints, SoftmaxHead(), downweight=cell.downweight)


def main() -> None:
    """Both loops in turn, over the same cells."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = Sweep(Path(folder)).of(paper_task("mnist-translate"))
        settings.prepare()
        wanted = cells(["influence", "loss"], PAPER, seeds=1)
        accuracies: dict[str, npt.NDArray[np.float64]] = {}

        def loop(name: str, way: Callable[[Settings, Cell], list[float]]) -> None:
            accuracies[name] = np.array([way(settings, cell) for cell in wanted])

        sides = {name: partial(loop, name, way) for name, way in ((OURS, ours), ("plain loop", plain))}
        seconds = interleaved(sides, REPEATS, warm=False)
    difference = np.abs(accuracies[OURS] - accuracies["plain loop"])
    found = case(
        f"{len(wanted)} curves of {len(settings.checkpoints)} budgets",
        seconds,
        accuracies=difference.size,
        accuracies_equal=int((difference == 0).sum()),
        largest_difference=float(difference.max()),
    )
    save(__file__, WHAT, [found])


if __name__ == "__main__":
    main()
