"""Exact influence of a softmax head's training points, against the two fastest libraries that are exact, in one run on one thread.

    OMP_NUM_THREADS=1 .venv-bench/bin/python benchmarks/peers.py

20,000 points, 256 features, 10 classes, 2,000 target points, in float32 and in float64. Each side starts from the same fitted weights and
gives the self-influence of every point and its influence on the targets' mean loss. pyDVL and captum put the penalty on the intercepts as
well, which costs the same; so each side's error is against a dense closed form of its own problem in float64. Writes `peers.json` beside
this file.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from data import synthetic
from machine import OURS, Machine, case, interleaved, save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, pad
from torch.utils.data import DataLoader, TensorDataset

from augury.head import SoftmaxHead
from augury.influence import Influences

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about their own dependencies
    from captum.influence import NaiveInfluenceFunction
    from pydvl.influence.torch import DirectInfluence

POINTS, TARGETS, FEATURES, CLASSES = 20_000, 2_000, 256, 10
DAMPING = 1e-3  # penalty a point
BATCH = 2_000
WHAT = (
    "Self-influence of every training point of a softmax head, and its influence on the mean loss of 2,000 target points, from the fitted "
    "weights on; processor seconds of one thread. `error`: the larger relative one of both, in the Euclidean norm, against a dense closed "
    "form in float64. The floor counts C - 1 classes, half the Hessian, its factor and one triangular solve a point and class."
)

Points = tuple[Tensor, Tensor]
Scores = tuple[Tensor, Tensor]  # self-influence, influence on the targets


def ours(head: SoftmaxHead, points: Points, target: Points) -> Scores:
    """Both from one factorisation."""
    asked = Influences(head, points, "exact", dtype="float32" if points[0].dtype == torch.float32 else "float64")
    return -asked.own().values, -asked.of(points, target).values


def linear(head: SoftmaxHead, dtype: torch.dtype) -> nn.Linear:
    """The head as the other sides want it."""
    model = nn.Linear(FEATURES, CLASSES)
    with torch.no_grad():
        model.weight, model.bias = (nn.Parameter(torch.from_numpy(values).to(dtype)) for values in (head.coef_, head.intercept_))
    return model


def residuals(model: nn.Module, points: Points) -> Tensor:
    """Gradient p - y of each point's loss by its class scores."""
    with torch.no_grad():
        scores: Tensor = model(points[0])
    return scores.softmax(1) - one_hot(points[1], CLASSES)


def pydvl(model: nn.Linear, points: Points, target: Points) -> Scores:
    """Its direct solver; products with the points' gradients are taken by their closed form, not by automatic derivatives."""
    loader = DataLoader(TensorDataset(*points), batch_size=len(points[0]))
    found = DirectInfluence(model, cross_entropy, regularization=DAMPING).fit(loader)
    n, r, f = len(points[0]), residuals(model, points), pad(points[0], (0, 1), value=1.0)
    own = []
    for X, y, r_part, f_part in zip(*(part.split(BATCH) for part in (*points, r, f)), strict=True):
        own.append(torch.einsum("nc,ncf,nf->n", r_part, as_matrices(found.influence_factors(X, y)), f_part))
    s = as_matrices(found.influence_factors(*target)).mean(0)
    return torch.cat(own).abs() / n, ((r @ s) * f).sum(1) / n


def as_matrices(factors: Tensor) -> Tensor:
    """Flat parameters, the weights' and then the intercepts', as (points, C, d + 1)."""
    split = CLASSES * FEATURES
    return torch.cat([factors[:, :split].view(-1, CLASSES, FEATURES), factors[:, split:, None]], 2)


def captum(model: nn.Linear, points: Points, target: Points) -> Scores:
    """Its naive (exact) influence function with all directions kept."""
    found = NaiveInfluenceFunction(
        model,
        DataLoader(TensorDataset(*points), batch_size=BATCH),
        checkpoint="",
        checkpoints_load_func=lambda *_: 1.0,
        loss_fn=nn.CrossEntropyLoss(reduction="none"),
        hessian_dataset=DataLoader(TensorDataset(*points), batch_size=BATCH),
        projection_dim=CLASSES * (FEATURES + 1),
        hessian_reg=DAMPING * len(points[0]),
        hessian_inverse_tol=1e-9,
    )
    return found.self_influence(), found.influence(target).mean(0)


