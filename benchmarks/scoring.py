"""Self-influence and influence on a target, of every point: how near the machine's rate, and how exact.

    OMP_NUM_THREADS=1 python benchmarks/scoring.py

Two problems, each in float64 and with products in float32: 20,000 x 256 synthetic points of 10 classes, and (where AUGURY_DATA names a
folder with MNIST) LeNet's features of MNIST's 60,000 training images. Writes `scoring.json` beside this file. The other side is the plain
closed form: half of the Hessian's blocks, Cholesky's factor, triangular solves with every point's gradient.

What is counted, with n points, k = C - 1 and p = d + 1: half the Hessian, n k (k + 1) / 2 p^2 operations; its factor, (k p)^3 / 3;
triangular solves, n (k p)^2. The job does fewer: scoring, too, by halves, n k (k + 1) / 2 p^2, after an inverse of 2 (k p)^3 / 3.
`share of operations done` counts these only.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from data import synthetic
from machine import OURS, Machine, case, interleaved, save
from torch import Tensor

from augury.data import load
from augury.head import SoftmaxHead
from augury.influence import Influences, Precision
from augury.model import Model, features
from augury.networks import build
from augury.softmax import SoftmaxProblem, collect, design, residuals, spreads
from augury.training import TrainingConfig, train

POINTS, TARGET, PENALTY, BLOCK, REPEATS = 20_000, 2000, 20.0, 900, 3
PRECISIONS: tuple[Precision, ...] = ("float64", "float32")
Job = tuple[Tensor, Tensor]


def ours(head: SoftmaxHead, points: Job, target: Job, dtype: Precision) -> Job:
    """Both scores from one factorisation."""
    asked = Influences(head, points, "exact", dtype=dtype)
    return asked.own().values, asked.of(points, target).values  # type: ignore[return-value]  # tensors for tensors


def plain(head: SoftmaxHead, points: Job, target: Job, dtype: Precision) -> Job:
    """The closed form as one would write it down, by halves where blocks are alike, all of it in `dtype`."""
    points, target = ((X.to(getattr(torch, dtype)), y) for X, y in (points, target))
    problem = SoftmaxProblem(*points, torch.ones_like(points[0][:, 0]), len(head.classes_), 1 / head.C)
    V, (k, p) = head.directions(problem.features), problem.shape
    H = torch.diag(torch.cat([torch.full((p - 1,), problem.penalty), torch.zeros(1)]).repeat(k).to(V)).view(k, p, k, p)
    f = design(problem.features)
    S = spreads(f @ V.T @ problem.basis.T, problem.basis)
    for a in range(k):
        for b in range(a + 1):
            H[a, :, b] += f.T @ (f * S[:, a, b, None])
            H[b, :, a] = H[a, :, b]
    L = torch.linalg.cholesky(H.view(k * p, k * p))
    r = residuals(f @ V.T @ problem.basis.T, problem.labels) @ problem.basis
    starts = range(0, len(f), BLOCK)
    g = ((r[i : i + BLOCK, :, None] * f[i : i + BLOCK, None]).flatten(1) for i in starts)
    own = torch.cat([-torch.linalg.solve_triangular(L, rows.T, upper=False).square().sum(0) for rows in g])
    goal = SoftmaxProblem(target[0], target[1], target[0].new_ones(len(target[0])), problem.classes, 0.0)
    ft = residuals(design(goal.features) @ V.T @ problem.basis.T, goal.labels) @ problem.basis
    mean = collect(ft, goal.features) / len(goal.features)
    s = torch.cholesky_solve(mean.reshape(-1, 1), L).view(k, p)
    return own, -(r * (f @ s.T)).sum(1)


def mnist() -> tuple[Job, Job]:
    """LeNet's features of MNIST's images, after one epoch on 6,000 of them, and the labels: training and test set."""
    network = build("lenet", channels=1, height=28, width=28, classes=10, seed=0)
    examples, found = load("mnist"), []
    some = examples.first(6000)
    train(network.module, some.images, some.labels, config=TrainingConfig(epochs=1))
    for split in (examples, load("mnist", split="test")):
        X = features(Model.of(network), split.images)
        found.append((torch.from_numpy(X.astype(np.float64)), torch.from_numpy(split.labels)))
    return found[0], found[1]


def measured(title: str, points: Job, target: Job, machine: Machine) -> Iterator[dict[str, object]]:
    """A case for each precision: seconds of both sides in turn, floor, share of the rate, and the largest relative difference."""
    head = SoftmaxHead(C=1 / PENALTY).fit(*points)
    exact = plain(head, points, target, "float64")
    n, k, p = len(points[0]), len(head.classes_) - 1, points[0].shape[1] + 1
    counted = {"half_hessian": n * k * (k + 1) / 2 * p**2, "factor": (k * p) ** 3 / 3, "triangular_solves": n * (k * p) ** 2}
    done = n * k * (k + 1) * p**2 + (k * p) ** 3
    for dtype in PRECISIONS:
        found: dict[str, Job] = {}
        sides = {OURS: partial(ours, head, points, target, dtype), "plain closed form": partial(plain, head, points, target, dtype)}
        seconds = interleaved({name: lambda name=name: found.__setitem__(name, sides[name]()) for name in sides}, REPEATS)  # noqa: B023  (called at once)
        share = machine.floor(operations=done, dtype=dtype) / statistics.median(seconds[OURS])
        wrong = {f"error_of_{name}": error(values, exact) for name, values in found.items()}
        floor = machine.floor(operations=sum(counted.values()), dtype=dtype)
        yield case(f"{title}, {dtype}", seconds, floor, counted=counted, share_of_operations_done=share, **wrong)


def error(found: Job, exact: Job) -> float:
    """The largest difference of both scores, each by its largest value."""
    return max(float((mine - true).abs().max() / true.abs().max()) for mine, true in zip(found, exact, strict=True))


def main() -> None:
    """Measure both problems, on as many threads as OMP_NUM_THREADS says (1, unless it is set)."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    torch.set_num_threads(threads)
    machine = Machine.measured(threads)
    X, y = synthetic(POINTS + TARGET, 256, 10, seed=0)
    cases = list(measured("n = 20,000, d = 256, C = 10", (X[:POINTS], y[:POINTS]), (X[POINTS:], y[POINTS:]), machine))
    if os.environ.get("AUGURY_DATA"):
        cases += measured("MNIST, n = 60,000, d = 84, C = 10", *mnist(), machine)
    what = (
        "Every point's self-influence and influence on a target's mean loss, by one factorisation; the head's fit is not counted. `error`: "
        "the largest, by the largest value, against the plain closed form in float64."
    )
    save(__file__, what, cases, machine)
    for line in cases:
        print(line)


if __name__ == "__main__":
    main()
