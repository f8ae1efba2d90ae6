"""Fit of a large head: Newton's steps by products with the Hessian against its dense factor, in one run on one thread.

    OMP_NUM_THREADS=1 python benchmarks/head_fit.py

20,000 points, 256 features, 10 classes, float64; writes `head_fit.json` beside this file.
"""

from __future__ import annotations

import torch
from data import synthetic
from machine import OURS, case, interleaved, save

import augury.newton
from augury.head import SoftmaxHead

POINTS, FEATURES, CLASSES, PENALTY, REPEATS = 20_000, 256, 10, 20.0, 3
WAYS = {OURS: augury.newton.CG_STEPS, "dense factor": float("inf")}
WHAT = (
    "Fit of a softmax head in float64: Newton's steps by products with the Hessian, against its dense factor; processor seconds of one "
    "thread. `largest difference`: between the two ways' coefficients."
)


def main() -> None:
    """Fit both ways, in turn."""
    torch.set_num_threads(1)
    X, y = synthetic(POINTS, FEATURES, CLASSES, seed=0)
    coefficients = {}

    def fit(way: str) -> None:
        augury.newton.CG_STEPS = WAYS[way]
        coefficients[way] = SoftmaxHead(C=1 / PENALTY).fit(X, y).coef_

    seconds = interleaved({way: lambda way=way: fit(way) for way in WAYS}, REPEATS, warm=False)
    difference = float(abs(coefficients[OURS] - coefficients["dense factor"]).max())
    title = f"fit, n = {POINTS:,}, d = {FEATURES}, C = {CLASSES}, penalty {PENALTY:g}"
    save(__file__, WHAT, [case(title, seconds, largest_difference=difference)])


if __name__ == "__main__":
    main()