def closed_form(model: nn.Linear, points: Points, target: Points, *, intercepts: bool) -> Scores:
    """The definition, densely, with or without the penalty on the intercepts."""
    n, p = len(points[0]), FEATURES + 1
    f, probabilities = pad(points[0], (0, 1), value=1.0), model(points[0]).softmax(1)
    hessian = f.new_zeros(CLASSES, p, CLASSES, p)
    for a in range(CLASSES):
        for b in range(a, CLASSES):
            weights = probabilities[:, a] * (float(a == b) - probabilities[:, b])
            hessian[a, :, b] = hessian[b, :, a] = (f * weights[:, None]).T @ f
    penalty = torch.full((CLASSES, p), DAMPING * n, dtype=f.dtype)
    penalty[:, -1] *= intercepts or 1e-9  # without any, moving all intercepts alike would change nothing
    factor = torch.linalg.cholesky(hessian.view(CLASSES * p, -1) + penalty.flatten().diag())
    r, own = residuals(model, points), []
    for r_part, f_part in zip(r.split(BATCH), f.split(BATCH), strict=True):
        g = torch.einsum("nc,nf->cfn", r_part, f_part).reshape(CLASSES * p, -1)
        own.append(torch.linalg.solve_triangular(factor, g, upper=False).square().sum(0))
    g = residuals(model, target).T @ pad(target[0], (0, 1), value=1.0) / len(target[0])
    s = torch.cholesky_solve(g.reshape(-1, 1), factor).view(CLASSES, p)
    return torch.cat(own), ((r @ s) * f).sum(1)


def floor(n: int, machine: Machine, dtype: str) -> float:
    """Half the Hessian, Cholesky, and a triangular solve for every point, with C - 1 classes."""
    k, p = CLASSES - 1, FEATURES + 1
    return machine.floor(operations=n * k * (k + 1) * p**2 / 2 + (k * p) ** 3 / 3 + n * (k * p) ** 2, dtype=dtype)


def error(found: Scores, truth: Scores) -> float:
    """The larger relative difference of both, in the Euclidean norm."""
    return max(float((theirs.double() - true).norm() / true.norm()) for theirs, true in zip(found, truth, strict=True))


def measured(n: int, dtype: str, machine: Machine, repeats: int) -> dict[str, Any]:
    """One case: all sides in turn."""
    X, y = synthetic(n + TARGETS, FEATURES, CLASSES, seed=0, dtype=getattr(torch, dtype))
    points, target = (X[:n], y[:n]), (X[n:], y[n:])
    head = SoftmaxHead(C=1 / (DAMPING * n)).fit(*points)
    model = linear(head, X.dtype)
    ways: dict[str, Callable[[], Scores]] = {
        OURS: partial(ours, head, points, target),
        "pyDVL": partial(pydvl, model, points, target),
        "captum": partial(captum, model, points, target),
    }
    found: dict[str, Scores] = {}
    seconds = interleaved({name: lambda name=name: found.__setitem__(name, ways[name]()) for name in ways}, repeats, warm=False)
    double = [(part[0].double(), part[1]) for part in (points, target)]
    models = {OURS: linear(head, torch.float64), "pyDVL": model.double(), "captum": model.double()}
    with torch.no_grad():
        truths = {name: closed_form(models[name], *double, intercepts=name != OURS) for name in ways}
    wrong = {f"error_of_{name}": error(found[name], truths[name]) for name in ways}
    title = f"self-influence and influence, n = {n:,}, d = {FEATURES}, C = {CLASSES}, {dtype}"
    return case(title, seconds, floor(n, machine, dtype), **wrong)


def main(n: int, repeats: int) -> None:
    """Both precisions."""
    torch.set_num_threads(1)
    machine = Machine.measured()
    cases = []
    for dtype in ("float32", "float64"):
        cases.append(measured(n, dtype, machine, repeats))
        print(cases[-1], flush=True)
    if n == POINTS:
        save(__file__, WHAT, cases, machine, ["pydvl", "captum"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=POINTS, help="fewer for a trial, which is not stored")
    parser.add_argument("--repeats", type=int, default=1, help="turns; the other sides take half a minute each, or more")
    arguments = parser.parse_args()
    main(arguments.points, arguments.repeats)
