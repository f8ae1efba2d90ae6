"""Newton's method for the softmax problem: quick where all goes well, careful where it does not, and exact at the end either way."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from augury.softmax import HALVED, ClassBlocks, Kronecker, SoftmaxProblem
from augury.solvers import IterativeSolution, NotPositiveDefiniteError, cholesky, conjugate_gradients

DENSE_PARAMS = 12_000  # a dense float64 Hessian of so many parameters takes 1.1 GiB
ARMIJO = 1e-4  # least share of the predicted decrease that a step must bring (Nocedal and Wright 2006, section 3.1)
CG_STEPS = 60  # conjugate gradients are tried where a dense factor costs more than so many of their iterations
MANY, MOST = 30, 1000  # iterations after which a closer preconditioner is formed, and after which a large head's step is taken as it is
QUICK = 4  # times these: full steps with a factor in single precision are tried first, since they need few factors, and cheaper ones
SHORTEST = 1 / 64  # of a full step
NEAR = 1e-3  # steps below this share of the largest parameter are taken in full precision
SHRINK = 10  # by which steps must shrink for a factor to serve again
CERTAIN = 100  # times smaller than the tolerance must a step be that is not taken
SMALL = 1e-2  # steps below this share of the largest parameter must shrink, or rounding is what is left
ROUNDING = 64  # epsilons by which, relatively, J may seem to rise at its minimum
SEPARATED = 1e-9  # mean loss, in nats, below which an unpenalised head has separated the classes and has no minimum
FLOOR = 1e-8  # steps below this share of the largest parameter may be what rounding leaves of a minimum

SINGULAR = "the Hessian is singular: leave out constant or duplicated features, or {cure}"
UNBOUNDED = "rounding hides the minimum: the classes are separable, or nearly so; {cure}"
UNFINISHED = "max_iter steps were not enough: raise max_iter, or {cure} if the classes are separable"


@dataclass(frozen=True)
class Fit:
    """Where Newton's method stopped: at the minimum, unless `failure` says what went wrong.

    `factor`: the last of the Hessian, in single precision, if full steps led there.
    """

    V: Float[Tensor, "directions params"]
    iterations: int
    failure: str | None
    factor: Float[Tensor, "size size"] | None = None


def minimise(
    problem: SoftmaxProblem,
    start: Float[Tensor, "directions params"],
    *,
    tol: float,
    max_iter: int,
    factor: Float[Tensor, "size size"] | None = None,
) -> Fit:
    """The minimum of J: full Newton steps as long as they run well, then, from where they left off, damped ones.

    Converged when no parameter moves by more than `tol` x max(1, largest parameter), or when steps no longer shrink because rounding hides
    what is left, provided that they are small by then. `factor`: of a Hessian like the one at the start, as a like problem has; it may
    save forming that one, and changes nothing else.
    """
    way = _Way(start, factor)
    if problem.penalty > 0 and iterations_for_a_factor(problem) <= QUICK * CG_STEPS and start.numel() <= DENSE_PARAMS:
        way = _full_steps(problem, way, tol, max_iter)
    if way.arrived:
        return Fit(way.V, way.taken, None, way.factor)
    return _damped_steps(problem, way.V, way.taken, tol=tol, max_iter=max_iter)


@dataclass(frozen=True)
class _Way:
    """How far steps have led: the parameters, the last factor of a Hessian, and if of this problem's; steps taken; if they arrived."""

    V: Float[Tensor, "directions params"]
    factor: Float[Tensor, "size size"] | None = None
    own: bool = False
    taken: int = 0
    arrived: bool = False


def _full_steps(problem: SoftmaxProblem, way: _Way, tol: float, max_iter: int) -> _Way:
    """Full Newton steps: in single precision as far as that leads, then with gradients in full precision, which decide where they end."""
    single = problem.single()
    if single is not None:
        led = _steps(single, replace(way, V=way.V.to(torch.float32)), max(tol, NEAR), max_iter)
        near = led.taken == 1  # from the start, which has more digits
        way = replace(led, V=way.V if near else led.V.to(problem.features), taken=0 if near else led.taken, arrived=False)
    return _steps(problem, way, tol, max_iter)


