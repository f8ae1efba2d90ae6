"""Solves with a network's curvature: exactly, by conjugate gradients, or by stochastic estimation; each tells how far it got."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from augury.curvature.network import TOGETHER, NetworkCurvature
from augury.errors import InputError
from augury.newton import DENSE_PARAMS
from augury.progress import track
from augury.solvers import DivergedError, NotPositiveDefiniteError, cholesky, conjugate_gradients, largest_eigenvalue, stochastic_solution

INDEFINITE = (
    "curvature: the Hessian is not positive definite: the network is not at a minimum, as deep networks seldom are; use "
    "curvature='gauss-newton', or raise damping (now {damping:g}) above the most negative curvature"
)
SINGULAR = "curvature: the matrix is singular to working precision; raise damping (now {damping:g})"
DIVERGED = {
    "gauss-newton": "solver: stochastic estimation diverges with scale {scale:g}: raise scale, or samples",
    "hessian": "solver: stochastic estimation diverges with scale {scale:g}: use curvature='gauss-newton', or raise damping or scale",
}
SOLVED = 1e-6  # a Cholesky factor that is refused no earlier solves to less than this
TIMES = 6  # the mean of exp(-t) over t from 3 to 6 is 1.6 %
POWER_STEPS, POWER_SAMPLES = 10, 8


@dataclass(frozen=True)
class Convergence:
    """How far a solve got.

    Parameters
    ----------
    solver
        `exact`, `cg` or `lissa`.
    iterations
        Products with the whole training set (`exact`, `cg`), or steps of one repeat (`lissa`).
    residual
        |H s - g| / |g| over the whole training set, whichever the solver.
    tol
        What `residual` was to reach.
    converged
        Whether it did (for `cg`, within a factor of 10, since rounding adds to what the iteration knows).
    scale
        For `lissa`: what the steps were divided by.
    """

    solver: str
    iterations: int
    residual: float
    tol: float
    converged: bool
    scale: float | None = None


@dataclass(frozen=True)
class Solution:
    """Solutions of one system, one row for each independent repeat (one row only, unless the solver draws), and how far they got."""

    rows: Float[Tensor, "repeats size"]
    report: Convergence


@dataclass(frozen=True)
class Exact:
    """The matrix, from as many products as it has rows, and its Cholesky factor: for small networks, at most 12,000 numbers."""

    def solve(self, curvature: NetworkCurvature, rhs: Float[Tensor, "1 size"]) -> Solution:
        """H^-1 times the row."""
        if curvature.size > DENSE_PARAMS:
            raise InputError(
                f"solver: 'exact' forms a matrix of {curvature.size} rows; use 'cg', or choose fewer than {DENSE_PARAMS} parameters"
            )
        with _counted(curvature.product, math.ceil(curvature.size / TOGETHER), "curvature") as product:
            H = curvature.matrix(product)
        try:
            solved = torch.cholesky_solve(rhs.T, cholesky(H)).T
        except NotPositiveDefiniteError:
            lowest = float(torch.linalg.eigvalsh(H)[0])
            negative = lowest < -math.sqrt(torch.finfo(H.dtype).eps) * float(H.diagonal().abs().max())
            raise InputError((INDEFINITE if negative else SINGULAR).format(damping=_damping(curvature))) from None
        residual = _residual(solved @ H, rhs)
        return Solution(solved, Convergence("exact", curvature.size, residual, SOLVED, residual <= SOLVED))


@dataclass(frozen=True)
class ConjugateGradients:
    """Conjugate gradients: each iteration a product with the whole training set.

    Parameters
    ----------
    tol
        Relative residual to reach; None: 1e-10 for a float64 network, 1e-5 for a less precise one.
    max_iter
        Most iterations.
    """

    tol: float | None = None
    max_iter: int = 1000

    def __post_init__(self) -> None:
        if (self.tol is not None and not self.tol > 0) or self.max_iter < 1:
            raise InputError(f"solver: tol {self.tol} and max_iter {self.max_iter}; expected a positive number, and at least 1")

    def solve(self, curvature: NetworkCurvature, rhs: Float[Tensor, "1 size"]) -> Solution:
        """H^-1 times the row; warns if the tolerance is not reached, refuses a matrix of negative curvature."""
        precise = all(value.dtype == torch.float64 for value in curvature.parameters.values())
        tol = self.tol or (1e-10 if precise else 1e-5)
        with _counted(curvature.product, self.max_iter, "conjugate gradients") as product:
            found = conjugate_gradients(product, rhs, None, tol=tol, max_iter=self.max_iter)
        if found.indefinite:
            raise InputError(INDEFINITE.format(damping=_damping(curvature)))
        if not found.converged:
            _warn(
                f"conjugate gradients stopped at the relative residual {found.residual:.1e} after {found.iterations} iterations "
                f"(tol {tol:g}): raise damping (now {_damping(curvature):g}) or max_iter, raise tol, or use the network in float64"
            )
        return Solution(found.solution, Convergence("cg", found.iterations, found.residual, tol, found.converged))


@dataclass(frozen=True)
class Lissa:
    """Stochastic estimation: each step a product with a few points only, for training sets too large for whole passes.

    Along a direction of curvature c the bias falls as exp(-step c / scale). It has converged if the residual is within `tol` and `depth` is
    at least 6 scale / (penalty + damping), which leaves less than 2 % of bias in the flattest direction; the residual alone hardly sees
    flat directions. Where a few points carry most of the curvature, `scale` and hence `depth` are large, and `cg` is faster.

    Parameters
    ----------
    depth
        Steps of one repeat; the mean of the last half is its result.
    samples
        Points a step, drawn with replacement.
    scale
        What a step is divided by: above half the largest curvature of any sample, or the steps diverge. None: twice the largest that the
        power method finds on 8 samples.
    repeats
        Independent repetitions, whose spread gives the error of the results.
    seed
        Of the draws.
    tol
        Largest relative residual of the repeats' mean over the whole training set.
    """

    depth: int = 1000
    samples: int = 32
    scale: float | None = None
    repeats: int = 4
    seed: int = 0
    tol: float = 0.05

    def __post_init__(self) -> None:
        for name, lowest in (("depth", 1), ("samples", 1), ("repeats", 2), ("seed", 0)):
            if getattr(self, name) < lowest:
                raise InputError(f"solver: {name} {getattr(self, name)}; expected at least {lowest}")
        for name in ("scale", "tol"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"solver: {name} {value}; expected a positive number")

    def solve(self, curvature: NetworkCurvature, rhs: Float[Tensor, "1 size"]) -> Solution:
        """H^-1 times the row, once for each repeat; refuses to diverge, and warns if the mean is far from a solution."""
        scale = self.scale or self._scale(curvature, rhs)
        draws = np.random.default_rng(self.seed)
        with _counted(curvature.sampled_product, self.depth, "stochastic estimation") as product:
            try:
                found = stochastic_solution(
                    lambda rows: product(self._drawn(curvature, draws, self.repeats), rows),
                    rhs.expand(self.repeats, -1),
                    scale=scale,
                    depth=self.depth,
                )
            except DivergedError:
                raise InputError(DIVERGED[curvature.kind].format(scale=scale)) from None
        residual = _residual(curvature.product(found.mean(0, keepdim=True)), rhs)
        needed = TIMES * scale / _damping(curvature) if _damping(curvature) else math.inf
        converged = residual <= self.tol and self.depth >= needed
        if not converged:
            _warn(
                f"stochastic estimation is left with the relative residual {residual:.1e} (tol {self.tol:g}) and needs a depth of "
                f"{needed:.2g} to be free of bias: raise depth (now {self.depth}), samples or repeats, or damping (now "
                f"{_damping(curvature):g}); or use solver='cg'"
            )
        return Solution(found, Convergence("lissa", self.depth, residual, self.tol, converged, scale))

    def _scale(self, curvature: NetworkCurvature, rhs: Tensor) -> float:
        """Twice the largest |eigenvalue| of a few samples; of each, what the power method finds."""
        draws = np.random.default_rng((self.seed, 1))
        chosen = self._drawn(curvature, draws, POWER_SAMPLES)
        start = torch.from_numpy(draws.standard_normal((POWER_SAMPLES, rhs.shape[1]))).to(rhs)
        return 2 * float(largest_eigenvalue(partial(curvature.sampled_product, chosen), start, steps=POWER_STEPS).max())

    def _drawn(self, curvature: NetworkCurvature, draws: np.random.Generator, rows: int) -> Tensor:
        """Indices of a sample for each row."""
        return torch.from_numpy(draws.integers(len(curvature.points), size=(rows, self.samples)))


Solver = Exact | ConjugateGradients | Lissa


def _residual(image: Tensor, rhs: Tensor) -> float:
    length = float(rhs.norm())
    return float((image - rhs).norm()) / length if length > 0 else 0.0


def _damping(curvature: NetworkCurvature) -> float:
    return float(curvature.ridge.min())


def _warn(message: str) -> None:
    warnings.warn(f"network_influence did not converge: {message}", ConvergenceWarning, stacklevel=4)


@contextlib.contextmanager
def _counted(product: Callable[..., Tensor], total: int, what: str) -> Iterator[Callable[..., Tensor]]:
    """The same product, with a bar that counts its calls."""
    ticks = cast("Generator[int]", track(range(total), what))
    with contextlib.closing(ticks):

        def counted(*arguments: Tensor) -> Tensor:
            next(ticks, None)
            return product(*arguments)

        yield counted
