"""Heads of which no Hessian fits in memory: fit and influence by preconditioned conjugate gradients.

    OMP_NUM_THREADS=1 python benchmarks/large_head.py

First a head of 5,959 parameters that both ways can do: influence on a target by conjugate gradients against the dense factor, with the
difference of their values, and what one solve takes with each preconditioner. Then 1,000 classes and 200 features (200,196 parameters,
whose Hessian would take 300 GiB), where conjugate gradients are alone. Writes `large_head.json` beside this file.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import torch
from data import synthetic
from machine import OURS, Machine, case, save

from augury.head import SoftmaxHead
from augury.influence import Influences
from augury.softmax import class_blocks, design, kronecker, project
from augury.solvers import conjugate_gradients

PENALTY, TOL, TARGET = 1.0, 1e-12, 1000
Points = tuple[torch.Tensor, torch.Tensor]
WHAT = (
    "Heads with many classes, float64, one thread: influence of every training point on a target's mean loss by conjugate gradients, from "
    "the fitted head on; `error against exact`: the largest difference from the dense factor's values, by their largest."
)


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


def problem(n: int, d: int, C: int) -> tuple[Points, Points, dict[str, Any]]:
    """Training points, target points of the classes that these have, and what the case is called."""
    X, y = synthetic(n + TARGET, d, C, seed=0)
    known = torch.isin(y[n:], y[:n])
    called = {"case": f"influence on a target, n = {n:,}, d = {d}, C = {C}", "parameters": (len(y[:n].unique()) - 1) * (d + 1)}
    return (X[:n], y[:n]), (X[n:][known], y[n:][known]), called


def compared(n: int, d: int, C: int) -> dict[str, Any]:
    """One head both ways."""
    points, target, called = problem(n, d, C)
    head, fitting = timed(lambda: SoftmaxHead(C=1 / PENALTY).fit(*points))
    found, seconds = timed(lambda: Influences(head, points, "cg").of(points, target))
    exact, exact_seconds = timed(lambda: Influences(head, points, "exact").of(points, target))
    more = {
        "fit_seconds": fitting,
        "error_against_exact": float((found.values - exact.values).abs().max() / exact.values.abs().max()),
        "residual": found.trust.residual,
        "condition": found.trust.condition,
        "preconditioners": preconditioners(head, *points),
    }
    return case(called.pop("case"), {OURS: [seconds], "dense factor": [exact_seconds]}, **called, **more)


def large(n: int, d: int, C: int) -> dict[str, Any]:
    """Fit and influence where no Hessian fits; what the process has held at most, in GiB."""
    points, target, called = problem(n, d, C)
    head, fitting = timed(lambda: SoftmaxHead(C=1 / PENALTY, tol=1e-8).fit(*points))
    found, seconds = timed(lambda: Influences(head, points).of(points, target))
    more = {
        "fit_seconds": fitting,
        "fit_steps": head.n_iter_,
        "residual": found.trust.residual,
        "condition": found.trust.condition,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    if not head.converged_ or found.trust.solver != "cg":
        raise SystemExit(f"{called['case']}: {head.failure_}; {found.trust.solver}")
    return case(called.pop("case"), {OURS: [seconds]}, **called, **more)


def main() -> None:
    """Measure, on one thread."""
    torch.set_num_threads(1)
    machine, cases = Machine.measured(), []
    for measure, size in ((compared, (5000, 100, 60)), (large, (10_000, 200, 1000))):
        cases.append(measure(*size))
        print(cases[-1], flush=True)
        save(__file__, WHAT, cases, machine)  # the second takes many minutes


if __name__ == "__main__":
    main()
