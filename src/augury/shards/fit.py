"""The head fitted exactly to a table that does not fit in memory, by a few passes over it.

The minimum is where the gradient over all points vanishes; a factored Hessian decides only how fast steps come there (Kelley 1995, section
5.4). So a sample of the points, evenly spread, gives the start and a first factor, each pass over all points gives the exact gradient and
one more digit or so, and the Hessian of all points, whose sum takes C (d + 1) / 4 times as many operations, is formed only where steps
with the sample's factor shrink too slowly.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from augury.arrays import encode
from augury.errors import InputError
from augury.head import SoftmaxHead
from augury.newton import DENSE_PARAMS, FLOOR, ROUNDING, SEPARATED, SINGULAR, UNBOUNDED, UNFINISHED, minimise
from augury.parallel import LOCAL, Engine, held
from augury.shards.passes import SAMPLE, Place, Survey, sums, survey
from augury.shards.table import FeatureTable
from augury.softmax import SoftmaxProblem, contrast, offset
from augury.solvers import NotPositiveDefiniteError, cholesky

SLOW = 0.5  # share of the step before to which a step must shrink, or the Hessian of all points is formed
SHORTEST = 1 / 64  # of a full step
SAMPLE_TOL = 1e-6  # of the sample's own minimum, which is only where to start


def fit_table(
    table: FeatureTable, *, C: float = 1.0, tol: float = 1e-10, max_iter: int = 100, engine: Engine = LOCAL, sample: int = SAMPLE
) -> SoftmaxHead:
    """The head that `augury.SoftmaxHead` would fit to all of the table's points, each of weight 1, if they fitted in memory.

    Parameters
    ----------
    table
        Features and labels in files.
    C, tol, max_iter
        As in `augury.SoftmaxHead`.
    engine
        Where the work is done; no result depends on it.
    sample
        How many numbers the sample may hold that gives the start.

    Returns
    -------
    SoftmaxHead
        Fitted. If it has not converged, `failure_` says why, and there is a `ConvergenceWarning`.

    Notes
    -----
    One pass to look at the points, and one for each step, about ten. Memory: the sample, twice, and three Hessians of
    ((C - 1) (d + 1))^2 numbers.
    """
    head = SoftmaxHead(C=C, tol=tol, max_iter=max_iter)
    head._check_settings()  # noqa: SLF001  (the same settings, the same messages)
    with held(engine) as workers, torch.inference_mode():
        seen = survey(table, workers, sample)
        check_size(len(seen.classes), table)
        state = _start(table, seen, head)
        found = _newton(_Sums(table, seen.classes, state.shift, 1 / C, workers), state, head)
    return _told(fitted_head(head, seen.classes, found.V.numpy(), state.shift), found)


def check_size(classes: int, table: FeatureTable) -> None:
    """Refuse heads whose Hessian would not fit in memory."""
    size = (classes - 1) * (table.columns.width + 1)
    if size > DENSE_PARAMS:
        raise InputError(
            f"{table.url}: {classes} classes and {table.columns.width} features make a head of {size:,} parameters; expected at most "
            f"{DENSE_PARAMS:,}, whose Hessian fits in memory: take fewer features, for instance their leading principal components"
        )


def fitted_head(head: SoftmaxHead, classes: npt.NDArray[np.generic], V: npt.NDArray[np.float64], shift: Tensor | None) -> SoftmaxHead:
    """The head at parameters V for shifted features."""
    W = V if len(classes) == 2 else contrast(len(classes), torch.from_numpy(V)).numpy() @ V
    head.classes_, head.n_features_in_ = classes, W.shape[1] - 1
    head.coef_ = W[:, :-1].copy()
    head.intercept_ = W[:, -1] - (0.0 if shift is None else W[:, :-1] @ shift.numpy())
    return head


class _Start(NamedTuple):
    """Where the steps begin: V, a factor of a Hessian near there, and what was subtracted from the features."""

    V: Tensor
    factor: Tensor | None
    shift: Tensor | None


class _Found(NamedTuple):
    V: Tensor
    iterations: int
    failure: str | None


def _start(table: FeatureTable, seen: Survey, head: SoftmaxHead) -> _Start:
    """The sample's minimum, each point standing for as many as it takes to make up the table, and its Hessian's factor there."""
    X, codes = torch.from_numpy(seen.X), torch.from_numpy(encode(seen.labels, seen.classes, table.url))
    shift = offset(X)
    weights = X.new_full((len(X),), len(table) / len(X))
    problem = SoftmaxProblem(X, codes, weights, len(seen.classes), 1 / head.C, shift)
    found = minimise(problem, X.new_zeros(problem.shape), tol=max(head.tol, SAMPLE_TOL), max_iter=head.max_iter)
    return _Start(found.V, _factor(problem.hessian(found.V)), shift)


def _factor(hessian: Tensor) -> Tensor | None:
    try:
        return cholesky(hessian)
    except NotPositiveDefiniteError:
        return None


@dataclass(frozen=True)
class _Sums:
    """The objective over a table, its gradient and its Hessian, each by one pass."""

    table: FeatureTable
    classes: npt.NDArray[np.generic]
    shift: Tensor | None
    penalty: float
    engine: Engine

    def evaluate(self, V: Tensor) -> tuple[float, Tensor]:
        """J(V) and dJ/dV."""
        found = sums(self.table, place_of(V, self.classes, self.shift), self.engine)
        penalised = _intercepts_free(V)
        return found.loss + self.penalty / 2 * float(penalised.square().sum()), torch.from_numpy(found.gradient) + self.penalty * penalised

    def hessian(self, V: Tensor) -> Tensor:
        """The Hessian of J."""
        return table_hessian(self.table, place_of(V, self.classes, self.shift), self.penalty, self.engine)


def place_of(V: Tensor, classes: npt.NDArray[np.generic], shift: Tensor | None) -> Place:
    """The parameters as workers know them."""
    return Place(V.numpy(), classes, None if shift is None else shift.numpy())


def table_hessian(table: FeatureTable, place: Place, penalty: float, engine: Engine) -> Tensor:
    """The Hessian of the penalised objective over all points, by one pass."""
    found = sums(table, place, engine, hessian=True).hessian
    assert found is not None
    ridge = penalty * _intercepts_free(torch.ones(place.V.shape, dtype=torch.float64))
    hessian = torch.from_numpy(found)
    hessian.diagonal().add_(ridge.flatten())
    return hessian


def _intercepts_free(V: Tensor) -> Tensor:
    free = V.clone()
    free[:, -1] = 0
    return free


def _newton(problem: _Sums, start: _Start, head: SoftmaxHead) -> _Found:
    """Steps with a factor that serves as long as they shrink; the gradient is exact, and decides where they end."""
    V, factor, step = start.V, start.factor, math.inf
    value, gradient = problem.evaluate(V)
    for iteration in range(1, head.max_iter + 1):
        direction = None if factor is None else _solved(factor, gradient)
        previous, scale, fresh = step, max(1.0, float(V.abs().max())), False
        if direction is None or float(direction.abs().max()) > SLOW * previous:
            factor, fresh = _factor(problem.hessian(V)), True
            if factor is None:
                return _Found(V, iteration, SINGULAR)
            direction = _solved(factor, gradient)
        step = float(direction.abs().max())
        if problem.penalty == 0 and value < SEPARATED * len(problem.table):
            return _Found(V, iteration, UNBOUNDED)
        if step <= head.tol * scale:
            return _Found(V - direction, iteration, None)
        if fresh and step > SLOW * previous and step <= math.sqrt(FLOOR) * scale:  # shrinks no more: rounding hides what is left
            return _Found(V, iteration, None if step <= FLOOR * scale else UNBOUNDED)
        length, V, (value, gradient) = _shortened(problem, V, direction, value)
        factor, step = (factor, step) if length == 1 else (None, math.inf)  # a factor whose step is too long tells little of J here
    return _Found(V, head.max_iter, UNFINISHED)


def _solved(factor: Tensor, gradient: Tensor) -> Tensor:
    return torch.cholesky_solve(gradient.reshape(-1, 1), factor).reshape(gradient.shape)


def _shortened(problem: _Sums, V: Tensor, direction: Tensor, value: float) -> tuple[float, Tensor, tuple[float, Tensor]]:
    """The longest part of a step, halved again and again, that does not raise J beyond its rounding: its length, its end, and J there."""
    bound, length = value + ROUNDING * torch.finfo(V.dtype).eps * abs(value), 1.0
    reached = problem.evaluate(V - direction)
    while not reached[0] <= bound and length > SHORTEST:
        length /= 2
        reached = problem.evaluate(V - length * direction)
    return length, V - length * direction, reached


def _told(head: SoftmaxHead, found: _Found) -> SoftmaxHead:
    cure = "give a finite C" if math.isinf(head.C) else "standardise features of very different scale, or lower C"
    head.converged_, head.n_iter_ = found.failure is None, found.iterations
    head.failure_ = found.failure and found.failure.format(cure=cure)
    if head.failure_:
        warnings.warn(f"fit_table did not converge: {head.failure_}", ConvergenceWarning, stacklevel=3)
    return head