def _steps(problem: SoftmaxProblem, way: _Way, tol: float, max_iter: int) -> _Way:
    """Full Newton steps in the problem's precision, with factors in single precision.

    A factor serves as long as steps shrink tenfold with it (Kelley 1995, section 5.4): it does not move the point at which steps end, only
    how fast they come there. As they shrink by the same ratio again and again, the step after this one is known: where it would be within
    a hundredth of the tolerance, it is not taken. Where even a short step does not lower J, steps do not shrink, or single precision cannot
    factor the Hessian, the careful way must go on.
    """
    V, factor, own, step = way.V, way.factor, way.own, math.inf
    value, gradient = problem.evaluate(V)
    rounding, scale = ROUNDING * torch.finfo(V.dtype).eps, max(1.0, _largest(V))
    for taken in range(way.taken + 1, max_iter + 1):
        direction = _solved(factor, gradient)
        previous, step = step, _largest(direction)
        fresh = factor is None or step > previous / SHRINK
        if fresh:
            try:
                factor, own = cholesky(problem.hessian(V, torch.float32)), True
            except NotPositiveDefiniteError:
                return _Way(V, taken=taken - 1)
            direction = _solved(factor, gradient)
            step, scale = _largest(direction), max(1.0, _largest(V))
        following = step if previous == math.inf or fresh else CERTAIN * step * step / previous
        if following <= tol * scale and (own or previous < math.inf):
            return _Way(V - direction, factor, own, taken, arrived=True)
        length, moved, (reached, slope) = _shortened(problem, V, direction, value + rounding * abs(value))
        if fresh and (length <= SHORTEST or previous / 2 < step < SMALL * scale):
            return _Way(V, taken=taken)
        if length > SHORTEST:
            V, value, gradient = moved, reached, slope
        else:
            factor, step = None, math.inf
    return _Way(V, factor, own, max_iter)


def _shortened(problem: SoftmaxProblem, V: Tensor, direction: Tensor, bound: float) -> tuple[float, Tensor, tuple[float, Tensor]]:
    """The longest part of a step, halved again and again, after which J is within the bound: its length, where it ends, and J there."""
    length, moved = 1.0, V - direction
    reached = problem.evaluate(moved)
    while not reached[0] <= bound and length > SHORTEST:
        length /= 2
        moved = V - length * direction
        reached = problem.evaluate(moved)
    return length, moved, reached


def _largest(V: Tensor) -> float:
    """The largest magnitude of its elements."""
    return float(V.abs().max())


def _solved(factor: Tensor | None, gradient: Float[Tensor, "directions params"]) -> Float[Tensor, "directions params"]:
    """The factored matrix's inverse times the gradient; without a factor the gradient."""
    if factor is None:
        return gradient
    return torch.cholesky_solve(gradient.reshape(-1, 1).to(factor), factor).to(gradient).reshape(gradient.shape)


