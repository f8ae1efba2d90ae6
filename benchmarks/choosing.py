"""Choosing copies against refits of the head on the fully augmented set, in one run on one thread.

    OMP_NUM_THREADS=1 python benchmarks/choosing.py

Copies are points with noise; the target is as many other points. Writes `choosing.json` beside this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from data import synthetic
from machine import OURS, case, interleaved, save

from augury.copies import choose_copies, choose_from_blocks
from augury.head import SoftmaxHead

COPIES, NOISE, REPEATS, BLOCK = 4, 0.5, 3, 4_096
SIZES = ((1_000, 84, 2), (10_000, 84, 2), (2_000, 84, 10), (10_000, 84, 10), (30_000, 84, 10))
BUDGET = "5%"
WHAT = (
    "Ordering all copies of some points by their influence on a target of as many other points (`choose_copies`), against one cold refit "
    "of the head on the fully augmented set (`other`: below 1 is slower than one refit, 0.33 as slow as three); for 5 % of them also from "
    "blocks that are read in every round (`choose_from_blocks`). Weight 1; processor seconds of one thread."
)


class Blocks:
    """All copies, so many points' at a time."""

    def __init__(self, X: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
        self._X, self._y = X, y

    def __iter__(self) -> Any:  # noqa: ANN401
        for start in range(0, len(self._y), BLOCK):
            point = np.arange(len(self._y))[start : start + BLOCK].repeat(COPIES)
            yield self._X[start : start + BLOCK].reshape(len(point), -1), self._y[point], point


def ways(points: int, features: int, classes: int) -> dict[str, dict[str, Callable[[], object]]]:
    """By what is chosen: the choice, and the refit."""
    X, y = (column.numpy() for column in synthetic(2 * points, features, classes, seed=0))
    train, target = (X[:points], y[:points]), (X[points:], y[points:])
    copies = train[0][:, None] + NOISE * np.random.default_rng(1).standard_normal((points, COPIES, features))
    head = SoftmaxHead().fit(*train)
    everything = np.concatenate([train[0], copies.reshape(-1, features)]), np.concatenate([train[1], train[1].repeat(COPIES)])
    refit = {"refit on all": lambda: SoftmaxHead().fit(*everything)}
    blocks = Blocks(copies, train[1])
    return {
        "all, in memory": {OURS: lambda: choose_copies(head, train, copies, target, weight=1), **refit},
        f"{BUDGET}, from blocks": {OURS: lambda: choose_from_blocks(head, train, blocks, target, budget=BUDGET, weight=1), **refit},
    }


def main() -> None:
    """All sizes, both ways."""
    torch.set_num_threads(1)
    cases = []
    for points, features, classes in SIZES:
        for what, sides in ways(points, features, classes).items():
            title = f"{what}, {points * COPIES:,} copies, d = {features}, C = {classes}"
            cases.append(case(title, interleaved(sides, REPEATS)))
            print(cases[-1]["case"], cases[-1]["ratio"], flush=True)
    save(__file__, WHAT, cases)


if __name__ == "__main__":
    main()
