"""Fit of a large head: Newton's steps by products with the Hessian against its dense factor, in one run on one thread.

    OMP_NUM_THREADS=1 python benchmarks/head_fit.py

20,000 points, 256 features, 10 classes, float64; writes `head_fit.json` beside this file.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

import augury.newton
from augury.experiment.folder import versions
from augury.files import write_json
from augury.head import SoftmaxHead

POINTS, FEATURES, CLASSES, PENALTY, REPEATS = 20_000, 256, 10, 20.0, 3


def main() -> None:
    """Fit both ways, in turn."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(POINTS, FEATURES, generator=generator, dtype=torch.float64)
    W = torch.randn(FEATURES, CLASSES, generator=generator, dtype=torch.float64) * 3 / 16
    y = (X @ W + torch.randn(POINTS, CLASSES, generator=generator, dtype=torch.float64)).argmax(1)
    ways = {"products": augury.newton.CG_STEPS, "factor": float("inf")}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    coefficients = {}
    for _ in range(REPEATS):
        for name, augury.newton.CG_STEPS in ways.items():
            start = time.perf_counter()
            coefficients[name] = SoftmaxHead(C=1 / PENALTY).fit(X, y).coef_
            seconds[name].append(time.perf_counter() - start)
    ratios = sorted(factor / products for factor, products in zip(seconds["factor"], seconds["products"], strict=True))
    record = {
        "points": POINTS,
        "features": FEATURES,
        "classes": CLASSES,
        "penalty": PENALTY,
        "seconds": seconds,
        "ratio_median": ratios[len(ratios) // 2],
        "largest_difference": float(abs(coefficients["products"] - coefficients["factor"]).max()),
        "versions": versions(),
    }
    write_json(Path(__file__).with_suffix(".json"), record)


if __name__ == "__main__":
    main()