def _damped_steps(problem: SoftmaxProblem, start: Float[Tensor, "directions params"], taken: int, *, tol: float, max_iter: int) -> Fit:
    """Newton's method with backtracking line search on J, after so many steps already `taken`.

    A step is solved for by a Cholesky factor of the Hessian or, where that costs more, by conjugate gradients to a residual that shrinks
    with the gradient's (Nocedal and Wright 2006, section 7.1), which keeps the convergence superlinear.
    """
    V, value, step, resolved = start, problem.objective(start), np.inf, True
    first, solver = float(problem.gradient(torch.zeros_like(V)).norm()) or 1.0, _NewtonSolver(problem)
    for iteration in range(taken + 1, max_iter + 1):
        gradient = problem.gradient(V)
        forcing = min(0.1, math.sqrt(float(gradient.norm()) / first)) if resolved else FLOOR
        solved, singular = solver.solve(V, gradient, forcing)
        direction = -solved
        decrease = -float((gradient * direction).sum())
        previous, step = step, float(direction.abs().max())
        resolved = decrease > ROUNDING * torch.finfo(V.dtype).eps * max(1.0, abs(value))
        V, value = _line_search(problem, V, direction, value, decrease) if resolved else (V + direction, value)
        scale = max(1.0, float(V.abs().max()))
        stagnant = not resolved and step > previous / 2
        if problem.penalty == 0 and value < SEPARATED * float(problem.weights.sum()):
            return Fit(V, iteration, UNBOUNDED)
        if step <= tol * scale or stagnant:
            failure = SINGULAR if singular else UNBOUNDED if step > max(tol, FLOOR) * scale else None
            return Fit(V, iteration, failure)
    return Fit(V, max_iter, UNFINISHED)


class _NewtonSolver:
    """Newton's steps, exactly, or by conjugate gradients where these are cheaper and get there.

    Their preconditioner is the Hessian's diagonal until a step takes many iterations; then one that is closer to the Hessian is formed,
    and formed anew only where it, too, has become poor.
    """

    def __init__(self, problem: SoftmaxProblem) -> None:
        self.problem = problem
        self.large = math.prod(problem.shape) > DENSE_PARAMS
        self.iterative = self.large or iterations_for_a_factor(problem) > CG_STEPS
        self.close: ClassBlocks | Kronecker | None = None
        self.iterations = 0

    def solve(self, V: Tensor, gradient: Tensor, tol: float) -> tuple[Tensor, bool]:
        """H^-1 gradient, or to the relative residual `tol`; and if H is singular.

        Where H is singular a slight damping gives a direction of descent all the same: whether there is a minimum shows at the end.
        """
        rhs = gradient.reshape(1, -1)
        if self.iterative:
            found = self._iterated(V, rhs, tol)
            if found.converged or self.large:
                return found.solution.reshape(V.shape), False
        hessian = self.problem.hessian(V)
        try:
            return torch.cholesky_solve(rhs.T, cholesky(hessian)).reshape(V.shape), False
        except NotPositiveDefiniteError:
            diagonal = hessian.diagonal()
            diagonal += FLOOR * diagonal.clamp(min=FLOOR * float(diagonal.max()))
            return torch.cholesky_solve(rhs.T, cholesky(hessian)).reshape(V.shape), True

    def _iterated(self, V: Tensor, rhs: Tensor, tol: float) -> IterativeSolution:
        if self.iterations > MANY:
            self.close = self.problem.preconditioner(V)
        precondition, limit = None if self.close is None else self.close.solve, MOST if self.large else CG_STEPS
        product, diagonal = self.problem.hessian_operator(V), self.problem.hessian_diagonal(V)
        found = conjugate_gradients(product, rhs, diagonal, tol=tol, max_iter=limit, precondition=precondition)
        self.iterations = found.iterations
        return found


def iterations_for_a_factor(problem: SoftmaxProblem) -> float:
    """How many conjugate-gradient iterations cost as much as the dense Hessian and its factor."""
    n, (k, p) = len(problem.features), problem.shape
    halves = 2 if k >= HALVED else 1
    return (n * k * (k + 1) * p**2 / halves + (k * p) ** 3 / 3) / (4 * n * k * p)


def _line_search(problem: SoftmaxProblem, V: Tensor, direction: Tensor, value: float, decrease: float) -> tuple[Tensor, float]:
    """Halve the step until it brings the share `ARMIJO` of what its slope promises; J is convex, so that one exists."""
    length = 1.0
    while (reached := problem.objective(V + length * direction)) > value - ARMIJO * length * decrease and length > FLOOR:
        length /= 2
    return V + length * direction, reached
