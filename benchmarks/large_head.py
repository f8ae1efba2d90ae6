"""Heads of which no Hessian fits in memory: fit and influence by preconditioned conjugate gradients.

    OMP_NUM_THREADS=1 python benchmarks/large_head.py [large]

First a head of 5,959 parameters that both ways can do: what conjugate gradients with each preconditioner take and how far they
are from the exact solution. With `large`, then, 1,000 classes and 200 features (200,799 parameters, whose Hessian would take 300 GiB).
Writes `large_head.json` beside this file.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from data import synthetic
from machine import Machine, save

from augury.head import SoftmaxHead
from augury.influence import Influences
from augury.softmax import class_blocks, design, kronecker, project
from augury.solvers import conjugate_gradients

PENALTY, TOL = 1.0, 1e-12


def timed(work: Any) -> tuple[Any, float]:  # noqa: ANN401  (any work, any result)
    """What it gives, and its processor seconds."""
    start = time.process_time()
    return work(), time.process_time() - start


def preconditioners(head: SoftmaxHead, X: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
    """Iterations and seconds of one solve to 1e-12, by preconditioner."""
    problem = head.problem(X, y)
    V = head.directions(X, problem.shift)
    product, diagonal = problem.hessian_operator(V), problem.hessian_diagonal(V)
    f = design(problem.rows(slice(None)))
    points = [(f, torch.softmax(project(problem.rows(slice(None)), problem.basis @ V), 1), problem.weights)]
    rhs = product(torch.randn(1, V.numel(), generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    found: dict[str, Any] = {}
    for name, form in {"diagonal": None, "kronecker": kronecker, "class blocks": class_blocks}.items():
        close, forming = timed(lambda form=form: form and form(points, problem.basis, problem.penalty))
        work = lambda close=close: conjugate_gradients(  # noqa: E731  (a name for what is timed)
            product, rhs, diagonal, tol=TOL, max_iter=5000, precondition=close and close.solve
        )
        solution, seconds = timed(work)
        found[name] = {"iterations": solution.iterations, "forming_seconds": forming, "solving_seconds": seconds}
    return found


def compared(n: int, d: int, C: int) -> dict[str, Any]:
    """One head both ways: influence on a target, and self-influence, estimated and exact."""
    X, y = synthetic(n, d, C, seed=0)
    target = synthetic(1000, d, C, seed=1)
    head, fitting = timed(lambda: SoftmaxHead(C=1 / PENALTY).fit(X, y))
    by_cg, seconds = timed(lambda: Influences(head, (X, y), "cg").of((X, y), target))
    exact, exact_seconds = timed(lambda: Influences(head, (X, y), "exact").of((X, y), target))
    difference = float((by_cg.values - exact.values).abs().max() / exact.values.abs().max())
    return {
        "case": f"n = {n:,}, d = {d}, C = {C}: {(C - 1) * (d + 1):,} parameters",
        "fit_seconds": fitting,
        "seconds": {"cg": seconds, "exact": exact_seconds},
        "relative_difference": difference,
        "residual": by_cg.trust.residual,
        "condition": by_cg.trust.condition,
        "preconditioners": preconditioners(head, X, y),
    }


def large(n: int, d: int, C: int) -> dict[str, Any]:
    """Fit and influence where no Hessian fits."""
    X, y = synthetic(n, d, C, seed=0)
    head, fitting = timed(lambda: SoftmaxHead(C=1 / PENALTY, tol=1e-8).fit(X, y))
    found, seconds = timed(lambda: Influences(head, (X, y)).of((X, y), synthetic(1000, d, C, seed=1)))
    return {
        "case": f"n = {n:,}, d = {d}, C = {C}: {(C - 1) * (d + 1):,} parameters",
        "fit_seconds": fitting,
        "fit_steps": head.n_iter_,
        "converged": head.converged_,
        "seconds": {found.trust.solver: seconds},
        "residual": found.trust.residual,
        "condition": found.trust.condition,
    }


def main() -> None:
    """Measure, on one thread."""
    torch.set_num_threads(1)
    cases = [compared(5000, 100, 60)]
    if "large" in sys.argv[1:]:
        cases.append(large(10_000, 200, 1000))
    what = "Fit, influence on a target, and one solve by preconditioner, of heads with many classes; float64, one thread."
    save(__file__, what, cases, Machine.measured())
    for line in cases:
        print(line)


if __name__ == "__main__":
    main()
